"""Environment of every process that takes part: domain, transport profile, threads, where logs go."""

from __future__ import annotations

import os
from pathlib import Path

from hpt_ros.paths import share_dir


def node_environment(domain_id: int, log_dir: Path, local: bool = True) -> dict[str, str]:
    """A copy of this process's environment with what the nodes need; `local` keeps discovery on this machine.

    libgomp waits actively by default: one inference beside a busy core then takes ten times as long.
    """
    profile = str(share_dir() / "config" / "fastdds.xml")
    discovery = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"} if local else {}
    return (
        os.environ
        | discovery
        | {
            "ROS_DOMAIN_ID": str(domain_id),
            "ROS_LOG_DIR": str(log_dir.resolve()),
            "FASTDDS_DEFAULT_PROFILES_FILE": profile,
            "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
            "OMP_WAIT_POLICY": "passive",
            "LP_NUM_THREADS": "0",
            "MESA_SHADER_CACHE_DISABLE": "true",
            "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl"),
            "MPLCONFIGDIR": str(log_dir.resolve() / "matplotlib"),
            "RCUTILS_COLORIZED_OUTPUT": "0",
            "PYTHONUNBUFFERED": "1",
        }
    )
