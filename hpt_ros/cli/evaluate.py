"""`hpt-ros evaluate`: closed-loop trials of a checkpoint, scored and kept."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpt_ros.bringup.attach import bring_up, join, require_ros
from hpt_ros.cli.options import Domain, LogDir
from hpt_ros.cli.output import console, progress_bar
from hpt_ros.embodiment import load_embodiment, require_same
from hpt_ros.evaluation.trials import Trial, TrialLog, summary

if TYPE_CHECKING:
    from hpt_ros.nodes.session import Session

_VIDEO_RATE_HZ = 10.0
_STATUS_SETTLED_S = 0.5  # after an engagement, until which the status may still be the one before


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint, e.g. runs/reach/last.")],
    out: Annotated[Path, typer.Option(help="Folder of trials.jsonl, summary.json and trials.webm.")],
    task: Annotated[str, typer.Option(help="Task of the simulated scene.")] = "reach",
    trials: Annotated[int, typer.Option(min=1, help="Trials to reach; those already in OUT count.")] = 20,
    sim: Annotated[bool, typer.Option("--sim", help="Bring up the simulated Panda, which scores by itself.")] = False,
    embodiment: Annotated[str, typer.Option(help="Robot set-up of the simulated Panda.")] = "sim_panda",
    seed: Annotated[
        int, typer.Option(help="Seed of the first scene; far from those of the demonstrations.")
    ] = 1_000_000,
    timeout_s: Annotated[float, typer.Option(help="Longest trial.")] = 8.0,
    video: Annotated[bool, typer.Option(help="Write a video from all cameras with --sim.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Move trials of something else in OUT aside.")] = False,
    domain: Domain = None,
    log_dir: LogDir = Path("out/log"),
) -> None:
    """Run trials. Without --sim, joins running nodes (ros2 launch hpt_ros policy.launch.py) and asks for each score."""
    require_ros()
    from hpt_ros.model import load_checkpoint
    from hpt_ros.nodes.session import Session

    contract = load_checkpoint(checkpoint).embodiment  # what cannot work is refused before anything starts
    if sim:
        require_same(contract, load_embodiment(embodiment), f"checkpoint {checkpoint}", "the simulated robot")
    header = {
        "checkpoint": str(checkpoint.resolve()),
        "weights_sha256": hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest(),
        "task": task,
        "seed": seed,
        "timeout_s": timeout_s,
    }
    log = TrialLog(out / "trials.jsonl", header, replace=overwrite)
    if len(log.trials) < trials:
        arguments = {"task": task, "checkpoint": str(checkpoint), "seed": str(seed), "embodiment": embodiment}
        with ExitStack() as stack:
            nodes = stack.enter_context(bring_up("demo", arguments, domain, log_dir) if sim else nullcontext())
            check = nodes.check if nodes else lambda: None
            session = stack.enter_context(Session(check, domain_id=None if sim else join(domain)))
            film = stack.enter_context(_film(session, contract, out)) if sim and video else None
            bar = stack.enter_context(progress_bar()) if sim else None
            _run_trials(session, log, header, trials, bar, film)
    result = summary(log.trials) | header
    (out / "summary.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    low, high = result["interval_95"]
    console.print(
        f"{result['successes']} of {result['trials']} trials succeeded "
        f"({result['success_rate']:.0%}, 95 % interval {low:.0%} to {high:.0%}); {out / 'summary.json'}"
    )


def _film(session: Session, contract: Any, out: Path) -> Any:
    from hpt_ros.nodes.film import Film

    return Film(session.node, contract, out / "trials.webm", _VIDEO_RATE_HZ)


def _run_trials(session: Session, log: TrialLog, header: dict[str, Any], trials: int, bar: Any, film: Any) -> None:
    for name in ("commander", "policy"):
        session.wait_for_status(name)
    session.wait_for("the policy's first chunk", lambda: session.latest["policy"].state == "RUNNING", 30.0)
    row = bar.add_task(f"trials of {Path(header['checkpoint']).name}", total=trials, note="") if bar else None
    while (index := len(log.trials)) < trials:
        if bar:
            bar.update(row, completed=index, note=f"{sum(t.score == 1.0 for t in log.trials)} succeeded")
        if film:
            film.caption = f"{header['task']}  trial {index + 1}/{trials}"
        trial = (_simulated_trial if bar else _supervised_trial)(session, header, index)
        log.append(trial)
    if bar:
        bar.update(row, completed=len(log.trials), note=f"{sum(t.score == 1.0 for t in log.trials)} succeeded")


def _simulated_trial(session: Session, header: dict[str, Any], index: int) -> Trial:
    seed = header["seed"] + index
    session.release()
    session.reset_scene(header["task"], seed)
    before = _counters(session)
    session.engage()
    began = time.monotonic()
    termination = _wait_for_end(session, began, header["timeout_s"])
    return _row(session, before, index, seed, float(termination == "success"), termination, time.monotonic() - began)


def _wait_for_end(session: Session, began_s: float, timeout_s: float) -> str:
    def end() -> str:
        elapsed_s = time.monotonic() - began_s
        state = session.latest["commander"].state
        if session.latest["sim"].success:
            return "success"
        if state == "FAULT":
            return "fault"
        if state == "IDLE" and elapsed_s > _STATUS_SETTLED_S:
            return "refused"
        return "timeout" if elapsed_s > timeout_s else ""

    ended: str = session.wait_for("the trial's end", end, timeout_s + 5.0)
    return ended


def _supervised_trial(session: Session, header: dict[str, Any], index: int) -> Trial:
    scores = {"1": 1.0, "5": 0.5, "0": 0.0}
    console.input(f"trial {index + 1}: restore the scene, then Enter starts the arm ")
    before = _counters(session)
    session.engage()
    began = time.monotonic()
    console.input("Enter stops the arm ")
    session.trigger("/hpt_ros/commander/disengage")
    duration_s = time.monotonic() - began
    while (key := console.input("score: 1 = success, 5 = partly, 0 = failed: ").strip()) not in scores:
        console.print(f"{key!r} is not one of 1, 5, 0")
    return _row(session, before, index, header["seed"] + index, scores[key], "operator", duration_s)


def _counters(session: Session) -> tuple[int, int]:
    return session.latest["policy"].stale_ticks, session.latest["commander"].rows_late


def _row(
    session: Session, before: tuple[int, int], index: int, seed: int, score: float, termination: str, duration_s: float
) -> Trial:
    policy, commander, sim = session.latest["policy"], session.latest["commander"], session.latest.get("sim")
    return Trial(
        index=index,
        seed=seed,
        score=score,
        termination=termination,
        duration_s=round(duration_s, 3),
        policy_rate_hz=policy.rate_hz,
        policy_latency_p50_ms=policy.latency_p50_ms,
        policy_latency_p99_ms=policy.latency_p99_ms,
        command_rate_hz=commander.rate_hz,
        command_lateness_p99_ms=commander.lateness_p99_ms,
        chunk_latency_p99_ms=commander.chunk_latency_p99_ms,
        stale_ticks=policy.stale_ticks - before[0],
        rows_late=commander.rows_late - before[1],
        real_time_factor=sim.real_time_factor if sim else 1.0,
    )
