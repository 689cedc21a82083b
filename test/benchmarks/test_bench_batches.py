"""The benchmark of training batches: every reader reads the same pixels, its figures add up."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.benchmarks import batches as bench


def test_readers_agree_and_rates_follow_from_times(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "QUICK", (1.2, 2))
    monkeypatch.setattr(bench, "BATCH", 4)
    monkeypatch.chdir(tmp_path)
    reads = {}
    measure = bench._measure

    def watched(read, ticks, *sizes):
        reads[len(reads)] = read(np.array([0, 5, 9]))
        return measure(read, ticks, *sizes)

    monkeypatch.setattr(bench, "_measure", watched)
    report = bench.run(True, lambda _: None)
    assert list(tmp_path.iterdir()) == []
    jpeg, decoded, (state, action, *views) = (reads[number] for number in (1, 2, 3))
    for other in (jpeg, decoded):
        np.testing.assert_array_equal(other.state, state)
        np.testing.assert_array_equal(other.action, action)
        for name, view in zip(("front", "wrist"), views, strict=True):
            pixels = view.reshape(3, bench.HORIZON, *view.shape[1:])
            np.testing.assert_array_equal(other.images[name], pixels)
    rows = {row["what"]: row for row in report.rows}
    ratio = report.ratios[f"jpeg files / {bench.BASELINE}, samples/s"]
    assert ratio == pytest.approx(rows["jpeg files"]["samples_per_s"] / rows[bench.BASELINE]["samples_per_s"])
    assert rows["jpeg files, decoded once"]["fill_s"] > 0
