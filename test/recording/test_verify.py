"""A whole bag passes; each kind of damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic
from synthetic import MS, START_NS

from hpt_ros.recording.verify import verify

ROBOT = synthetic.embodiment()


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return synthetic.record(tmp_path / "bags", ROBOT, synthetic.messages(ROBOT, 0.5))


def spoil(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_a_whole_bag_has_no_problems(bag) -> None:
    verdict = verify(bag)
    assert verdict.problems == ()
    assert verdict.messages > 100


def test_damage_is_named(bag) -> None:
    mcap, metadata = next(bag.glob("*.mcap")), bag / "metadata.yaml"
    original = mcap.read_bytes(), metadata.read_bytes()

    def found(file: Path, old: bytes, new: bytes) -> str:
        mcap.write_bytes(original[0])
        metadata.write_bytes(original[1])
        spoil(file, old, new)
        return "\n".join(verify(bag).problems)

    raw = next(raw for key, _, raw in synthetic.messages(ROBOT, 0.5) if key == "joints")
    assert "checksum is wrong" in found(mcap, raw[12:60], bytes(48))
    assert "the metadata says 101" in found(metadata, b'"count": 100', b'"count": 101')
    assert "fingerprint abcd" in found(metadata, b"hpt_ros.fingerprint: ", b"hpt_ros.fingerprint: abcd #")
    mcap.write_bytes(original[0])
    metadata.unlink()
    assert "does not open" in verify(bag).problems[0]


@pytest.mark.parametrize(
    ("stamps_ms", "received_ms", "problem"),
    [
        ((0, 5, 3), (10, 11, 12), "message 3 is stamped 2.000 ms before"),
        ((0, 5, 10), (10, 20, 15), "message 3 was received 5.000 ms before"),
    ],
)
def test_disorder_within_a_topic_is_named(tmp_path, stamps_ms, received_ms, problem) -> None:
    stream = (
        ("joints", START_NS + (received - 1) * MS, synthetic.joint_state(START_NS + stamp * MS, {"a": 0.0}))
        for stamp, received in zip(stamps_ms, received_ms, strict=True)
    )
    (told,) = verify(synthetic.record(tmp_path / "bags", ROBOT, stream)).problems
    assert problem in told
