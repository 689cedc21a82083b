"""`hpt-ros sim`: the simulated Panda on ROS 2 topics, or a picture of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hpt_ros.bringup.attach import bring_up, join
from hpt_ros.embodiment import load_embodiment
from hpt_ros.sim.tasks import TASKS, task_named

_CHECK_PERIOD_S = 0.2


def sim(
    task: Annotated[str, typer.Option(help=f"One of: {', '.join(TASKS)}.")] = "reach",
    embodiment: Annotated[str, typer.Option(help="Preset name or YAML file of the robot set-up.")] = "sim_panda",
    seed: Annotated[int, typer.Option(help="Of the first scene.", min=0)] = 0,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per second; other than 1 publishes /clock.", min=0.01, max=100)
    ] = 1.0,
    domain: Annotated[int | None, typer.Option(help="ROS domain; default: ROS_DOMAIN_ID, else 0.")] = None,
    duration_s: Annotated[float | None, typer.Option(help="End after so many seconds.", min=0.1)] = None,
    log_dir: Annotated[Path, typer.Option(help="Where the simulator writes its log.")] = Path("out/log"),
    picture: Annotated[
        Path | None, typer.Option(help="Only draw the scene to this PNG, without ROS, and exit.")
    ] = None,
) -> None:
    """Run the simulated Panda until Ctrl-C."""
    console = Console()
    robot = load_embodiment(embodiment)
    task_named(task)
    if picture:
        from hpt_ros.sim.picture import draw_picture

        draw_picture(picture, task, seed, robot)
        console.print(f"wrote {picture}", highlight=False)
        return
    values = {"embodiment": embodiment, "task": task, "seed": str(seed), "speed": str(speed)}
    domain_id = join(domain)  # others will want to find it, so never just any free one
    with bring_up("sim", values, domain_id, log_dir) as supervisor:
        console.print(f"simulated Panda, task {task}, ROS domain {domain_id}; Ctrl-C ends it", highlight=False)
        console.print(f"  log: {supervisor.logs['sim_node']}", highlight=False)
        end_s = time.monotonic() + duration_s if duration_s else float("inf")
        while time.monotonic() < end_s:
            supervisor.check()
            time.sleep(_CHECK_PERIOD_S)
