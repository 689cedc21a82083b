"""The buffer keeps the recent past in order, whatever the order of arrival."""

from __future__ import annotations

import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.streams import StreamBuffer, header_stamp_ns

BASE_NS = 1_700_000_000_000_000_000
HORIZON_NS = 1000


def message(stamp_ns: int, value: float = 0.0) -> bytes:
    return synthetic.joint_state(stamp_ns, {"a": value})


@settings(deadline=None)
@given(
    offsets=st.lists(st.integers(0, 3 * HORIZON_NS), min_size=1, max_size=40),
    query=st.integers(-10, 3 * HORIZON_NS + 10),
)
def test_at_or_before_is_the_newest_within_the_horizon(offsets, query) -> None:
    buffer = StreamBuffer(HORIZON_NS)
    kept: set[int] = set()
    for offset in offsets:
        buffer.push(message(BASE_NS + offset))
        newest = max(kept | {offset})
        kept = {x for x in kept | {offset} if x >= newest - HORIZON_NS}
    sample = buffer.at_or_before(BASE_NS + query)
    expected = max((x for x in kept if x <= query), default=None)
    assert (sample and sample.stamp_ns) == (None if expected is None else BASE_NS + expected)
    assert len(buffer) == len(kept)
    assert buffer.newest_ns == BASE_NS + max(kept)
    assert sample is None or header_stamp_ns(sample.raw) == sample.stamp_ns


def test_of_equal_stamps_the_first_stays() -> None:
    buffer = StreamBuffer(HORIZON_NS)
    first, second = message(BASE_NS, 1.0), message(BASE_NS, 2.0)
    for raw in (first, message(BASE_NS + 5), second):
        buffer.push(raw)
    assert buffer.at_or_before(BASE_NS).raw == first
    assert len(buffer) == 2
