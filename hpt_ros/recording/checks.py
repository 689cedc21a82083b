"""May an episode start? Each reason against it says what was seen, what is expected and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hpt_ros.streams.cdr import typestore


@dataclass(frozen=True)
class TopicView:
    """A topic as the recorder sees it now.

    `publishers`: type name and RIHS01 hash ("" where the middleware gives none) of every publisher.
    `silent_s`: time since the last message, None before the first; `max_silence_s` None: it need not have come yet.
    `refusal`: why it could not be subscribed to. `slow_hz`: the rate, if it is too low for `expected_hz`.
    """

    name: str
    msgtype: str
    required: bool
    publishers: tuple[tuple[str, str], ...]
    silent_s: float | None
    max_silence_s: float | None
    refusal: str = ""
    slow_hz: float | None = None
    expected_hz: float = 0.0


def reasons_against_start(topics: Iterable[TopicView]) -> list[str]:
    """One line per problem; empty when recording may start."""
    return [reason for topic in topics for reason in _reasons(topic)]


def _reasons(topic: TopicView) -> Iterator[str]:
    if not topic.publishers:
        if topic.required:
            yield f"{topic.name}: no publisher, expected {topic.msgtype}; start the node that publishes it"
        return
    if topic.msgtype not in typestore().fielddefs:
        yield f"{topic.name}: no definition of {topic.msgtype} is known; record common interfaces only"
        return
    for msgtype, digest in topic.publishers:
        if msgtype != topic.msgtype:
            yield f"{topic.name}: published as {msgtype}, expected {topic.msgtype}; correct the embodiment or the publisher"
        elif digest and digest != typestore().hash_rihs01(topic.msgtype):
            yield f"{topic.name}: the publisher has another definition of {topic.msgtype}; build both from the same sources"
    if topic.refusal:
        yield f"{topic.name}: {topic.refusal}"
    if topic.max_silence_s is None:
        return
    if topic.silent_s is None:
        yield f"{topic.name}: has a publisher, but no message came; check the driver and its quality of service"
    elif topic.silent_s > topic.max_silence_s:
        yield f"{topic.name}: silent for {topic.silent_s:.1f} s, at most {topic.max_silence_s:.1f} s expected; check the driver"
    elif topic.slow_hz is not None:
        yield f"{topic.name}: {topic.slow_hz:.1f} Hz, {topic.expected_hz:g} Hz expected; check the driver, or correct rate_hz in the embodiment"
