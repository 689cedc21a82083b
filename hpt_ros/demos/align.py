"""Messages of one episode -> observation and command at every tick of the policy rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos.stamps import Stamped
from hpt_ros.embodiment import Camera, Embodiment
from hpt_ros.errors import DataError, StreamError
from hpt_ros.streams import PATIENCE_NS, Observation, Observer, StaleStreamError, StreamBuffer, header_stamp_ns
from hpt_ros.streams.decode import camera_frame, command_positions, is_intervention

COMMAND_KEY = "command"


class CameraDecoder(Protocol):
    """As `camera_frame`."""

    def __call__(self, raw: bytes, camera: Camera) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Row:
    """One tick: the observation (one sample of history) and the command in force, float32 (A,), with its age [ns].

    With labels from the state, `command` is the measured state at the tick, and its age that of the joints' sample.
    `intervention`: a person's command though a policy ran.
    """

    observation: Observation
    command: NDArray[np.float32]
    command_age_ns: int
    intervention: bool = False


def align(messages: Iterable[tuple[str, bytes]], embodiment: Embodiment, from_state: bool = False) -> Iterator[Row]:
    """The rows of `Aligner` for one episode."""
    return Aligner(embodiment, from_state).rows(_with_stamps(messages))


def _with_stamps(messages: Iterable[tuple[str, bytes]]) -> Iterator[Stamped]:
    for key, raw in messages:
        try:
            yield key, header_stamp_ns(raw), raw
        except StreamError as error:
            raise DataError(f"{key}: {error.message}", error.remedy) from error


class Aligner:
    """Rows from the first tick at which an observation and a command exist to the last command, one policy period apart.

    Takes a tick once the stamps are `PATIENCE_NS` past it, so that what arrived late is in its place. The command in force
    at a tick is the last one stamped at or before it: the arm follows it until the next replaces it.
    With `from_state` there are no commands: the last tick is the last one that every stream reaches.

    `camera_decoder`: what a row's images are of a camera's message. `passed_over`: by stream, ticks before the first row at
    which it had no sample.
    """

    def __init__(
        self, embodiment: Embodiment, from_state: bool = False, camera_decoder: CameraDecoder = camera_frame
    ) -> None:
        one_frame = replace(embodiment.policy, observation_horizon=1)  # history is a matter of neighbouring rows
        self.passed_over: Counter[str] = Counter()
        self._embodiment = embodiment
        self._from_state = from_state
        decoders = {f"camera.{camera.name}": partial(camera_decoder, camera=camera) for camera in embodiment.cameras}
        self._observer = Observer(replace(embodiment, policy=one_frame), decoders)
        self._commands = StreamBuffer(horizon_ns=3 * PATIENCE_NS)
        specs = embodiment.streams() if from_state else (*embodiment.streams(), embodiment.command_stream())
        self._allowances = {spec.key: spec.allowance_ns for spec in specs}
        self._first_stamps: dict[str, int] = {}
        self._last_stamps: dict[str, int] = {}
        self._tick_ns: int | None = None
        self._first_ns: int | None = None

    def rows(self, messages: Iterable[Stamped]) -> Iterator[Row]:
        """Align messages in order of receipt; they may arrive up to `PATIENCE_NS` out of order.

        Raises:
            DataError: a stream goes stale, commands pause for longer than `PATIENCE_NS`, a message cannot be used, or
                there is no row at all.
        """
        for key, stamp_ns, raw in messages:
            if self._tick_ns is not None and self._tick_ns <= stamp_ns - PATIENCE_NS:
                yield from self._rows_until(stamp_ns - PATIENCE_NS)
            self._push(key, stamp_ns, raw)
        yield from self._finish()

    def _push(self, key: str, stamp_ns: int, raw: bytes) -> None:
        if key == COMMAND_KEY:
            self._check_no_pause(stamp_ns)
            self._commands.push(raw, stamp_ns)
        else:
            self._observer.push(key, raw, stamp_ns=stamp_ns)
        if stamp_ns > self._last_stamps.get(key, 0):
            self._last_stamps[key] = stamp_ns
        if key not in self._first_stamps:
            self._first_stamps[key] = stamp_ns
            if len(self._first_stamps) == len(self._allowances):
                self._tick_ns = max(first_ns + self._allowances[k] for k, first_ns in self._first_stamps.items())

    def _finish(self) -> Iterator[Row]:
        if self._tick_ns is not None:
            yield from self._rows_until(self._tick_ns + 2**62)
        if self._first_ns is None:
            raise self._nothing()

    def _rows_until(self, ns: int) -> Iterator[Row]:
        """Rows of the ticks up to `ns` for which a command exists."""
        while self._tick_ns is not None and self._tick_ns <= min(ns, self._end_ns()):
            row = self._row(self._tick_ns)
            self._tick_ns += self._embodiment.policy.period_ns
            if row is not None:
                yield row

    def _end_ns(self) -> int:
        """The last tick for which a label can exist, by what has come so far."""
        if not self._from_state:
            return self._commands.newest_ns or 0
        return min(last_ns + self._allowances[key] for key, last_ns in self._last_stamps.items())

    def _row(self, tick_ns: int) -> Row | None:
        try:
            observation = self._observer.observe(tick_ns)
            label = self._label(tick_ns, observation)
            if label is None:
                self.passed_over[COMMAND_KEY] += 1
                return None
        except StaleStreamError as error:
            if self._first_ns is None:
                self.passed_over[error.stream] += 1
                return None
            raise DataError(f"{self._at(tick_ns)}: {error.message}", error.remedy) from error
        except StreamError as error:
            raise DataError(f"{self._at(tick_ns)}: {error.message}", error.remedy) from error
        if self._first_ns is None:
            self._first_ns = tick_ns
        return Row(observation, *label)

    def _label(self, tick_ns: int, observation: Observation) -> tuple[NDArray[np.float32], int, bool] | None:
        if self._from_state:
            return observation.state[-1], observation.ages_ns["joints"], False
        command = self._commands.at_or_before(tick_ns)
        if command is None:
            return None
        target = command_positions(command.raw, self._embodiment.command_names).astype(np.float32)
        return target, tick_ns - command.stamp_ns, is_intervention(command.raw)

    def _nothing(self) -> DataError:
        absent = [key for key in self._allowances if key not in self._first_stamps]
        if absent:
            return DataError(
                f"no tick has both an observation and a command: nothing from {', '.join(absent)}",
                "record it, or correct its topic in the embodiment",
            )
        zero_ns = min(self._first_stamps.values())
        spans = ", ".join(
            f"{key} {(first_ns - zero_ns) / 1e9:.2f} to {(self._last_stamps[key] - zero_ns) / 1e9:.2f} s"
            for key, first_ns in self._first_stamps.items()
        )
        return DataError(
            f"no tick has both an observation and a command: the streams never overlap ({spans})",
            "let all publishers stamp by one clock, or use --receive-time",
        )

    def _check_no_pause(self, stamp_ns: int) -> None:
        last_ns = self._commands.newest_ns
        if last_ns is not None and self._tick_ns is not None and stamp_ns - last_ns > PATIENCE_NS:
            raise DataError(
                f"{self._at(last_ns)}: no command for {(stamp_ns - last_ns) / 1e9:.2f} s: nobody drove the arm, and the episode went on",
                "stop the episode when the commander is disengaged",
            )

    def _at(self, ns: int) -> str:
        return f"{(ns - (self._first_ns if self._first_ns is not None else ns)) / 1e9:.2f} s after the first tick"
