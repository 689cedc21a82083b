"""Demonstrations in which nothing is wrong, as views and as bags, for faults to be seeded into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import synthetic
from synthetic import MS, START_NS

from hpt_ros.demos.audit.view import Arrivals, EpisodeView, Frames, Series
from hpt_ros.embodiment import embodiment_from, embodiment_to

_DATA = embodiment_to(synthetic.embodiment())
_DATA["joints"]["timing"]["rate_hz"] = 200
ROBOT = embodiment_from(_DATA)
JOINTS = len(ROBOT.joints.names)
DURATION_S = 4.0
LAG_S = 0.02
RATES_HZ = {spec.key: spec.rate_hz for spec in (*ROBOT.streams(), ROBOT.command_stream())}


def commanded(time_s: np.ndarray[Any, Any], number: int) -> np.ndarray[Any, Any]:
    """A reach from home and half the way back, to another goal for every episode: (N, 8), smooth, never at rest for long."""
    phase = np.clip(time_s / DURATION_S, 0, 1)
    away = np.sin(0.8 * np.pi * phase) ** 2
    goal = np.random.default_rng(number).uniform(0.15, 0.35, JOINTS) * -((-1.0) ** np.arange(JOINTS))
    width = np.where(time_s < 2.0, 0.08, 0.0)
    return np.column_stack([np.array(ROBOT.home_rad) + away[:, None] * goal, width])


def measured(time_s: np.ndarray[Any, Any], number: int) -> np.ndarray[Any, Any]:
    """The arm a little later; the fingers take 0.4 s to close."""
    joints = commanded(time_s - LAG_S, number)[:, :JOINTS]
    return np.column_stack([joints, 0.08 * np.clip(1 - (time_s - 2.0) / 0.4, 0, 1)])


def times(key: str) -> np.ndarray[Any, Any]:
    return np.arange(0, DURATION_S, 1 / RATES_HZ[key])


def view(number: int, **changed: Any) -> EpisodeView:
    """Episode `number`, with some fields changed."""
    streams = {key: Arrivals(times(key), np.full(len(times(key)), 0.002)) for key in RATES_HZ}
    fields: dict[str, Any] = {
        "name": f"reach/{number}",
        "embodiment": ROBOT,
        "score": 1.0,
        "task": "reach",
        "joints": Series(times("joints"), measured(times("joints"), number)[:, :JOINTS]),
        "gripper": Series(times("gripper"), measured(times("gripper"), number)[:, JOINTS:]),
        "command": Series(times("command"), commanded(times("command"), number)),
        "cameras": {name: frames() for name in ("front", "wrist")},
        "streams": streams,
    }
    return EpisodeView(**(fields | changed))


def frames(**changed: Any) -> Frames:
    """Pictures that all differ, neither dark nor bright."""
    time_s = times("camera.front")
    sampled = np.arange(0, len(time_s), 6)
    fields: dict[str, Any] = {
        "time_s": time_s,
        "digest": np.arange(len(time_s), dtype=np.uint32),
        "sampled": sampled,
        "dark_share": np.full(len(sampled), 0.3),
        "bright_share": np.full(len(sampled), 0.3),
    }
    return Frames(**(fields | changed))


def views(count: int = 10) -> list[EpisodeView]:
    return [view(number) for number in range(count)]


def messages(number: int = 0) -> Iterator[tuple[str, int, bytes]]:
    """(stream key, stamp, serialized message) of episode `number`, by stamp."""
    made = [(key, time_s, i) for key in RATES_HZ for i, time_s in enumerate(times(key))]
    for key, time_s, i in sorted(made, key=lambda item: item[1]):
        stamp_ns = START_NS + round(float(time_s) * 1000) * MS
        yield key, stamp_ns, message(key, stamp_ns, number, picture=synthetic.frame(1000 * number + i))


def message(key: str, stamp_ns: int, number: int, picture: np.ndarray[Any, Any]) -> bytes:
    """One message of the episode."""
    time_s = np.array([(stamp_ns - START_NS) / 1e9])
    if key == "command":
        return synthetic.command(stamp_ns, ROBOT, commanded(time_s, number)[0])
    if key == "joints":
        return joint_state(stamp_ns, measured(time_s, number)[0, :JOINTS])
    if key == "gripper":
        half = float(measured(time_s, number)[0, -1]) / 2
        return synthetic.joint_state(stamp_ns, {"panda_finger_joint1": half, "panda_finger_joint2": half})
    return synthetic.image(stamp_ns, picture) if key == "camera.front" else synthetic.compressed(stamp_ns, picture)


def joint_state(stamp_ns: int, values: np.ndarray[Any, Any]) -> bytes:
    return synthetic.joint_state(stamp_ns, dict(zip(ROBOT.joints.names, values.tolist(), strict=True)))
