"""`hpt-ros evaluate`: closed-loop trials of one or several checkpoints, scored and kept."""

from __future__ import annotations

import getpass
import hashlib
import itertools
import os
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from hpt_ros.bringup.attach import bring_up, join, require_ros
from hpt_ros.bringup.environment import NAMESPACE_VARIABLE
from hpt_ros.bringup.switch import POLICY_MODULE, PolicySwitch
from hpt_ros.cli.options import Domain, LogDir
from hpt_ros.cli.output import console, progress_bar
from hpt_ros.configuration import check
from hpt_ros.embodiment import Embodiment, load_embodiment, require_same
from hpt_ros.evaluation.order import PlannedTrial, missing, planned_trials
from hpt_ros.evaluation.report import Evaluation, write_summary
from hpt_ros.evaluation.scene import References
from hpt_ros.evaluation.trials import TrialLog
from hpt_ros.recording.cues import CueKind
from hpt_ros.recording.operator_keys import KeyBindings, load_key_bindings

if TYPE_CHECKING:
    from hpt_ros.nodes.film import CameraViews
    from hpt_ros.nodes.trial_runner import Candidate, TrialRunner, TrialSetup

_VIDEO_RATE_HZ = 10.0
_TIMEOUT_S = 60.0  # where no task says it


def evaluate(
    checkpoint: Annotated[list[Path], typer.Argument(help="Folders of checkpoints, e.g. runs/reach/last.")],
    out: Annotated[Path, typer.Option(help="Folder of trials.jsonl, summary.json, videos, scenes.")],
    task: Annotated[str, typer.Option(help="Name of the task; with --sim that of the simulated scene.")] = "reach",
    trials: Annotated[int, typer.Option(min=1, help="Trials of each to reach; those in OUT count.")] = 20,
    sim: Annotated[bool, typer.Option("--sim", help="Bring up the simulated Panda, which scores by itself.")] = False,
    embodiment: Annotated[str, typer.Option(help="Robot set-up of the simulated Panda.")] = "sim_panda",
    seed: Annotated[
        int, typer.Option(help="Seed of the order and of the first scene; far from those of the demonstrations.")
    ] = 1_000_000,
    timeout_s: Annotated[
        float | None, typer.Option(help="Longest trial; default: the simulated task's limit, else 60.")
    ] = None,
    instruction: Annotated[str, typer.Option(help="What a policy with language is to do.")] = "",
    operator: Annotated[str, typer.Option(help="Who scores.")] = "",
    reference: Annotated[
        Path | None, typer.Option(help="Picture of the start to restore, or folder `scenes` of an earlier evaluation.")
    ] = None,
    bags: Annotated[bool, typer.Option(help="Record each trial as a bag; with --sim into OUT/bags.")] = True,
    video: Annotated[bool, typer.Option(help="Write a video of each trial from all cameras.")] = True,
    home: Annotated[bool, typer.Option(help="Bring the arm home before each trial, without --sim.")] = True,
    show: Annotated[
        bool, typer.Option(help="Open the scene to restore in a browser, where there is a display.")
    ] = True,
    keys: Annotated[Path | None, typer.Option(help="YAML file of other keys, as for record.")] = None,
    cue: Annotated[CueKind, typer.Option(help="What a person hears at each start, end and warning.")] = CueKind.NONE,
    variation: Annotated[
        str, typer.Option(help="Change of the simulated scene: none, dim, bright, camera, cube ...")
    ] = "none",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the inference.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Move trials of something else in OUT aside.")] = False,
    domain: Domain = None,
    log_dir: LogDir = Path("out/log"),
) -> None:
    """Run trials. Without --sim, joins running nodes (ros2 launch hpt_ros evaluate.launch.py) and asks for each score.

    Several checkpoints are tried in balanced blocks in a random order, each block from one start; nobody is told which
    one runs. Every row is on the disk before the next trial; the same command goes on after an interruption.
    """
    require_ros()
    from hpt_ros.nodes.trial_runner import TrialSetup

    bindings = load_key_bindings(keys) if keys else KeyBindings()
    candidates, contract = _candidates(checkpoint)
    if sim:
        require_same(contract, load_embodiment(embodiment), f"checkpoint {checkpoint[0]}", "the simulated robot")
        timeout_s, instruction_of_task = _of_task(task, timeout_s)
    timeout_s = timeout_s or _TIMEOUT_S
    header = trials_header(candidates, task=task, seed=seed, timeout_s=timeout_s, simulated=sim, variation=variation)
    log = TrialLog(out / "trials.jsonl", header, replace=overwrite)
    planned = list(itertools.islice(planned_trials(len(candidates), seed), trials * len(candidates)))
    if missing(planned, [trial.index for trial in log.trials]):
        setup = TrialSetup(
            task=task,
            instruction=instruction or (instruction_of_task if sim else ""),
            operator=operator or ("simulator" if sim else getpass.getuser()),
            seed=seed,
            timeout_s=timeout_s,
            out=out,
            records=bags,
        )
        policy = {"embodiment": embodiment if sim else "", "threads": str(threads), "instruction": instruction}
        policy["namespace"] = os.environ.get(NAMESPACE_VARIABLE, "")
        graph = None
        if sim:
            graph = {"task": task, "seed": str(seed), "embodiment": embodiment, "variation": variation}
            graph["bags_dir"] = str(out / "bags") if bags else ""
        with trial_stage(candidates, contract, setup, graph, policy, domain, log_dir, video=video) as stage:
            if sim:
                simulated_trials(stage.runner, log, planned)
            else:
                from hpt_ros.cli.evaluate_person import Conduct, PersonTrials
                from hpt_ros.nodes.film import SceneView

                scene = SceneView(stage.runner.session.node, stage.views, out, References(out / "scenes", reference))
                if show and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
                    webbrowser.open(scene.page.resolve().as_uri())
                conduct = Conduct(bindings, cue, blinded=len(candidates) > 1, homes=home)
                PersonTrials(stage.runner, log, planned, conduct, scene, stage.alive).run()
    conclude(out, header, log)


class Stage(NamedTuple):
    """What trials run on; `alive` raises when a process has ended."""

    runner: TrialRunner
    views: CameraViews
    alive: Callable[[], None]


@contextmanager
def trial_stage(
    candidates: Sequence[Candidate],
    contract: Embodiment,
    setup: TrialSetup,
    graph: Mapping[str, str] | None,
    policy: Mapping[str, str],
    domain: int | None,
    log_dir: Path,
    *,
    video: bool,
    module: str = POLICY_MODULE,
) -> Iterator[Stage]:
    """Everything that trials need, up and running.

    Args:
        graph: arguments of the simulated layout, which is brought up; None joins nodes that run.
        policy: arguments of the policy, run by `module`.
    """
    from hpt_ros.nodes.film import CameraViews, Film
    from hpt_ros.nodes.session import Session
    from hpt_ros.nodes.trial_runner import TrialRunner

    with ExitStack() as stack:
        nodes = None if graph is None else stack.enter_context(bring_up("demo", graph, domain, log_dir))
        domain_id = join(None if nodes else domain)
        switch = stack.enter_context(PolicySwitch(policy, domain_id, log_dir, module))

        def alive() -> None:
            switch.check()
            if nodes:
                nodes.check()

        session = stack.enter_context(Session(alive, domain_id=domain_id))
        views = CameraViews(session.node, contract)
        film = stack.enter_context(Film(views, _VIDEO_RATE_HZ)) if video else None
        runner = TrialRunner(session, switch, candidates, setup, film)
        runner.require_nodes(owns_domain=graph is not None)
        yield Stage(runner, views, alive)


def _candidates(paths: Sequence[Path]) -> tuple[list[Candidate], Embodiment]:
    """What is tried, and the embodiment that all were trained for; what cannot work is refused before anything starts."""
    from hpt_ros.model import load_checkpoint
    from hpt_ros.nodes.trial_runner import Candidate

    contracts = [load_checkpoint(path).embodiment for path in paths]
    for path, contract in zip(paths[1:], contracts[1:], strict=True):
        require_same(contracts[0], contract, f"checkpoint {paths[0]}", f"checkpoint {path}")
    found = [Candidate(p, hashlib.sha256((p / "model.safetensors").read_bytes()).hexdigest()) for p in paths]
    hashes = [candidate.weights_sha256 for candidate in found]
    check(len(set(hashes)) == len(hashes), "checkpoints", [str(p) for p in paths], "weights that differ")
    return found, contracts[0]


def _of_task(task: str, timeout_s: float | None) -> tuple[float, str]:
    from hpt_ros.sim.tasks import task_named

    chosen = task_named(task)
    return timeout_s or chosen.time_limit_s, chosen.instruction


def trials_header(candidates: Sequence[Candidate], **settings: Any) -> dict[str, Any]:
    tried = [{"path": str(c.path.resolve()), "weights_sha256": c.weights_sha256} for c in candidates]
    return {"checkpoints": tried, **settings}


def simulated_trials(runner: TrialRunner, log: TrialLog, planned: Sequence[PlannedTrial]) -> None:
    """The scene says whether it was a success; every block's trials begin alike."""
    setup, session = runner.setup, runner.session
    with progress_bar() as bar:
        row = bar.add_task(f"trials of {setup.task}", total=len(planned), completed=len(log.trials), note="")
        for trial in missing(planned, [done.index for done in log.trials]):
            note = f"{sum(t.score == 1.0 for t in log.trials)} succeeded"
            bar.update(row, completed=len(log.trials), note=note)
            runner.load(trial, always=False)
            runner.wait_for_policy()
            session.release()
            session.reset_scene(setup.task, setup.seed + trial.block)
            runner.start(trial)
            ended = session.wait_for("the trial's end", runner.look, setup.timeout_s + 5.0)
            runner.stop()
            done = runner.row(trial, float(ended == "success"), ended)
            log.append(done)
            runner.keep(done)
        bar.update(row, completed=len(log.trials), note=f"{sum(t.score == 1.0 for t in log.trials)} succeeded")


def conclude(out: Path, header: dict[str, Any], log: TrialLog) -> None:
    evaluation = Evaluation(out, header, tuple(log.trials))
    result = write_summary(out / "summary.json", evaluation)
    for candidate in result["candidates"]:
        low, high = candidate["interval_95"]
        console.print(
            f"{candidate['successes']} of {candidate['trials']} trials succeeded "
            f"({candidate['success_rate']:.0%}, 95 % interval {low:.0%} to {high:.0%}): {candidate['checkpoint']}",
            markup=False,
        )
    for comparison in result["comparisons"]:
        for finding in comparison["findings"]:
            console.print(finding, markup=False)
    console.print(f"{out / 'summary.json'}; hpt-ros report {out} makes a page of it", markup=False)
