"""`hpt-ros doctor`: what this machine can run, and the one line that mends what it cannot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from hpt_ros.cli import machine
from hpt_ros.cli.finding import Finding
from hpt_ros.cli.output import console
from hpt_ros.embodiment import load_embodiment, presets
from hpt_ros.errors import ConfigError, HptRosError
from hpt_ros.paths import share_dir

_FREE_BYTES = 5 * 10**9


def doctor(
    json_out: Annotated[bool, typer.Option("--json", help="Print the findings as JSON on standard output.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Listen to a robot that runs: topics, rates, stamps.")] = False,
    embodiment: Annotated[str, typer.Option(help="With --live: preset or YAML file of the robot set-up.")] = "panda",
    seconds: Annotated[float, typer.Option(help="With --live: how long to listen.")] = 5.0,
    domain: Annotated[int | None, typer.Option(help="With --live: ROS domain; default: ROS_DOMAIN_ID, else 0.")] = None,
    namespace: Annotated[str, typer.Option(help="With --live: that everything stands below.")] = "",
) -> int:
    """Check what each stage needs, or with --live what a running robot sends; the exit code is 1 if something is wrong."""
    findings = _live(embodiment, seconds, domain, namespace) if live else [check() for check in CHECKS]
    if json_out:
        import json

        typer.echo(json.dumps([vars(f) for f in findings], indent=2))
    table = Table(box=None, expand=True)
    for column in ("", "check", "seen", "to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]missing[/]" if finding.fails else "[yellow]better[/]"
        table.add_row(mark, finding.name, escape(finding.seen), "" if finding.ok else escape(finding.remedy))
    console.print(table)
    return 1 if any(f.fails for f in findings) else 0


def _live(embodiment: str, seconds: float, domain: int | None, namespace: str) -> list[Finding]:
    from hpt_ros.bringup.attach import join, require_ros

    require_ros()
    from hpt_ros.cli.live import judge
    from hpt_ros.nodes.live_probe import listen

    robot = load_embodiment(embodiment)
    heard = judge(robot, listen(robot, join(domain), seconds, namespace))
    return [*heard, *(check() for check in MACHINE_CHECKS)]


def _import(name: str, modules: tuple[str, ...], remedy: str) -> Finding:
    try:
        for module in modules:
            importlib.import_module(module)
    except (ImportError, OSError) as error:
        return Finding(name, False, str(error), remedy)
    return Finding(name, True, "importable")


def _machine() -> Finding:
    return Finding("machine", True, f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


def _config() -> Finding:
    try:
        for name in presets():
            load_embodiment(name)
    except HptRosError as error:
        return Finding("embodiments", False, str(error), "mend the file")
    return Finding("embodiments", True, f"{', '.join(presets())} in {share_dir() / 'config' / 'embodiments'}")


def _torch() -> Finding:
    finding = _import("learning", ("torch", "safetensors", "cv2", "rosbags"), "pip install hpt_ros, or make setup")
    if not finding.ok:
        return finding
    import torch

    return Finding(finding.name, True, f"torch {torch.__version__}")


def _ros() -> Finding:
    finding = _import(
        "ROS 2", ("rclpy", "sensor_msgs.msg", "std_srvs.srv"), "make setup, or source /opt/ros/DISTRO/setup.bash"
    )
    if not finding.ok:
        return finding
    try:
        version = importlib.metadata.version("ros-rclpy")
    except importlib.metadata.PackageNotFoundError:
        version = os.environ.get("ROS_DISTRO", "")
    return Finding(finding.name, True, f"rclpy {version}")


def _messages() -> Finding:
    return _import(
        "messages of hpt_ros",
        ("hpt_ros.msg", "hpt_ros.srv"),
        "make setup, or colcon build and source install/setup.bash",
    )


def _rendering() -> Finding:
    try:
        from hpt_ros.sim.cameras import Renderer
        from hpt_ros.sim.world import World
    except HptRosError as error:
        return Finding("simulator", False, error.message, error.remedy)
    world = World("reach", 0, load_embodiment("sim_panda").home_rad)
    try:
        renderer = Renderer(world.model, (64, 64))
    except HptRosError as error:
        return Finding("rendering", False, error.message, error.remedy)
    renderer.render(world.snapshot(), ["front"])
    renderer.close()
    return Finding("rendering", True, f"headless, MUJOCO_GL={os.environ.get('MUJOCO_GL', 'default')}")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    return Finding(
        "disk",
        free > _FREE_BYTES,
        f"{free / 1e9:.1f} GB free here",
        f"free {_FREE_BYTES / 1e9:.0f} GB: 100 demonstrations need about that",
    )


def _shared_memory() -> Finding:
    free = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0
    return Finding(
        "shared memory",
        free > 300e6,
        f"{free / 1e6:.0f} MB free in /dev/shm",
        "give the container --shm-size=1g, or remove stale /dev/shm/fastdds_* files",
    )


def _domain() -> Finding:
    from hpt_ros.bringup.attach import join
    from hpt_ros.bringup.domain import domain_in_use

    try:
        domain = join(None)
    except ConfigError as error:
        return Finding("ROS domain", False, str(error), "export ROS_DOMAIN_ID=0")
    state = "ROS nodes of this machine are in it" if domain_in_use(domain) else "no ROS node of this machine is in it"
    return Finding("ROS domain", True, f"{domain}: {state}")


MACHINE_CHECKS: tuple[Callable[[], Finding], ...] = (
    _machine,
    _shared_memory,
    *machine.CHECKS,
)
"""Of the machine that commands a robot."""

CHECKS: tuple[Callable[[], Finding], ...] = (
    _machine,
    _config,
    _torch,
    _ros,
    _messages,
    _rendering,
    _disk,
    _shared_memory,
    _domain,
    *machine.CHECKS,
)
