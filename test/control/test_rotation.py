"""Each form of a rotation turns vectors alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.control.rotation import matrix_of_quaternion, matrix_of_vector, quaternion_of_matrix

vectors = st.tuples(*[st.floats(-6, 6)] * 3).map(np.array)


@given(vectors)
def test_quaternion_and_matrix_are_inverse(vector_rad: np.ndarray) -> None:
    rotation = matrix_of_vector(vector_rad)
    quaternion = quaternion_of_matrix(rotation)
    assert quaternion[0] >= 0
    np.testing.assert_allclose(matrix_of_quaternion(quaternion), rotation, atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


@given(vectors)
def test_a_rotation_vector_stays_where_it_is(vector_rad: np.ndarray) -> None:
    np.testing.assert_allclose(matrix_of_vector(vector_rad) @ vector_rad, vector_rad, atol=1e-9)


def test_quarter_turn_about_z_takes_x_to_y() -> None:
    np.testing.assert_allclose(matrix_of_vector(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(quaternion_of_matrix(np.diag([1.0, -1.0, -1.0])), [0, 1, 0, 0], atol=1e-12)
