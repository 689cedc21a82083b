"""Gaussian mixture over whole chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from hpt_ros.model.heads.base import Head, HeadFacts


class GMMHead(Head):
    """Vector (N, D) -> `modes` chunks with a weight and a deviation for each value. Tensors have the published names.

    The published code acts with the mean over the modes, which is none of them; this one takes the likeliest mode, or
    with `draw` a random chunk. Likelihoods are float32 whatever the network's type; `min_std` keeps them finite.
    """

    def __init__(
        self,
        input_dim: int,
        widths: Sequence[int],
        action_dim: int,
        rows: int,
        modes: int,
        min_std: float,
        *,
        draw: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.min_std, self.draw = (modes, rows, action_dim), min_std, draw
        layers: list[nn.Module] = [nn.Linear(input_dim, widths[0])]
        for before, after in pairwise(widths):
            layers += [nn.ReLU(), nn.Linear(before, after)]
        self.share = nn.Sequential(*layers)
        self.mean_layer = nn.Linear(widths[-1], math.prod(self.shape))
        self.logstd_layer = nn.Linear(widths[-1], math.prod(self.shape))
        self.logits_layer = nn.Linear(widths[-1], modes)

    @property
    def facts(self) -> HeadFacts:
        acts = "a random chunk of the mixture, same generator, same chunk" if self.draw else "the likeliest mode's mean"
        return HeadFacts(
            "negative log-likelihood per value",
            1,
            True,
            f"{acts}; at most {self.shape[0]} ways",
            "demonstrations go a few distinct ways and time is short",
        )

    def loss(self, context: Tensor, action: Tensor, valid: Tensor) -> Tensor:
        mean, std, log_weight = self.mixture(context)
        distance = (action.float().unsqueeze(1) - mean) / std
        log_density = -0.5 * distance.square() - std.log() - 0.5 * math.log(2 * math.pi)
        of_chunk = (log_density * valid[:, None, :, None]).sum(dim=(2, 3))
        likelihood = torch.logsumexp(log_weight + of_chunk, dim=1)
        return -likelihood.sum() / (valid.sum() * action.shape[-1]).clamp(min=1)

    def sample(self, context: Tensor, generator: Generator | None = None) -> Tensor:
        mean, std, log_weight = self.mixture(context)
        if not self.draw:
            return _of_mode(mean, log_weight.argmax(dim=1)).to(context.dtype)
        mode = torch.multinomial(log_weight.exp(), 1, generator=generator)[:, 0]
        center, spread = _of_mode(mean, mode), _of_mode(std, mode)
        noise = torch.randn(center.shape, generator=generator, device=center.device)
        return (center + spread * noise).clamp(-1, 1).to(context.dtype)

    def mixture(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means and deviations (N, modes, rows, A), log weights (N, modes)."""
        shared = self.share(context)
        mean = self.mean_layer(shared).float().tanh().view(-1, *self.shape)
        std = F.softplus(self.logstd_layer(shared).float()).view(-1, *self.shape) + self.min_std
        return mean, std, self.logits_layer(shared).float().log_softmax(dim=-1)


def _of_mode(values: Tensor, mode: Tensor) -> Tensor:
    return values[torch.arange(len(mode), device=mode.device), mode]
