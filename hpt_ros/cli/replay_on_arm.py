"""`hpt-ros replay --on-arm`: send a demonstration's commands to the arm again and see how it follows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from hpt_ros.bringup.attach import bring_up, join, require_ros
from hpt_ros.cli.output import console
from hpt_ros.configuration import check
from hpt_ros.demos import Demos
from hpt_ros.demos.demos import Episode
from hpt_ros.embodiment import load_embodiment, require_same
from hpt_ros.errors import StreamError

if TYPE_CHECKING:
    from hpt_ros.evaluation.replay_motion import ReplayMotion
    from hpt_ros.nodes.replayer import Replayer
    from hpt_ros.nodes.session import Session

_HOME_S = 60.0
_PATIENCE_S = 10.0
_AFTER_S = 0.3  # for the arm to finish the last row


@dataclass(frozen=True)
class Place:
    """Where the arm is: a simulated scene that is brought up, or running nodes. Without task or seed, those of the demonstration."""

    sim: bool
    embodiment: str
    task: str
    seed: int | None
    domain: int | None
    log_dir: Path


def replay_on_arm(demos: Path, episode: int, place: Place) -> dict[str, Any]:
    """Home, ease in to the first row, replay; returns what happened as plain data.

    Raises:
        ConfigError: no such episode.
        FingerprintError: demonstrations of another robot than the simulated one.
        StreamError: the arm was not taken over, or was stopped on the way.
    """
    require_ros()
    from hpt_ros.nodes.replayer import Replayer
    from hpt_ros.nodes.session import Session

    data = Demos.open(demos)
    check(0 <= episode < len(data.episodes), "--episode", episode, f"0 to {len(data.episodes) - 1}")
    if place.sim:
        require_same(
            data.embodiment, load_embodiment(place.embodiment), f"demonstrations {demos}", "the simulated robot"
        )
    task, seed = _scene(data.episodes[episode], place)
    rows = data.command[data.episodes[episode].start : data.episodes[episode].stop].astype(np.float64)
    arguments = {"task": task, "seed": str(seed), "embodiment": place.embodiment}
    with ExitStack() as stack:
        nodes = stack.enter_context(bring_up("demo", arguments, place.domain, place.log_dir)) if place.sim else None
        session = stack.enter_context(
            Session(nodes.check if nodes else lambda: None, domain_id=None if place.sim else join(place.domain))
        )
        session.wait_for_status("commander")
        replayer = Replayer(session.node, data.embodiment)
        session.wait_for("joint states", lambda: replayer.joints is not None, 30.0)
        if place.sim:
            session.wait_for_status("sim")
            session.reset_scene(task, seed)
        else:
            console.input("Enter moves the arm home and replays the demonstration ")
        _go_home(session)
        found = _follow(session, replayer, rows, data)
        success = bool(session.latest["sim"].success) if place.sim else None
    scene = f"{task}, scene {seed}" if place.sim else ""
    return {"demos": str(demos), "episode": episode, "scene": scene, "rows": len(rows), "success": success, **found}


def _scene(demonstration: Episode, place: Place) -> tuple[str, int]:
    """Task and seed of the scene to replay in."""
    seed = demonstration.scene_seed if place.seed is None else place.seed
    check(
        seed is not None or not place.sim,
        "--seed",
        None,
        "the seed of the scene",
        "the demonstration does not say in which scene it was recorded",
    )
    return place.task or demonstration.task, seed or 0


def _go_home(session: Session) -> None:
    def state() -> str:
        return str(session.latest["commander"].state)

    session.insist(lambda: session.trigger("/hpt_ros/commander/home"))
    session.wait_for("the way home to begin", lambda: state() == "HOMING", _PATIENCE_S)
    session.wait_for("the arm to be at home", lambda: state() != "HOMING", _HOME_S)
    status = session.latest["commander"]
    if status.reason != "at home":
        raise StreamError(f"the arm did not come home: {status.state}: {status.reason}", "see the commander's log")


def _follow(session: Session, replayer: Replayer, rows: Any, demos: Demos) -> dict[str, Any]:
    from hpt_ros.evaluation.replay_motion import tracking

    limited = session.latest["commander"].limited_ticks
    session.engage()
    try:
        start = replayer.joints
        assert start is not None, "waited for"
        motion = replayer.begin(rows, start)
        _wait_for_end(session, replayer, motion)
        commanded, measured = replayer.tracks()
    finally:
        replayer.end()
        if session.latest["commander"].state != "FAULT":  # which a person clears
            session.trigger("/hpt_ros/commander/disengage")
    joints = tracking(demos.embodiment.joints.names, commanded, measured, replayer.span_ns(motion))
    return {
        "limited_ticks": session.latest["commander"].limited_ticks - limited,
        "tracking": [asdict(joint) for joint in joints],
    }


def _wait_for_end(session: Session, replayer: Replayer, motion: ReplayMotion) -> None:
    def running() -> bool:
        return bool(session.latest["commander"].state == "RUNNING")

    session.wait_for("the commander to follow", running, _PATIENCE_S)
    ends_s = motion.ends_s + _AFTER_S
    session.wait_for("the end", lambda: replayer.elapsed_s > ends_s or not running(), ends_s + _PATIENCE_S)
    if replayer.elapsed_s <= ends_s:
        status = session.latest["commander"]
        raise StreamError(f"stopped {replayer.elapsed_s:.1f} s after the start: {status.state}: {status.reason}")


def tracking_table(report: Mapping[str, Any]) -> Table:
    """Measured against commanded, joint by joint."""
    table = Table(title="measured against commanded while the demonstration ran", title_justify="left")
    for heading in ("joint", "rms rad", "max rad", "lag ms"):
        table.add_column(heading, justify="left" if heading == "joint" else "right")
    for joint in report["tracking"]:
        figures = (f"{joint['rms_rad']:.4f}", f"{joint['max_rad']:.4f}", f"{joint['lag_s'] * 1e3:.0f}")
        table.add_row(joint["name"], *figures)
    return table
