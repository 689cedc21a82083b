"""What we ask for is what every publisher can serve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from hpt_ros.recording.qos import Request, mismatches, request_for

BEST, RELIABLE = QosReliability.BEST_EFFORT, QosReliability.RELIABLE
VOLATILE, LATCHED = QosDurability.VOLATILE, QosDurability.TRANSIENT_LOCAL


def offer(reliability: QosReliability, durability: QosDurability) -> Qos:
    forever = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST, 10, reliability, durability, forever, forever, QosLiveliness.AUTOMATIC, forever, False
    )


OFFERS = st.lists(st.builds(offer, st.sampled_from([BEST, RELIABLE]), st.sampled_from([VOLATILE, LATCHED])))


@given(OFFERS)
def test_the_request_fits_every_offer(offers) -> None:
    assert mismatches(request_for(offers), offers) == []


@pytest.mark.parametrize(
    ("offers", "request_"),
    [
        ([offer(RELIABLE, VOLATILE)], Request(True, False)),
        ([offer(RELIABLE, LATCHED)], Request(True, True)),
        ([offer(RELIABLE, LATCHED), offer(BEST, VOLATILE)], Request(False, False)),
    ],
)
def test_it_is_the_strictest_that_fits(offers, request_) -> None:
    assert request_for(offers) == request_


def test_a_publisher_that_cannot_serve_is_told() -> None:
    assert mismatches(Request(True, True), [offer(BEST, VOLATILE)]) == [
        "offered best effort, requested reliable",
        "offered volatile, requested transient local",
    ]
