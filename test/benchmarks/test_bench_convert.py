"""The converter's benchmark: its recordings convert, both sides do the same work, its figures add up."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.benchmarks import convert as bench
from hpt_ros.benchmarks.convert_load import embodiment, record
from hpt_ros.benchmarks.convert_reference import convert_naively
from hpt_ros.demos import Demos, convert


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_both_sides_do_the_same_work(tmp_path, transport) -> None:
    robot = embodiment(transport)
    one, two = record(tmp_path / "bags", robot, 0.8, 2)
    assert (one / "1.mcap").stat().st_ino == (two / "1.mcap").stat().st_ino
    report = convert([one, two], None, tmp_path / "demos")
    demos = Demos.open(tmp_path / "demos")
    assert report.sync["joints"]["rate_hz"] == pytest.approx(1000, rel=0.01)
    ticks = convert_naively(one, robot, tmp_path / "naive")
    assert abs(ticks - len(demos) // 2) <= 2
    frames = np.load(tmp_path / "naive" / "2.npy")
    assert any(np.array_equal(demos.images["front"][2], frame) for frame in frames)


def test_figures_and_goals(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "QUICK_S", 0.8)
    monkeypatch.chdir(tmp_path)
    report = bench.run(True, lambda _: None)
    assert list(tmp_path.iterdir()) == []
    ours = [row for row in report.rows if row["what"] == "this package"]
    assert [row["transport"] for row in ours] == ["compressed", "raw"]
    for row in ours:
        assert row["times_real_time"] == pytest.approx(4 * 0.8 / row["seconds"], rel=0.1, abs=0.051)  # one decimal
    assert len(report.goals) == 6
    naive = next(row for row in report.rows if row["what"] == "naive")
    per_core = report.ratios["compressed: this package / naive, MB per second of one core"]
    assert per_core == pytest.approx(4 * naive["cpu_s"] / ours[0]["cpu_s"], rel=0.05)
    peaks = [row["peak_mb"] for row in report.rows if "peak_mb" in row]
    assert len(peaks) == 4
    assert min(peaks) > 20
