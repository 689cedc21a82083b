"""`hpt-ros record --sim`: where a first episode is refused, the nodes are started anew, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (make setup installs it)")

from hpt_ros.cli import record
from hpt_ros.errors import StreamError
from hpt_ros.nodes import session


class Refusing:
    """A session whose recorder misses a topic in the first `refusals` sets of nodes."""

    refusals = 0

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> Refusing:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait_for_status(self, name: str) -> None:
        pass

    def insist(self, call: Callable[[], str]) -> str:
        return call()

    def start_episode(self, *_: str) -> str:
        if Refusing.refusals:
            Refusing.refusals -= 1
            raise StreamError("no message on wrist yet", "start the camera")
        return ""

    def trigger(self, service: str) -> None:
        assert service.endswith("discard")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened to the nodes, in order."""
    happened: list[str] = []

    @contextmanager
    def nodes(*_: object) -> Iterator[object]:
        happened.append("up")
        yield type("Nodes", (), {"check": staticmethod(lambda: None)})
        happened.append("down")

    monkeypatch.setattr(record, "bring_up", nodes)
    monkeypatch.setattr(session, "Session", Refusing)
    monkeypatch.setattr(record, "_record_expert", lambda *_: happened.append("recorded"))
    return happened


@pytest.mark.parametrize(
    ("refusals", "happens"), [(0, ["up", "recorded", "down"]), (1, ["up", "down", "up", "recorded", "down"])]
)
def test_new_nodes_where_the_first_miss_a_topic(
    started: list[str], tmp_path: Path, refusals: int, happens: list[str]
) -> None:
    Refusing.refusals = refusals
    record.record(sim=True, bags=tmp_path, episodes=1)
    assert started == happens


def test_what_new_nodes_miss_too_ends_it(started: list[str], tmp_path: Path) -> None:
    Refusing.refusals = 2
    with pytest.raises(StreamError, match="no message on wrist"):
        record.record(sim=True, bags=tmp_path, episodes=1)
    assert started[:3] == ["up", "down", "up"]
    assert "recorded" not in started
