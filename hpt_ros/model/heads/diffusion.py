"""Diffusion Policy (arXiv 2303.04137) as a head, with the schedule of the published HPT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from hpt_ros.errors import MissingDependencyError
from hpt_ros.model.heads.base import HeadFacts
from hpt_ros.model.heads.denoising import DenoisingHead
from hpt_ros.model.heads.guidance import Prefix, guided


class DiffusionHead(DenoisingHead):
    """The network estimates the noise; DDIM (arXiv 2010.02502) removes it in `steps` of the `train_steps`.

    Raises:
        MissingDependencyError: diffusers is not installed.
    """

    def __init__(
        self, input_dim: int, action_dim: int, rows: int, down_dims: Sequence[int], steps: int, train_steps: int
    ) -> None:
        super().__init__(input_dim, action_dim, rows, down_dims, steps)
        self.train_steps = train_steps
        self.scheduler = ddim_scheduler(train_steps)

    @property
    def facts(self) -> HeadFacts:
        return HeadFacts(
            "mean squared error of the noise",
            self.steps,
            True,
            "same generator, same chunk; every estimate of the chunk is clipped",
            "demonstrations go several ways; published checkpoints with this head",
            resumes=True,
        )

    def corrupt(self, action: Tensor, noise: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        step = torch.randint(0, self.train_steps, (len(action),), generator=generator, device=action.device)
        return self.scheduler.add_noise(action, noise, step), step, noise

    def denoise(self, noise: Tensor, context: Tensor, prefix: Prefix | None = None) -> Tensor:
        self.scheduler.set_timesteps(self.steps, device=noise.device)
        chunk = noise
        for step in self.scheduler.timesteps:
            if prefix is None:
                estimate = self.model(chunk, step.expand(len(chunk)), context)
            else:
                estimate = self._guided_noise(chunk, step, context, prefix)
            chunk = self.scheduler.step(estimate, step, chunk).prev_sample
        return chunk

    def _guided_noise(self, chunk: Tensor, step: Tensor, context: Tensor, prefix: Prefix) -> Tensor:
        """The noise in a chunk, given the prefix: `chunk = signal * clean + noise_scale * noise` as a share of both."""
        kept = float(self.scheduler.alphas_cumprod[step])
        signal, noise_scale = math.sqrt(kept), math.sqrt(1 - kept)
        total = signal + noise_scale

        def clean(mixed: Tensor) -> Tensor:
            noise: Tensor = self.model(mixed * total, step.expand(len(mixed)), context)
            return (mixed * total - noise_scale * noise) / signal

        estimate = guided(clean, chunk / total, noise_scale / total, prefix).clamp(-1, 1)
        return (chunk - signal * estimate) / noise_scale


def ddim_scheduler(train_steps: int) -> Any:
    """The published schedule; its last step gives the clipped estimate itself, so chunks end inside [-1, 1].

    Raises:
        MissingDependencyError: diffusers is not installed.
    """
    try:
        from diffusers import DDIMScheduler
    except ImportError as error:
        raise MissingDependencyError(
            "the diffusion head needs diffusers", "pip install 'diffusers>=0.35,<1', or choose head.kind flow"
        ) from error
    return DDIMScheduler(  # type: ignore[no-untyped-call]
        num_train_timesteps=train_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="epsilon",
        clip_sample=True,
        set_alpha_to_one=True,
        steps_offset=0,
    )
