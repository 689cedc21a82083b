"""`hpt-ros up NAME`: the processes of the launch file of that name, without ros2 launch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hpt_ros.bringup.attach import bring_up, join
from hpt_ros.bringup.layout import LAYOUTS, layout
from hpt_ros.errors import ConfigError


def up(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(LAYOUTS)}.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Launch arguments as name:=value.")] = None,
    domain: Annotated[int | None, typer.Option(help="ROS domain; default: ROS_DOMAIN_ID, else 0.")] = None,
    log_dir: Annotated[Path, typer.Option(help="Where each process writes its log.")] = Path("out/log"),
    show_args: Annotated[bool, typer.Option("--show-args", help="List the launch arguments and exit.")] = False,
) -> None:
    """Start the same processes as `ros2 launch hpt_ros NAME.launch.py`; Ctrl-C ends them all."""
    console = Console()
    chosen = layout(name)
    if show_args:
        for argument in chosen.arguments:
            default = "required" if argument.default is None else f"default {argument.default!r}"
            console.print(f"{argument.name}: {argument.description} ({default})", highlight=False)
        return
    values = dict(_split(item) for item in arguments or [])
    domain_id = join(domain)  # others will want to find it, so never just any free one
    with bring_up(name, values, domain_id, log_dir) as supervisor:
        console.print(f"ROS domain {domain_id}; Ctrl-C ends everything", highlight=False)
        for executable, path in supervisor.logs.items():
            console.print(f"  {executable}: {path}", highlight=False)
        supervisor.wait()


def _split(item: str) -> tuple[str, str]:
    name, separator, value = item.partition(":=")
    if not separator:
        raise ConfigError("up", item, "name:=value")
    return name, value
