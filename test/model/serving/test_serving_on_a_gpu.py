"""Serving on a GPU: the chunk of a CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hpt_ros.embodiment import Embodiment
from hpt_ros.model import Batch, Checkpoint, HPTPolicy, PolicyRunner

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")


@pytest.mark.parametrize(
    ("options", "apart"),
    [({}, 2e-3), ({"dtype": "bfloat16"}, 3e-2), ({"compile": True}, 2e-3)],
    ids=["float32", "bfloat16", "compiled"],
)
def test_chunk_is_that_of_a_cpu(
    policy: HPTPolicy, embodiment: Embodiment, batch: Batch, options: dict[str, Any], apart: float
) -> None:
    seen = SimpleNamespace(
        state=batch.state[0].numpy(), images={name: pixels[0].numpy() for name, pixels in batch.images.items()}
    )
    expected = PolicyRunner(Checkpoint(policy, embodiment, {})).act(seen)
    runner = PolicyRunner(Checkpoint(policy, embodiment, {}), device="cuda", **options)
    for _ in range(3):  # the later ones are replays of a graph
        np.testing.assert_allclose(runner.act(seen), expected, atol=apart)
