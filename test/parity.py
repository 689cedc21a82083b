"""Bytes of a bag through an Observer at given ticks, and what it takes to be equal to what was seen live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hpt_ros.embodiment import Embodiment
from hpt_ros.streams import PATIENCE_NS, Observation, Observer, StaleStreamError, header_stamp_ns

Outcome = Observation | StaleStreamError


def outcome(observer: Observer, tick_ns: int) -> Outcome:
    """The observation, or why there is none."""
    try:
        return observer.observe(tick_ns)
    except StaleStreamError as error:
        return error


def offline(robot: Embodiment, messages: Iterable[tuple[str, bytes]], ticks_ns: Sequence[int]) -> Iterator[Outcome]:
    """One outcome per tick, each taken once the stamps are `PATIENCE_NS` past it, as the converter does."""
    observer, keys = Observer(robot), {spec.key for spec in robot.streams()}
    waiting = list(ticks_ns)
    for key, raw in messages:
        while waiting and header_stamp_ns(raw) > waiting[0] + PATIENCE_NS:
            yield outcome(observer, waiting.pop(0))
        if key in keys:
            observer.push(key, raw)
    for tick_ns in waiting:
        yield outcome(observer, tick_ns)


def assert_same(live: Outcome, recorded: Outcome) -> None:
    """Bit for bit, history included; or refused because of the same stream."""
    if isinstance(live, StaleStreamError) or isinstance(recorded, StaleStreamError):
        assert isinstance(live, StaleStreamError), f"only the recording is refused: {recorded}"
        assert isinstance(recorded, StaleStreamError), f"only live is refused: {live}"
        assert live.stream == recorded.stream
        return
    assert live.tick_ns == recorded.tick_ns
    assert live.ages_ns == recorded.ages_ns
    for kind in ("images", "depth"):
        assert getattr(live, kind).keys() == getattr(recorded, kind).keys()
    pairs = [("state", live.state, recorded.state)]
    pairs += [(name, frames, recorded.images[name]) for name, frames in live.images.items()]
    pairs += [(name, maps, recorded.depth[name]) for name, maps in live.depth.items()]
    for name, seen, found in pairs:
        assert seen.dtype == found.dtype, name
        np.testing.assert_array_equal(seen, found, err_msg=name)
