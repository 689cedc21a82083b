"""`hpt-ros record`: a session of demonstrations, by hand or by the scripted expert in the simulator."""

from __future__ import annotations

import contextlib
import getpass
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpt_ros.bringup.attach import bring_up, join, require_ros
from hpt_ros.cli.options import Domain, LogDir
from hpt_ros.cli.output import console, progress_bar
from hpt_ros.errors import StreamError

if TYPE_CHECKING:
    from hpt_ros.nodes.session import Session

_FAILURES_ALLOWED = 10  # and three for every episode
_SCORES = {"1": 1.0, "": 1.0, "5": 0.5, "0": 0.0}


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
    domain: Domain = None,
    log_dir: LogDir = Path("out/log"),
) -> None:
    """Record demonstrations, one bag an episode. Without --sim, joins running nodes (ros2 launch hpt_ros record.launch.py)."""
    require_ros()
    from hpt_ros.nodes.session import Session
    from hpt_ros.sim.tasks import task_named

    done = committed(bags / task)
    if len(done) >= episodes:
        console.print(f"{len(done)} episodes in {bags / task}: nothing to record")
        return
    if sim and not instruction:
        instruction = task_named(task).instruction
    arguments = {"task": task, "seed": str(seed), "bags_dir": str(bags), "expert": "true", "embodiment": embodiment}
    with (
        bring_up("demo", arguments, domain, log_dir) if sim else nullcontext() as nodes,
        Session(nodes.check if nodes else lambda: None, domain_id=None if sim else join(domain)) as session,
    ):
        session.wait_for_status("recorder")
        job = _Job(session, task, instruction, operator or ("scripted expert" if sim else getpass.getuser()))
        if sim:
            _record_expert(job, len(done), episodes, seed, timeout_s)
        else:
            _record_person(job, len(done), episodes)
    console.print(f"{len(committed(bags / task))} episodes in {bags / task}")


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


def _record_expert(job: _Job, done: int, target: int, seed: int, timeout_s: float) -> None:
    for name in ("sim", "commander"):
        job.session.wait_for_status(name)
    from hpt_ros.sim.coverage import spread_seeds

    scenes = spread_seeds(job.task, seed)
    for _ in range(done):
        next(scenes)
    failed, why = 0, ""
    with progress_bar() as bar:
        row = bar.add_task(f"record {job.task}", total=target, completed=done, note="")
        while done < target:
            if reason := _demonstrate(job, next(scenes), timeout_s):
                failed, why = failed + 1, reason
                if failed > _FAILURES_ALLOWED + 3 * target:
                    raise StreamError(
                        f"{failed} demonstrations failed, the last one: {why}", "see the logs of the nodes"
                    )
            else:
                done += 1
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
        session.stop_episode(1.0, "success")
    session.trigger("/hpt_ros/expert/stop")
    return reason


def _stopped(session: Session) -> str:
    """Why the commander has stopped the arm, empty if it has not: nobody would want to learn from that."""
    status = session.latest["commander"]
    return f"{status.state}: {status.reason}" if status.state in ("HOLDING", "FAULT") else ""


def _record_person(job: _Job, done: int, target: int) -> None:
    console.print("Enter starts an episode. In it: Enter or 1 = success, 5 = partly, 0 = failed, d = discard. q quits.")
    while done < target:
        if console.input(f"{done} of {target}; Enter to start, q to quit: ").strip() == "q":
            return
        console.print(f"recording {job.start()}")
        while (key := console.input("Enter, 1, 5, 0 or d: ").strip()) not in (*_SCORES, "d"):
            console.print(f"{key!r} is not one of Enter, 1, 5, 0, d")
        if key == "d":
            job.session.trigger("/hpt_ros/recorder/discard")
            console.print("discarded")
        else:
            console.print(f"saved {job.session.stop_episode(_SCORES[key], 'operator')}")
            done += 1
