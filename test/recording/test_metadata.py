"""What a bag says about its streams."""

from __future__ import annotations

from hpt_ros.embodiment import load_embodiment
from hpt_ros.recording.metadata import EpisodeMetadata

ROBOT = load_embodiment("sim_panda")


def test_a_stream_that_was_silent_beyond_its_budget_is_named_and_no_other_topic() -> None:
    budget_ms = ROBOT.joints.timing.max_age_s * 1e3
    gaps_ms = {ROBOT.joints.topic: budget_ms + 3, ROBOT.cameras[0].topic: 240.0, "/added/by/the/user": 5000.0}
    topics = {topic: {"gap_max_ms": gap_ms} for topic, gap_ms in gaps_ms.items()}
    about = EpisodeMetadata(ROBOT, "reach", "", "ada", 1.0, "success", topics=topics)
    assert about.broken_streams() == ["/franka/joint_states: silent for 203 ms, at most 200 ms allowed"]
    topics[ROBOT.joints.topic]["gap_max_ms"] = budget_ms
    assert about.broken_streams() == []
