"""What a session sounds like: eyes on the arm, ears on the recorder."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpt_ros.recording.operator import Outcome

log = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 22_050
_TONE_S = 0.12
_FADE_S = 0.01  # at both ends of a tone, so that it does not click
_AMPLITUDE = 0.4
_PLAYERS = (("pw-play",), ("paplay",), ("aplay", "-q"))
_SPEAKERS = (("spd-say",), ("espeak-ng",), ("espeak",))


class CueKind(str, Enum):
    """How transitions are made audible."""

    NONE = "none"
    TONE = "tone"
    VOICE = "voice"


@dataclass(frozen=True)
class Cue:
    """What is said, and the tones that stand for it [Hz]: rising is good, falling is not."""

    text: str
    tones_hz: tuple[float, ...]


CUES: Mapping[Outcome, Cue] = {
    Outcome.STARTED: Cue("recording", (880.0,)),
    Outcome.SAVED: Cue("saved", (660.0, 880.0)),
    Outcome.SAVED_PARTIAL: Cue("saved, partly", (660.0, 660.0)),
    Outcome.SAVED_FAIL: Cue("saved, failed", (660.0, 550.0)),
    Outcome.DISCARDED: Cue("discarded", (440.0, 330.0)),
    Outcome.UNDONE: Cue("undone", (440.0, 330.0, 440.0)),
    Outcome.REFUSED: Cue("refused", (220.0, 220.0)),
    Outcome.LOST: Cue("not saved", (220.0, 165.0)),
    Outcome.ERROR: Cue("recorder error", (220.0, 220.0, 220.0, 220.0)),
    Outcome.PAUSED: Cue("paused", (550.0,)),
    Outcome.RESUMED: Cue("go on", (660.0,)),
    Outcome.ASKED: Cue("really quit?", (440.0, 440.0)),
    Outcome.COMPLETE: Cue("all episodes are recorded", (660.0, 880.0, 1100.0)),
    Outcome.WARNING: Cue("warning", (330.0, 330.0)),
}


def tone(tones_hz: tuple[float, ...]) -> NDArray[np.int16]:
    """Sine tones one after the other, mono, int16 at SAMPLE_RATE_HZ."""
    time_s = np.arange(round(_TONE_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    envelope = np.clip(np.minimum(time_s, _TONE_S - time_s) / _FADE_S, 0.0, 1.0)
    waves = [envelope * np.sin(2.0 * np.pi * frequency * time_s) for frequency in tones_hz]
    return (np.concatenate(waves) * _AMPLITUDE * np.iinfo(np.int16).max).astype(np.int16)


class Cues:
    """Plays the cue of an outcome without waiting for it; a context manager.

    A tone needs a player, a voice a speech program. Without one, over SSH (whose other end has the loudspeaker) and
    after one has failed, the terminal's bell stands in, with one warning.

    Args:
        bell: rings the terminal.
    """

    def __init__(self, kind: CueKind, bell: Callable[[], object]) -> None:
        self._kind = kind
        self._bell = bell
        self._command = _command(kind)
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cues:
        self._folder = tempfile.TemporaryDirectory(prefix="hpt_ros_cues_")
        if self._kind is not CueKind.NONE and not self._command:
            self._fall_back("over SSH" if "SSH_CONNECTION" in os.environ else "no program to play them was found")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
            process.wait()
        self._folder.cleanup()

    def play(self, outcome: Outcome) -> None:
        """Begin to play; returns at once."""
        if self._kind is CueKind.NONE:
            return
        self._reap()
        if not self._command:
            self._bell()
            return
        cue = CUES[outcome]
        argument = cue.text if self._kind is CueKind.VOICE else str(self._file(outcome, cue))
        try:
            self._running.append(
                subprocess.Popen(
                    [*self._command, argument],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        except OSError as error:
            self._fall_back(str(error))
            self._bell()

    def _reap(self) -> None:
        codes = [process.poll() for process in self._running]
        self._running = [p for p, code in zip(self._running, codes, strict=True) if code is None]
        if failed := [code for code in codes if code]:
            self._fall_back(f"{self._command[0]} ended with code {failed[0]}")

    def _fall_back(self, why: str) -> None:
        log.warning("cues: the terminal's bell instead of %s: %s", self._kind.value, why)
        self._command = ()

    def _file(self, outcome: Outcome, cue: Cue) -> Path:
        path = Path(self._folder.name) / f"{outcome.name.lower()}.wav"
        if not path.exists():
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(SAMPLE_RATE_HZ)
                file.writeframes(tone(cue.tones_hz).tobytes())
        return path


def _command(kind: CueKind) -> tuple[str, ...]:
    """The first program that is installed; empty: none, or the loudspeaker is at the other end of an SSH connection."""
    if kind is CueKind.NONE or "SSH_CONNECTION" in os.environ:
        return ()
    candidates = _SPEAKERS if kind is CueKind.VOICE else _PLAYERS
    return next((command for command in candidates if shutil.which(command[0])), ())
