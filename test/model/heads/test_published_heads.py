"""Agreement with the published code's heads: its outputs for random weights (test/fixtures).

Width 32, 7 values x 4 rows; down_dims (8, 16), 3 modes, hidden layers of 16, otherwise as published. The weights have
the names of published files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hpt_ros.model.heads import DiffusionHead, GMMHead, Head
from hpt_ros.model.weights import load_exactly

FIXTURE = Path(__file__).parents[2] / "fixtures" / "hpt_reference_heads.npz"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(FIXTURE) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def loaded(head: Head, reference: dict[str, Tensor], prefix: str) -> None:
    load_exactly(head, {n.removeprefix(prefix): t for n, t in reference.items() if n.startswith(prefix)}, FIXTURE)


def diffusion(reference: dict[str, Tensor], steps: int) -> DiffusionHead:
    head = DiffusionHead(32, 7, 4, (8, 16), steps, train_steps=100).eval()
    loaded(head, reference, "weights/")
    return head


def test_noise_is_added_and_estimated_as_published(reference: dict[str, Tensor]) -> None:
    head, steps = diffusion(reference, steps=10), reference["input/steps"]
    noisy = head.scheduler.add_noise(reference["input/action"], reference["input/noise"], steps)
    torch.testing.assert_close(noisy, reference["output/noisy"], rtol=0, atol=TOLERANCE)
    with torch.no_grad():
        estimate = head.model(noisy, steps, reference["input/context"])
    torch.testing.assert_close(estimate, reference["output/unet"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("steps", "tolerance"),
    [(10, TOLERANCE), (100, 1e-3)],  # the first of 100 steps divides rounding errors by 5e-4
)
def test_chunk_from_the_same_noise_is_the_published_one(
    steps: int, tolerance: float, reference: dict[str, Tensor]
) -> None:
    with torch.no_grad():
        chunk = diffusion(reference, steps).denoise(reference["input/noise"], reference["input/context"])
    torch.testing.assert_close(chunk, reference[f"output/chunk_{steps}"], rtol=0, atol=tolerance)


def test_mixture_and_its_likelihood_are_the_published_ones(reference: dict[str, Tensor]) -> None:
    head, action = GMMHead(32, (16, 16, 16), 7, 4, modes=3, min_std=1e-4).eval(), reference["input/action"]
    loaded(head, reference, "gmm/")
    with torch.no_grad():
        mean, _, log_weight = head.mixture(reference["input/context"])
        loss = head.loss(reference["input/context"], action, torch.ones(action.shape[:2], dtype=torch.bool))
    torch.testing.assert_close(mean.flatten(2), reference["output/gmm_means"], rtol=0, atol=TOLERANCE)
    published = reference["output/gmm_logits"].log_softmax(dim=-1)
    torch.testing.assert_close(log_weight, published, rtol=0, atol=TOLERANCE)
    per_value = reference["output/gmm_loss"] / action[0].numel()
    torch.testing.assert_close(loss, per_value, rtol=0, atol=TOLERANCE)
