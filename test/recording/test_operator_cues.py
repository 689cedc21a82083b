"""Cues: every outcome has one, nothing waits for it, and a missing player is no error."""

from __future__ import annotations

import logging
import os
import stat
import time
import wave

import numpy as np
import pytest

from hpt_ros.recording.cues import CUES, SAMPLE_RATE_HZ, CueKind, Cues, tone
from hpt_ros.recording.operator import Outcome


@pytest.fixture(autouse=True)
def programs(tmp_path, monkeypatch):
    """PATH is one folder; programs(NAME, SCRIPT) puts a program into it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)

    def add(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(folder / name, stat.S_IRWXU)

    return add


def wait_for(path) -> str:
    deadline = time.monotonic() + 20.0
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path.read_text()


def test_every_outcome_has_a_cue_of_its_own() -> None:
    assert set(CUES) == set(Outcome)
    assert len({cue.tones_hz for cue in CUES.values()}) == len(CUES)
    assert len({cue.text for cue in CUES.values()}) == len(CUES)


def test_a_tone_has_its_pitch_and_begins_and_ends_in_silence() -> None:
    samples = tone((880.0,))
    spectrum = np.abs(np.fft.rfft(samples))
    assert abs(spectrum.argmax() * SAMPLE_RATE_HZ / len(samples) - 880.0) < SAMPLE_RATE_HZ / len(samples)
    assert samples[0] == 0
    assert abs(int(samples[-1])) < 500
    assert np.abs(samples).max() > 10_000


def test_a_tone_is_played_by_the_first_player_that_is_there(programs, tmp_path) -> None:
    programs("aplay", f"/bin/cp $2 {tmp_path}/played.part; /bin/mv {tmp_path}/played.part {tmp_path}/played.wav")
    bells: list[int] = []
    with Cues(CueKind.TONE, lambda: bells.append(1)) as cues:
        cues.play(Outcome.STARTED)
        deadline = time.monotonic() + 20.0
        while not (tmp_path / "played.wav").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with wave.open(str(tmp_path / "played.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, SAMPLE_RATE_HZ)
        assert file.readframes(file.getnframes()) == tone(CUES[Outcome.STARTED].tones_hz).tobytes()
    assert not bells


def test_a_voice_says_the_text(programs, tmp_path) -> None:
    programs("espeak", f'printf %s "$1" > {tmp_path}/said.part; /bin/mv {tmp_path}/said.part {tmp_path}/said')
    with Cues(CueKind.VOICE, lambda: None) as cues:
        cues.play(Outcome.SAVED_PARTIAL)
        assert wait_for(tmp_path / "said") == "saved, partly"


def test_without_a_player_the_bell_rings_and_is_announced_once(caplog) -> None:
    bells: list[int] = []
    with caplog.at_level(logging.WARNING), Cues(CueKind.VOICE, lambda: bells.append(1)) as cues:
        cues.play(Outcome.SAVED)
        cues.play(Outcome.STARTED)
    assert len(bells) == 2
    assert len(caplog.records) == 1


def test_a_player_that_fails_is_replaced_by_the_bell(programs, caplog) -> None:
    programs("pw-play", "exit 3")
    bells: list[int] = []
    deadline = time.monotonic() + 20.0
    with caplog.at_level(logging.WARNING), Cues(CueKind.TONE, lambda: bells.append(1)) as cues:
        while not bells:
            assert time.monotonic() < deadline
            cues.play(Outcome.SAVED)
            time.sleep(0.05)
        cues.play(Outcome.SAVED)
    assert [record.getMessage() for record in caplog.records] == [
        "cues: the terminal's bell instead of tone: pw-play ended with code 3"
    ]


def test_over_ssh_the_loudspeaker_of_the_terminal_is_used(programs, monkeypatch) -> None:
    programs("aplay", "exit 0")
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 50000 10.0.0.2 22")
    bells: list[int] = []
    with Cues(CueKind.TONE, lambda: bells.append(1)) as cues:
        cues.play(Outcome.SAVED)
    assert bells


def test_none_is_silent_and_says_nothing(caplog) -> None:
    with caplog.at_level(logging.WARNING), Cues(CueKind.NONE, lambda: pytest.fail("rang")) as cues:
        cues.play(Outcome.ERROR)
    assert not caplog.records
