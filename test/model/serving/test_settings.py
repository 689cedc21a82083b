"""Options and threads."""

from __future__ import annotations

import logging

import pytest
import torch

from hpt_ros.errors import ConfigError
from hpt_ros.model.serving import ServingOptions, candidates, fastest, threads, warn_if_waiting_burns


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"device": "tpu"}, "device"),
        ({"dtype": "float16"}, "dtype"),
        ({"quantize": "int4"}, "quantize"),
        ({"quantize": "int8", "dtype": "bfloat16"}, "quantize"),
        ({"quantize": "int8", "compile": True}, "quantize"),
    ],
)
def test_options_that_do_not_exist_or_do_not_go_together_are_refused(options: dict[str, object], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        ServingOptions(**options)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="device"):
        ServingOptions(device="cuda")


def test_more_threads_are_taken_only_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, used, cost_s = [0.0], [1], {1: 1.0, 2: 0.9, 4: 0.5}
    monkeypatch.setattr(torch, "set_num_threads", lambda count: used.__setitem__(0, count))
    monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])

    def run() -> None:
        clock[0] += cost_s[used[0]]

    assert fastest([1, 2], run) == 1
    assert fastest([1, 2, 4], run) == 4
    assert fastest([3], run) == 3


def test_threads_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    assert candidates(1) == [1]
    assert candidates(6) == [1, 6]
    for cores, expected in ((1, [1]), (2, [1, 2]), (6, [1, 2, 4]), (8, [1, 2, 4, 8])):
        monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        assert candidates(None) == expected


def test_spinning_threads_are_warned_about(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    for policy, warned in (("passive", False), ("PASSIVE", False), ("active", True)):
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            warn_if_waiting_burns()
        assert ("OMP_WAIT_POLICY=passive" in caplog.text) == warned
