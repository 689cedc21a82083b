"""One code path: what a live node sees is what the recorded bytes give, whatever happened on the way."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import assert_same, offline, outcome
from pictures import ENCODINGS, noise, picture
from synthetic import MS, START_NS

from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to
from hpt_ros.streams import Observation, Observer, StaleStreamError, header_stamp_ns

SECONDS = 0.8
HORIZON = 2


def many_cameras() -> Embodiment:
    """Raw cameras `front` and `side`, a compressed one `wrist`, depth in millimetres and in metres."""
    data = embodiment_to(synthetic.depth_embodiment(observation_horizon=HORIZON))
    data["cameras"].append(data["cameras"][0] | {"name": "side", "topic": "/side/image"})
    return embodiment_from(data)


ROBOT = many_cameras()
SPECS = {spec.key: spec for spec in ROBOT.streams()}
PERIOD_NS = ROBOT.policy.period_ns


class Arrival(NamedTuple):
    at_ns: int
    key: str
    raw: bytes


class Weather(NamedTuple):
    """What happens to messages on the way; `late`: share of those that need longer than their allowance."""

    seed: int
    encodings: tuple[str, str]
    padding: int
    big_endian: bool
    extension: str
    loss: float
    duplicates: float
    late: float


def weather(late: st.SearchStrategy[float]) -> st.SearchStrategy[Weather]:
    return st.builds(
        Weather,
        seed=st.integers(0, 2**32),
        encodings=st.tuples(st.sampled_from(ENCODINGS), st.sampled_from(ENCODINGS)),
        padding=st.sampled_from([0, 6]),
        big_endian=st.booleans(),
        extension=st.sampled_from([".jpg", ".png"]),
        loss=st.sampled_from([0.0, 0.1, 0.6, 0.95]),
        duplicates=st.sampled_from([0.0, 0.2]),
        late=late,
    )


def message(sky: Weather, chance: random.Random, key: str, stamp_ns: int, number: int) -> bytes:
    names = [*ROBOT.joints.names, "another_joint"]
    if key == "joints":
        values = synthetic.joint_values(stamp_ns, len(names))
        order = chance.sample(range(len(names)), len(names))  # controllers promise none
        return synthetic.joint_state(stamp_ns, {names[i]: values[i] for i in order}, chance.random() < 0.5)
    if key in ("camera.front", "camera.side"):
        encoding = sky.encodings[key == "camera.side"]
        return picture(stamp_ns, noise(number, encoding), encoding, sky.padding, sky.big_endian)
    if key == "camera.wrist":
        return synthetic.compressed(stamp_ns, synthetic.frame(number), sky.extension)
    return synthetic._message(ROBOT, key, stamp_ns, number)


def arrivals(sky: Weather) -> list[Arrival]:
    """Messages in the order in which they arrive."""
    chance, found = random.Random(sky.seed), []
    for key, spec in SPECS.items():
        period_ns = 5 * MS if key == "joints" else round(1e9 / spec.rate_hz)
        for number in range(int(SECONDS * 1e9 / period_ns)):
            stamp_ns = START_NS + number * period_ns + chance.randrange(period_ns // 2)
            if chance.random() < sky.loss / (1 if key == "camera.side" else 4):
                continue
            raw = message(sky, chance, key, stamp_ns, number)
            for _ in range(1 + (chance.random() < sky.duplicates)):
                delay_ns = chance.randrange(spec.allowance_ns)
                if chance.random() < sky.late:
                    delay_ns += chance.randrange(300 * MS)
                found.append(Arrival(stamp_ns + delay_ns, key, raw))
    return sorted(found, key=lambda arrival: arrival.at_ns)


def ticks(sky: Weather) -> list[int]:
    first_ns = START_NS + random.Random(sky.seed).randrange(300 * MS)
    return list(range(first_ns, START_NS + round(SECONDS * 1e9), PERIOD_NS))


def live(observer: Observer, messages: list[Arrival], ticks_ns: list[int]) -> list[Observation | StaleStreamError]:
    """Every tick sees what has arrived until then."""
    waiting, seen = list(messages), []
    for tick_ns in ticks_ns:
        while waiting and waiting[0].at_ns <= tick_ns:
            _, key, raw = waiting.pop(0)
            observer.push(key, raw)
        seen.append(outcome(observer, tick_ns))
    return seen


def came_in_time(messages: list[Arrival], tick_ns: int) -> bool:
    """Whether all that the tick could use had arrived by then, in one copy at least."""
    first: dict[tuple[str, int], int] = {}
    for at_ns, key, raw in messages:
        first.setdefault((key, header_stamp_ns(raw)), at_ns)
    return all(
        at_ns <= tick_ns for (key, stamp_ns), at_ns in first.items() if stamp_ns <= tick_ns - SPECS[key].allowance_ns
    )


@settings(max_examples=25)
@given(sky=weather(late=st.just(0.0)))
def test_recorded_bytes_give_what_was_seen_live(sky: Weather) -> None:
    messages, ticks_ns, observer = arrivals(sky), ticks(sky), Observer(ROBOT)
    seen = live(observer, messages, ticks_ns)
    for at_tick, recorded in zip(seen, offline(ROBOT, ((m.key, m.raw) for m in messages), ticks_ns), strict=True):
        assert_same(at_tick, recorded)
    assert not any(observer.late_samples.values())
    if sky.loss == 0:
        assert isinstance(seen[-1], Observation), "nothing is missing and nothing stale"
        assert len(seen[-1].state) == HORIZON


@settings(max_examples=25)
@given(sky=weather(late=st.sampled_from([0.05, 0.3])))
def test_only_a_late_sample_can_make_a_difference(sky: Weather) -> None:
    messages, ticks_ns = arrivals(sky), ticks(sky)
    seen = live(Observer(ROBOT), messages, ticks_ns)
    recordings = offline(ROBOT, ((m.key, m.raw) for m in messages), ticks_ns)
    for tick_ns, at_tick, recorded in zip(ticks_ns, seen, recordings, strict=True):
        if came_in_time(messages, tick_ns):
            assert_same(at_tick, recorded)


def test_a_late_sample_does_make_a_difference_and_is_counted() -> None:
    """The guard of the two tests above: it shows that they could fail."""
    sky = Weather(1, ("rgb8", "yuyv"), 0, False, ".png", 0.0, 0.0, 0.5)
    messages, ticks_ns, observer = arrivals(sky), ticks(sky), Observer(ROBOT)
    seen = live(observer, messages, ticks_ns)
    recorded = list(offline(ROBOT, ((m.key, m.raw) for m in messages), ticks_ns))
    observed = [(a, b) for a, b in zip(seen, recorded, strict=True) if isinstance(a, Observation)]
    assert any(not np.array_equal(a.state, b.state) for a, b in observed if isinstance(b, Observation))
    assert observer.late_samples["joints"] > 0
