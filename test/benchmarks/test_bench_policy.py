from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hpt_ros.benchmarks import policy, policy_scene, policy_timing
from hpt_ros.benchmarks.policy_reference import PublishedOrder
from hpt_ros.benchmarks.policy_scene import Camera, Stream, checkpoint
from hpt_ros.benchmarks.policy_timing import Stopwatch, busy_process
from hpt_ros.model import Batch, HPTPolicy, PolicyRunner


@pytest.fixture(autouse=True)
def small_views(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pictures small enough for a test."""
    monkeypatch.setattr(policy_scene, "VIEW_PX", (64, 64))
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_published_order_gives_the_numbers_of_this_package(pooling: str) -> None:
    """Same weights, same observation: the policy, the runner and the reference agree."""
    made = checkpoint("small")
    torch.manual_seed(1)
    net = HPTPolicy(replace(made.policy.config, pooling=pooling), made.embodiment).eval()  # type: ignore[arg-type]
    net.normalizer.load_state_dict(made.policy.normalizer.state_dict())
    with torch.no_grad():  # as after training: batch norm and the learnt key and value do something
        for name, tensor in net.state_dict().items():
            if "running_mean" in name or "bias_k" in name or "bias_v" in name:
                tensor.normal_(0, 0.3)
    seen = Stream(made.embodiment).next()[0]
    expected = PublishedOrder(net).act(seen.state, seen.images)
    pixels = {name: torch.from_numpy(frames)[None] for name, frames in seen.images.items()}
    with torch.no_grad():
        plain = net.predict(Batch(torch.from_numpy(seen.state)[None], pixels))[0]
    stats = net.scaling.action.input_stats
    np.testing.assert_allclose(expected, plain.clamp(stats.min, stats.max), rtol=0, atol=1e-4)
    served = PolicyRunner(replace(made, policy=net), threads=1).act(seen)
    np.testing.assert_allclose(served, expected, rtol=0, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01


def test_every_step_brings_one_new_frame_a_camera_decoded_from_its_message() -> None:
    stream = Stream(policy_scene.embodiment())
    before, decode_s = stream.next()
    after, _ = stream.next()
    assert decode_s > 0
    for name, frames in after.images.items():
        assert frames.shape == (2, 64, 64, 3)
        np.testing.assert_array_equal(frames[0], before.images[name][1])
        assert (frames[1] != frames[0]).any()
    assert (Camera(16, 0).frame(0) != Camera(16, 1).frame(0)).any()


def test_stopwatch_tells_phases_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(policy_timing.time, "perf_counter", lambda: clock[0])

    class Takes(nn.Module):
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

        def forward(self) -> None:
            clock[0] += self.seconds

    stems, trunk, head = nn.ModuleList([Takes(1), Takes(2)]), Takes(4), nn.Sequential(Takes(8))
    watch = Stopwatch(stems, trunk, head)

    def act() -> None:
        clock[0] += 16
        for module in (*stems, trunk, *head):
            module()

    watch.step(act, 32.0)
    watch.step(act, 32.0)
    expected = {"decode": 32, "encode": 16, "stem": 3, "trunk": 4, "head": 8, "step": 31}
    assert watch.steps == [expected, expected]
    assert watch.p50_s("step", "decode") == 63
    assert watch.row()["trunk_ms"] == 4000


def test_busy_process_ends_with_its_block() -> None:
    started: list[subprocess.Popen[bytes]] = []
    with pytest.MonkeyPatch.context() as patch:
        make = subprocess.Popen
        patch.setattr(subprocess, "Popen", lambda *args: started.append(make(*args)) or started[-1])
        with busy_process():
            assert started[0].poll() is None
            assert started[0].args[0] == sys.executable  # type: ignore[index]
    assert started[0].poll() is not None


def test_report_has_both_sides_ratios_and_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "JUDGED", "small")
    monkeypatch.setattr(policy, "QUICK_STEPS", 2)
    monkeypatch.setattr(policy, "candidates", lambda _: [1])
    report = policy.run(True, lambda _: None)
    assert {row["what"] for row in report.rows} >= {
        "this package",
        "published order",
        "this package, beside a busy process",
    }
    for row in report.rows[:2]:
        phases = [row[f"{phase}_ms"] for phase in ("decode", "encode", "stem", "trunk", "head")]
        assert min(phases) > 0
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["max_ms"]
    assert set(report.ratios) == {
        "small, 1 threads: published order / this package",
        "small, 1 threads: the same with decoding",
    }
    assert [goal.at_most for goal in report.goals] == [False, True]
