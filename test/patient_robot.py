"""The simulated Panda with time for what a busy machine delays, for tests that run all of it."""

from __future__ import annotations

from typing import Any

from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, load_embodiment


def patient_panda(**policy: Any) -> Embodiment:
    """sim_panda with changed policy values, small and slow images, joints at 100 Hz, and wide time limits."""
    data = embodiment_to(load_embodiment("sim_panda"))
    data["policy"] |= policy
    data["joints"]["timing"]["rate_hz"] = 100
    for camera in data["cameras"]:
        camera["size_px"] = [16, 16]
        camera["timing"]["rate_hz"] = 10
    for stream in (data["joints"], data["gripper"], *data["cameras"]):
        stream["timing"] |= {"allowance_s": 0.2, "max_age_s": 1.0}
    data["safety"]["policy_timeout_s"] = 1.0
    return embodiment_from(data)
