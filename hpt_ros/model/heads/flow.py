"""Flow matching (arXiv 2210.02747) as a head: straight lines from noise to actions."""

from __future__ import annotations

from functools import partial

import torch
from torch import Generator, Tensor

from hpt_ros.model.heads.base import HeadFacts
from hpt_ros.model.heads.denoising import DenoisingHead
from hpt_ros.model.heads.guidance import Prefix, guided

STEP_SCALE = 100.0  # the network's step embedding tells whole numbers apart, not fractions
NOISE_EXPONENT = 2 / 3  # u ** (2 / 3) is Beta(1.5, 1): more noise more often, as in pi0 (arXiv 2410.24164, appendix B)


class FlowHead(DenoisingHead):
    """With a share s of noise the chunk is s * noise + (1 - s) * action; the network estimates its change with s.

    Sampling follows that from s = 1 to 0 in Euler steps of equal length.
    """

    @property
    def facts(self) -> HeadFacts:
        return HeadFacts(
            "mean squared error of the velocity",
            self.steps,
            True,
            "same generator, same chunk; clipped at the end",
            "demonstrations go several ways; needs no further package",
            resumes=True,
        )

    def corrupt(self, action: Tensor, noise: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        uniform = torch.rand(len(action), generator=generator, device=action.device, dtype=action.dtype)
        share = uniform**NOISE_EXPONENT
        return torch.lerp(action, noise, share[:, None, None]), share * STEP_SCALE, noise - action

    def denoise(self, noise: Tensor, context: Tensor, prefix: Prefix | None = None) -> Tensor:
        chunk = noise
        for done in range(self.steps):
            share = 1 - done / self.steps
            if prefix is None:
                change = self._velocity(chunk, share, context)
            else:
                estimate = guided(partial(self._estimate, share, context), chunk, share, prefix)
                change = (chunk - estimate) / share
            chunk = chunk - change / self.steps
        return chunk.clamp(-1, 1)

    def _velocity(self, noisy: Tensor, share: float, context: Tensor) -> Tensor:
        velocity: Tensor = self.model(noisy, noisy.new_full((len(noisy),), share * STEP_SCALE), context)
        return velocity

    def _estimate(self, share: float, context: Tensor, noisy: Tensor) -> Tensor:
        """Of the chunk without noise."""
        return noisy - share * self._velocity(noisy, share, context)
