"""What a monitoring tool sees of our status messages."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")


class Recorded:
    """A node that keeps what is published."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def get_name(self) -> str:
        return "commander_node"

    def create_publisher(self, *_: Any) -> Any:
        recorded = self

        class Publisher:
            def publish(self, message: Any) -> None:
                recorded.sent.append(message)

        return Publisher()


@pytest.mark.parametrize(
    ("state", "level"), [("RUNNING", b"\x00"), ("HOLDING", b"\x01"), ("FAULT", b"\x02"), ("STALE", b"\x03")]
)
def test_state_gives_level_and_text_and_every_other_field_a_value(state: str, level: bytes) -> None:
    from hpt_ros.msg import CommanderStatus

    from hpt_ros.nodes.diagnostics import Diagnostics

    node: Any = Recorded()
    status = CommanderStatus(state=state, reason="because", rate_hz=99.87654, chunks_rejected=3)
    Diagnostics(node, "panda").publish(status)
    (entry,) = node.sent[0].status
    assert (entry.level, entry.message, entry.hardware_id) == (level, f"{state}: because", "panda")
    values = {pair.key: pair.value for pair in entry.values}
    assert values["rate_hz"] == "99.88"
    assert values["chunks_rejected"] == "3"
    assert set(values) == set(status.get_fields_and_field_types()) - {"header", "state", "reason"}


def test_lists_become_text() -> None:
    from hpt_ros.msg import PolicyStatus

    from hpt_ros.nodes.diagnostics import Diagnostics

    node: Any = Recorded()
    Diagnostics(node, "").publish(PolicyStatus(state="RUNNING", streams=["joints", "gripper"], ages_ms=[1.5, 20.0]))
    values = {pair.key: pair.value for pair in node.sent[0].status[0].values}
    assert (values["streams"], values["ages_ms"]) == ("joints, gripper", "1.5, 20")
