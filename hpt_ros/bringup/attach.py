"""Join a running graph, or bring up a simulated one in a domain of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from hpt_ros.bringup.domain import DomainLock
from hpt_ros.bringup.environment import node_environment
from hpt_ros.bringup.layout import layout
from hpt_ros.bringup.supervisor import Supervisor
from hpt_ros.configuration import check
from hpt_ros.errors import MissingDependencyError


@contextmanager
def bring_up(name: str, arguments: Mapping[str, str], domain_id: int | None, log_dir: Path) -> Iterator[Supervisor]:
    """Run a layout's processes; this process joins their domain. SIGTERM ends them as Ctrl-C does.

    A layout with the simulator holds its domain alone; any other joins the robot's.

    Args:
        domain_id: ROS domain; None takes a free one for the simulator, ROS_DOMAIN_ID or 0 for a robot.

    Raises:
        BusyError: the domain is in use.
        ConfigError: unknown layout or argument.
        MissingDependencyError: no ROS 2.
    """
    require_ros()
    signal.signal(signal.SIGTERM, _interrupt)
    chosen = layout(name)
    with _hold(domain_id) if chosen.simulated else nullcontext(join(domain_id)) as domain:
        os.environ.update(node_environment(domain, log_dir, local=chosen.simulated))
        with Supervisor(chosen, arguments, domain, log_dir) as supervisor:
            yield supervisor


def require_ros() -> None:
    """Refuse early where the nodes could not start.

    Raises:
        MissingDependencyError: ROS 2 or the generated messages of this package are not importable.
    """
    try:
        import rclpy  # noqa: F401

        import hpt_ros.msg  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"this needs ROS 2 and the messages of hpt_ros: {error}",
            "make setup, or build the package in a ROS 2 workspace and source install/setup.bash",
        ) from error


def join(domain_id: int | None) -> int:
    """The domain of a graph that runs already: the given one, else ROS_DOMAIN_ID, else 0."""
    text = os.environ.get("ROS_DOMAIN_ID", "0") if domain_id is None else str(domain_id)
    check(text.isdigit(), "ROS_DOMAIN_ID", text, "a number from 0 to 232")
    return int(text)


@contextmanager
def _hold(domain_id: int | None) -> Iterator[int]:
    with DomainLock.any_free() if domain_id is None else DomainLock(domain_id) as lock:
        yield lock.domain_id


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
