"""Statistics against numpy over all the values at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.demos.lerobot_stats import ImageStats, vector_stats

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def _frames(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.integers(0, 256, 2))
    return rng.integers(low, high + 1, (count, 5, 4, 3), dtype=np.uint8)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_counting_levels_gives_the_figures_of_all_pixels(seed: int, first: int, second: int) -> None:
    parts = [_frames(seed, first), _frames(seed + 1, second)]
    total = ImageStats()
    for part in parts:
        stats = ImageStats()
        for frame in part:
            stats.add(frame)
        total.merge(stats)
    found = total.to_stats()
    pixels = np.concatenate(parts).reshape(-1, 3) / 255
    expected = {"min": pixels.min(0), "max": pixels.max(0), "mean": pixels.mean(0), "std": pixels.std(0)}
    for name, quantile in QUANTILES.items():
        expected[name] = np.quantile(pixels, quantile, axis=0, method="inverted_cdf")
    for name, values in expected.items():
        assert np.shape(found[name]) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(found[name]), values, atol=1 / 255 if name.startswith("q") else 1e-9)
    assert found["count"] == [first + second]


def test_vectors_are_described_by_column() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = vector_stats(rows)
    np.testing.assert_allclose(found["mean"], rows.mean(0, dtype=np.float64))
    np.testing.assert_allclose(found["std"], rows.std(0, dtype=np.float64))
    np.testing.assert_allclose(found["q90"], np.quantile(rows.astype(np.float64), 0.9, axis=0))
    assert found["count"] == [50]
    assert vector_stats(np.arange(5))["max"] == [4.0]
