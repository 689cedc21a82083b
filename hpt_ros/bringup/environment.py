"""Environment of every process that takes part: domain, transport profile, threads, where logs go."""

from __future__ import annotations

import os
from pathlib import Path

from hpt_ros.paths import share_dir

NAMESPACE_VARIABLE = "HPT_ROS_NAMESPACE"
"""Of the nodes that commands look for."""


def node_environment(domain_id: int, log_dir: Path, local: bool = True) -> dict[str, str]:
    """A copy of this process's environment with what the nodes need; `local` keeps discovery on this machine.

    libgomp waits actively by default: one inference beside a busy core then takes ten times as long.
    """
    discovery = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"} if local else {}
    return (
        os.environ
        | discovery
        | transport_profile()
        | {
            "ROS_DOMAIN_ID": str(domain_id),
            "ROS_LOG_DIR": str(log_dir.resolve() / "ros"),
            "OMP_WAIT_POLICY": "passive",
            "LP_NUM_THREADS": "0",
            "MESA_SHADER_CACHE_DISABLE": "true",
            "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl"),
            "MPLCONFIGDIR": str(log_dir.resolve() / "matplotlib"),
            "RCUTILS_COLORIZED_OUTPUT": "0",
            "PYTHONUNBUFFERED": "1",
        }
    )


def transport_profile() -> dict[str, str]:
    """The variable that gives Fast DDS our profile: shared memory large enough for images."""
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")  # newer ones warn of the old name
    name = "FASTRTPS_DEFAULT_PROFILES_FILE" if old else "FASTDDS_DEFAULT_PROFILES_FILE"
    return {name: str(share_dir() / "config" / "fastdds.xml")}
