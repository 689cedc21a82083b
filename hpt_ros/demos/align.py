"""Messages of one episode -> observation and command at every tick of the policy rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError, StreamError
from hpt_ros.streams import PATIENCE_NS, Observation, Observer, StaleStreamError, StreamBuffer, header_stamp_ns
from hpt_ros.streams.decode import command_positions

COMMAND_KEY = "command"


@dataclass(frozen=True)
class Row:
    """One tick: the observation (one sample of history) and the command in force, float32 (A,), with its age [ns]."""

    observation: Observation
    command: NDArray[np.float32]
    command_age_ns: int


def align(messages: Iterable[tuple[str, bytes]], embodiment: Embodiment) -> Iterator[Row]:
    """Rows from the first tick at which an observation and a command exist to the last command, one policy period apart.

    `messages`: (stream key, serialized message) in order of receipt; they may arrive up to `PATIENCE_NS` out of order.
    The command in force at a tick is the last one stamped at or before it: the arm follows it until the next replaces it.

    Raises:
        DataError: a stream goes stale, commands pause for longer than `PATIENCE_NS`, a message cannot be used, or there
            is no row at all.
    """
    aligner = _Aligner(embodiment)
    for key, raw in messages:
        yield from aligner.push(key, raw)
    yield from aligner.finish()


class _Aligner:
    """Takes a tick once the stamps are `PATIENCE_NS` past it, so that what arrived late is in its place."""

    def __init__(self, embodiment: Embodiment) -> None:
        one_frame = replace(embodiment.policy, observation_horizon=1)  # history is a matter of neighbouring rows
        self._embodiment = embodiment
        self._observer = Observer(replace(embodiment, policy=one_frame))
        self._commands = StreamBuffer(horizon_ns=3 * PATIENCE_NS)
        self._ready_ns: dict[str, int] = {}  # by stream: from when on a tick finds a sample
        self._allowances = {s.key: s.allowance_ns for s in (*embodiment.streams(), embodiment.command_stream())}
        self._tick_ns: int | None = None
        self._first_ns: int | None = None

    def push(self, key: str, raw: bytes) -> Iterator[Row]:
        try:
            stamp_ns = header_stamp_ns(raw)
        except StreamError as error:
            raise DataError(f"{key}: {error.message}", error.remedy) from error
        yield from self._rows_until(stamp_ns - PATIENCE_NS)
        if key == COMMAND_KEY:
            self._check_no_pause(stamp_ns)
            self._commands.push(raw)
        else:
            self._observer.push(key, raw)
        if key not in self._ready_ns:
            self._ready_ns[key] = stamp_ns + self._allowances[key]
            if len(self._ready_ns) == len(self._allowances):
                self._tick_ns = max(self._ready_ns.values())

    def finish(self) -> Iterator[Row]:
        if self._tick_ns is not None:
            yield from self._rows_until(self._tick_ns + 2**62)
        if self._first_ns is None:
            absent = [key for key in self._allowances if key not in self._ready_ns]
            reason = f"nothing from {', '.join(absent)}" if absent else "the streams never overlap with the commands"
            raise DataError(f"no tick has both an observation and a command: {reason}")

    def _rows_until(self, ns: int) -> Iterator[Row]:
        """Rows of the ticks up to `ns` for which a command exists."""
        while self._tick_ns is not None and self._tick_ns <= min(ns, self._commands.newest_ns or 0):
            row = self._row(self._tick_ns)
            self._tick_ns += self._embodiment.policy.period_ns
            if row is not None:
                yield row

    def _row(self, tick_ns: int) -> Row | None:
        try:
            observation = self._observer.observe(tick_ns)
            command = self._commands.at_or_before(tick_ns)
            if command is None:
                return None
            target = command_positions(command.raw, self._embodiment.action_names).astype(np.float32)
        except StaleStreamError as error:
            if self._first_ns is None:
                return None
            raise DataError(f"{self._at(tick_ns)}: {error.message}", error.remedy) from error
        except StreamError as error:
            raise DataError(f"{self._at(tick_ns)}: {error.message}", error.remedy) from error
        if self._first_ns is None:
            self._first_ns = tick_ns
        return Row(observation, target, tick_ns - command.stamp_ns)

    def _check_no_pause(self, stamp_ns: int) -> None:
        last_ns = self._commands.newest_ns
        if last_ns is not None and self._tick_ns is not None and stamp_ns - last_ns > PATIENCE_NS:
            raise DataError(
                f"{self._at(last_ns)}: no command for {(stamp_ns - last_ns) / 1e9:.2f} s: nobody drove the arm, and the episode went on",
                "stop the episode when the commander is disengaged",
            )

    def _at(self, ns: int) -> str:
        return f"{(ns - (self._first_ns if self._first_ns is not None else ns)) / 1e9:.2f} s after the first tick"
