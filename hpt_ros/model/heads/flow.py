"""Flow matching (arXiv 2210.02747) as a head: straight lines from noise to actions."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from hpt_ros.model.heads.base import HeadFacts
from hpt_ros.model.heads.denoising import DenoisingHead

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
        )

    def corrupt(self, action: Tensor, noise: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        uniform = torch.rand(len(action), generator=generator, device=action.device, dtype=action.dtype)
        share = uniform**NOISE_EXPONENT
        return torch.lerp(action, noise, share[:, None, None]), share * STEP_SCALE, noise - action

    def denoise(self, noise: Tensor, context: Tensor) -> Tensor:
        chunk = noise
        for done in range(self.steps):
            share = noise.new_full((len(noise),), (1 - done / self.steps) * STEP_SCALE)
            chunk = chunk - self.model(chunk, share, context) / self.steps
        return chunk.clamp(-1, 1)
