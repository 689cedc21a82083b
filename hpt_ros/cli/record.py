"""`hpt-ros record`: a session of demonstrations, by hand or by the scripted expert in the simulator."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpt_ros.bringup.attach import bring_up, join, require_ros
from hpt_ros.cli.options import Domain, LogDir
from hpt_ros.cli.output import console, progress_bar
from hpt_ros.configuration import check
from hpt_ros.demos.part import obstacle
from hpt_ros.errors import StreamError
from hpt_ros.recording.cues import CueKind
from hpt_ros.recording.metadata import scene_note
from hpt_ros.recording.operator_keys import KeyBindings, load_key_bindings

if TYPE_CHECKING:
    from hpt_ros.nodes.session import Session

_FAILURES_ALLOWED = 10  # and three for every episode
_PATIENCE_S = 120.0  # without an episode, before failures count: a machine may be busy for a while


def record(
    task: Annotated[str, typer.Option(help="Task name; episodes go to BAGS/TASK.")] = "reach",
    episodes: Annotated[int, typer.Option(min=1, help="Committed episodes to reach; those already there count.")] = 50,
    bags: Annotated[Path, typer.Option(help="Folder of the recordings.")] = Path("bags"),
    instruction: Annotated[str, typer.Option(help="What the arm is to do, in words.")] = "",
    operator: Annotated[str, typer.Option(help="Who demonstrates.")] = "",
    sim: Annotated[
        bool, typer.Option("--sim", help="Bring up the simulated Panda; the scripted expert demonstrates.")
    ] = False,
    embodiment: Annotated[str, typer.Option(help="Robot set-up of the simulated Panda.")] = "sim_panda",
    seed: Annotated[int, typer.Option(help="First seed of the simulated scenes, which are spread evenly.")] = 0,
    timeout_s: Annotated[float, typer.Option(help="Longest simulated episode.")] = 15.0,
    disturbance: Annotated[
        float,
        typer.Option(
            help="How far the simulated arm is pushed about as it moves; 1.0: by 0.03 rad. Policies learn to correct."
        ),
    ] = 0.0,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="With --sim: a person demonstrates; each start begins a new scene.")
    ] = False,
    keys: Annotated[Path | None, typer.Option(help="YAML file of other keys, e.g. `success: [enter, f5]`.")] = None,
    cue: Annotated[CueKind, typer.Option(help="What a person hears at each start, end and warning.")] = CueKind.NONE,
    domain: Domain = None,
    log_dir: LogDir = Path("out/log"),
) -> None:
    """Record demonstrations, one bag an episode. Without --sim, joins running nodes (ros2 launch hpt_ros record.launch.py).

    A person starts, stops, scores, discards and undoes episodes with single keys or pedals; the keys of the moment are
    on the screen, as are rates, gaps, losses, warnings and space.
    """
    require_ros()
    from hpt_ros.cli.record_calls import Guard, Job
    from hpt_ros.cli.record_person import Hands, record_person
    from hpt_ros.nodes.session import Session

    check(sim or not by_hand, "--by-hand", "no --sim", "--sim --by-hand", "without --sim a person demonstrates anyway")
    bindings = load_key_bindings(keys) if keys else KeyBindings()
    done = len(committed(bags / task))
    if done >= episodes:
        console.print(f"{done} episodes in {bags / task}: nothing to record")
        return
    if sim and not instruction:
        from hpt_ros.sim.tasks import task_named

        instruction = task_named(task).instruction
    scripted = sim and not by_hand
    arguments = {
        "task": task,
        "seed": str(seed),
        "bags_dir": str(bags),
        "expert": str(scripted).lower(),
        "disturbance": str(disturbance),
        "embodiment": embodiment,
    }

    def attend(stack: ExitStack) -> tuple[Guard, Session]:
        nodes = stack.enter_context(bring_up("demo", arguments, domain, log_dir)) if sim else None
        guard = Guard(nodes.check if nodes else lambda: None)
        session = stack.enter_context(Session(guard.check, domain_id=None if sim else join(domain)))
        session.wait_for_status("recorder")
        if scripted:
            _try_recorder(session, task)
        return guard, session

    with ExitStack() as stack:
        try:
            guard, session = attend(stack)
        except StreamError as error:
            if not scripted:
                raise
            console.print(f"{error.message}\n  once more with new nodes", markup=False)
            stack.close()
            guard, session = attend(stack)
        if scripted:
            job = _Job(session, task, instruction, operator or "scripted expert")
            _record_expert(job, done, episodes, seed, timeout_s)
            done = len(committed(bags / task))
        else:
            person = Job(task, instruction, operator or getpass.getuser(), episodes, bags / task)
            hands = Hands(bindings, cue, _new_scene(session, task, seed, done) if sim else lambda: "")
            done = record_person(session, person, done, hands, guard)
    console.print(f"{done} episodes in {bags / task}")


def committed(folder: Path) -> list[Path]:
    """Complete episodes of a task, oldest first; names that start with a dot are unfinished or quarantined."""
    return sorted(p.parent for p in folder.glob("[!.]*/metadata.yaml"))


@dataclass(frozen=True)
class _Job:
    session: Session
    task: str
    instruction: str
    operator: str

    def start(self) -> str:
        return self.session.start_episode(self.task, self.instruction, self.operator)


def _try_recorder(session: Session, task: str) -> None:
    """Whether an episode can start: on a busy machine a node may never hear of one topic of another (Fast DDS 3.2.3)."""
    session.insist(lambda: session.start_episode(task, "", ""))
    session.trigger("/hpt_ros/recorder/discard")


def _record_expert(job: _Job, done: int, target: int, seed: int, timeout_s: float) -> None:
    for name in ("sim", "commander"):
        job.session.wait_for_status(name)
    scenes = _scenes(job.task, seed, done)
    failed, why = 0, ""
    last_s = time.monotonic()
    with progress_bar() as bar:
        row = bar.add_task(f"record {job.task}", total=target, completed=done, note="")
        while done < target:
            if reason := _demonstrate(job, next(scenes), timeout_s):
                failed, why = failed + 1, reason
                if failed > _FAILURES_ALLOWED + 3 * target and time.monotonic() - last_s > _PATIENCE_S:
                    raise StreamError(
                        f"{failed} demonstrations failed, the last one: {why}", "see the logs of the nodes"
                    )
            else:
                done, last_s = done + 1, time.monotonic()
            bar.update(row, completed=done, note=f"{failed} discarded, last: {why}" if failed else "")


def _demonstrate(job: _Job, seed: int, timeout_s: float) -> str:
    """One scene; why there is no demonstration of it, empty if there is."""
    session = job.session
    session.release()
    session.reset_scene(job.task, seed)
    session.engage()
    session.insist(job.start)
    session.insist(lambda: session.trigger("/hpt_ros/expert/start"))
    with contextlib.suppress(TimeoutError):
        session.wait_for("success", lambda: session.latest["sim"].success or _stopped(session), timeout_s)
    reason = _stopped(session) or ("" if session.latest["sim"].success else f"no success in {timeout_s:g} s")
    if reason:
        session.trigger("/hpt_ros/recorder/discard")
    else:
        bag = Path(session.stop_episode(1.0, "success", scene_note(seed)))
        if reason := obstacle(bag):  # a busy machine: a person would see the warning and demonstrate again
            session.trigger("/hpt_ros/recorder/undo")
    session.trigger("/hpt_ros/expert/stop")
    return reason


def _stopped(session: Session) -> str:
    """Why the commander has stopped the arm, empty if it has not: nobody would want to learn from that."""
    status = session.latest["commander"]
    return f"{status.state}: {status.reason}" if status.state in ("IDLE", "HOLDING", "FAULT") else ""


def _new_scene(session: Session, task: str, seed: int, done: int) -> Callable[[], str]:
    """What precedes a start by hand: the next scene, which is noted, and an engaged commander."""
    for name in ("sim", "commander"):
        session.wait_for_status(name)
    scenes = _scenes(task, seed, done)
    console.print(f"teleoperate in ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}")

    def prepare() -> str:
        scene = next(scenes)
        session.release()
        session.reset_scene(task, scene)
        session.engage()
        return scene_note(scene)

    return prepare


def _scenes(task: str, seed: int, done: int) -> Iterator[int]:
    """Seeds of the scenes that have no episode yet."""
    from hpt_ros.sim.coverage import spread_seeds

    return itertools.islice(spread_seeds(task, seed), done, None)
