"""What diffusion and flow matching share: a network that learns to undo noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from hpt_ros.model.heads.base import Head, hold_last_valid, mean_over_valid
from hpt_ros.model.heads.guidance import Prefix
from hpt_ros.model.heads.unet import ConditionalUnet

EVALUATION_SEED = 0


class DenoisingHead(Head):
    """Vector (N, D) -> chunk, from noise in `steps` calls of the network. Different noise, different chunk.

    In evaluation mode the loss takes the same noise each time, so that validations of a run compare.
    """

    def __init__(self, input_dim: int, action_dim: int, rows: int, down_dims: Sequence[int], steps: int) -> None:
        super().__init__()
        self.shape, self.steps = (rows, action_dim), steps
        self.model = ConditionalUnet(action_dim, input_dim, down_dims)

    @abstractmethod
    def corrupt(self, action: Tensor, noise: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """At a random step for each chunk: the noisy chunk, the step (N,) as the network reads it, what to estimate."""

    @abstractmethod
    def denoise(self, noise: Tensor, context: Tensor, prefix: Prefix | None = None) -> Tensor:
        """Chunk from noise of its shape, going on from the prefix if there is one."""

    def loss(self, context: Tensor, action: Tensor, valid: Tensor) -> Tensor:
        generator = None if self.training else Generator(action.device).manual_seed(EVALUATION_SEED)
        action = hold_last_valid(action, valid)
        noise = torch.randn(action.shape, generator=generator, device=action.device, dtype=action.dtype)
        noisy, step, wanted = self.corrupt(action, noise, generator)
        error = (self.model(noisy, step, context) - wanted).square().mean(dim=-1)
        return mean_over_valid(error, valid)

    def sample(self, context: Tensor, generator: Generator | None = None) -> Tensor:
        return self.denoise(self._noise(context, generator), context)

    def resume(self, context: Tensor, prefix: Prefix, generator: Generator | None = None) -> Tensor:
        """One chunk for each context that goes on from the prefix; costs about twice what `sample` does."""
        with torch.inference_mode(False):  # what was computed in it cannot be differentiated
            return self.denoise(self._noise(context, generator), context.clone(), prefix)

    def _noise(self, context: Tensor, generator: Generator | None) -> Tensor:
        shape = (len(context), *self.shape)
        return torch.randn(shape, generator=generator, device=context.device, dtype=context.dtype)
