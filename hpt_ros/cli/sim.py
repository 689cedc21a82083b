"""`hpt-ros sim`: the simulated Panda in the foreground, or a picture of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from hpt_ros.bringup.attach import join
from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.embodiment import load_embodiment

_PATIENCE_S = 3.0  # for the node's end


def sim(
    task: Annotated[str, typer.Option(help="reach, lift or push.")] = "reach",
    embodiment: Annotated[str, typer.Option(help="Preset name or YAML file of the robot set-up.")] = "sim_panda",
    seed: Annotated[int, typer.Option(help="Of the first scene.", min=0)] = 0,
    speed: Annotated[float, typer.Option(help="Simulated seconds per second; other than 1 publishes /clock.")] = 1.0,
    domain: Annotated[int | None, typer.Option(help="ROS domain; default: ROS_DOMAIN_ID, else 0.")] = None,
    duration_s: Annotated[float | None, typer.Option(help="End after so many seconds.", min=0.1)] = None,
    log_dir: Annotated[Path, typer.Option(help="Where ROS writes its log.")] = Path("out/log"),
    picture: Annotated[
        Path | None, typer.Option(help="Only draw the scene to this PNG, without ROS, and exit.")
    ] = None,
) -> None:
    """Run the simulated Panda on ROS 2 topics until Ctrl-C."""
    console = Console()
    os.environ.setdefault("MUJOCO_GL", "egl")
    if picture:
        from hpt_ros.sim.picture import draw_picture

        draw_picture(picture, task, seed, load_embodiment(embodiment))
        console.print(f"wrote {picture}", highlight=False)
        return
    with DomainLock(join(domain)) as lock:
        console.print(f"simulated Panda in ROS domain {lock.domain_id}; Ctrl-C ends it", highlight=False)
        parameters = {"embodiment": embodiment, "task": task, "seed": seed, "speed": speed}
        code = _run_node(parameters, node_environment(lock.domain_id, log_dir), duration_s)
    if code:
        raise typer.Exit(code)


def _run_node(parameters: dict[str, object], environment: dict[str, str], duration_s: float | None) -> int:
    """Run sim_node with our terminal until it ends, the time is over or a signal comes; returns its exit code."""
    command = [sys.executable, "-m", "hpt_ros.sim.sim_node", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    signal.signal(signal.SIGTERM, _interrupt)
    node = subprocess.Popen(command, env=environment, start_new_session=True)  # one signal, from us alone
    try:
        return node.wait(duration_s)
    except subprocess.TimeoutExpired:
        return _end(node)
    except KeyboardInterrupt:
        _end(node)
        raise


def _end(node: subprocess.Popen[bytes]) -> int:
    node.send_signal(signal.SIGINT)
    try:
        return node.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        node.kill()
        return node.wait()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
