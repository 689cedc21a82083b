from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from hpt_ros.errors import DataError
from hpt_ros.model.normalizer import SMALLEST_RANGE, Scaling

rows = arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=st.floats(-10, 10, width=32))


def fitted(values: NDArray[np.float32]) -> Scaling:
    scaling = Scaling(values.shape[1])
    scaling.fit(values)
    return scaling


@given(rows)
def test_seen_values_map_into_the_unit_box_and_back(values: NDArray[np.float32]) -> None:
    scaling, physical = fitted(values), torch.from_numpy(values)
    normalised = scaling.normalize(physical)
    wide = torch.from_numpy(np.ptp(values.astype(np.float64), axis=0) >= SMALLEST_RANGE)
    # float32 keeps 1e-7 of the offset, which is 10 / range at worst
    assert (normalised[:, wide].abs() <= 1 + 1e-1).all()
    torch.testing.assert_close(scaling.unnormalize(normalised), physical, rtol=0, atol=1e-4)


def test_ends_of_the_range_map_to_plus_and_minus_one() -> None:
    scaling = fitted(np.array([[0.2, -3.0], [0.4, 5.0]], np.float32))
    torch.testing.assert_close(
        scaling.normalize(torch.tensor([[0.2, 5.0], [0.4, -3.0]])), torch.tensor([[-1.0, 1.0], [1.0, -1.0]])
    )


def test_dimension_that_hardly_moves_is_shifted_not_scaled() -> None:
    scaling = fitted(np.array([[0.08, 0.0], [0.08 + 5e-5, 1.0]], np.float32))
    assert scaling.scale[0] == 1
    assert scaling.normalize(torch.tensor([0.09, 0.0]))[0] == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize("values", [np.empty((0, 3)), np.array([[0.0, np.nan, 1.0]]), np.array([[np.inf, 0.0, 1.0]])])
def test_nothing_or_not_finite_is_refused(values: NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match="cannot normalise"):
        Scaling(3).fit(values)
