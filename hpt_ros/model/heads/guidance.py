"""Chunks that go on from the motion under way (real-time chunking, arXiv 2506.07339), for heads that undo noise.

Rows that the arm will have executed before the chunk arrives are given; those after them are given less and less firmly. At
each step of the denoising the network's estimate of the clean chunk is compared with them, and the noisy chunk is moved along the
gradient that brings the estimate there (section 3.2; algorithm: pseudo-inverse guidance). Overwriting the given rows instead, as in
in-painting, leaves the others to their own noise: on two-mode tasks the chunk then changes sides within itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

STRONGEST = 5.0  # the paper's bound (its beta) for a few denoising steps; without it the first steps overshoot


@dataclass(frozen=True)
class Prefix:
    """What a chunk goes on from: normalised actions (rows, A), and how firmly each row is given (rows,), 1 to 0 (free)."""

    action: Tensor
    weight: Tensor


def guided(estimate_of: Callable[[Tensor], Tensor], noisy: Tensor, share: float, prefix: Prefix) -> Tensor:
    """The estimate of the clean chunk (N, rows, A), pulled towards the prefix; without a gradient.

    Args:
        estimate_of: noisy chunk -> estimate of the clean one, differentiable.
        noisy: `share * noise + (1 - share) * chunk` (N, rows, A).
        share: of the noise, 1 at the begin; not 0.
    """
    with torch.inference_mode(False), torch.enable_grad():
        noisy = noisy.detach().clone().requires_grad_()
        estimate = estimate_of(noisy)
        missing = (prefix.action - estimate.detach()) * prefix.weight[:, None]
        (pull,) = torch.autograd.grad(estimate, noisy, missing)
        return estimate.detach() + _strength(share) * pull


def _strength(share: float) -> float:
    """Of the pull on the estimate: the paper's weight of the velocity, times the share that a velocity moves the estimate by."""
    clean = 1 - share
    return min(STRONGEST * share, (clean**2 + share**2) / clean) if clean else STRONGEST
