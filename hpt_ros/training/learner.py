"""The optimisation itself: one step, one validation."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from hpt_ros.errors import HptRosError
from hpt_ros.model import HPTPolicy
from hpt_ros.training.config import FinetuneConfig
from hpt_ros.training.windows import Windows, shuffled


class DivergedError(HptRosError):
    """Training produced a loss or a gradient that is not finite."""

    exit_code = 9


class Learner:
    """A policy, its optimiser and the order of its batches. The policy's device is where training runs."""

    def __init__(self, config: FinetuneConfig, policy: HPTPolicy, windows: Windows, seed: int) -> None:
        self._config, self._policy, self._windows = config, policy, windows
        self._device = next(policy.parameters()).device
        self._batches = shuffled(len(windows), config.batch_size, seed)
        self._parameters = [p for p in policy.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=config.optimizer.weight_decay)
        self.steps_done = 0

    def step(self) -> float:
        """One update; the loss before it, in normalised units.

        Raises:
            DivergedError: loss or gradient is not finite; the policy is left as it was before this step.
        """
        self._policy.train()
        loss = self._policy.loss(self._windows.batch(next(self._batches)).to(self._device))
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._config.optimizer.grad_clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise DivergedError(
                f"step {self.steps_done + 1}: loss {loss.item()}, gradient norm {norm.item()}",
                "lower optimizer.lr or lengthen optimizer.warmup_steps; look for outliers in the demonstrations",
            )
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr
        self._optimizer.step()
        self.steps_done += 1
        return loss.item()

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return learning_rate(self._config, self.steps_done)

    @torch.no_grad()
    def validate(self, windows: Windows) -> float:
        """Loss in evaluation mode over at most `validation.max_windows` windows, evenly spread."""
        self._policy.eval()
        count = min(len(windows), self._config.validation.max_windows)
        chosen = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
        total, rows = 0.0, 0
        for start in range(0, count, self._config.batch_size):
            batch = windows.batch(chosen[start : start + self._config.batch_size]).to(self._device)
            valid = int(batch.valid.sum()) if batch.valid is not None else 0
            total, rows = total + self._policy.loss(batch).item() * valid, rows + valid
        return total / max(rows, 1)


def learning_rate(config: FinetuneConfig, step: int) -> float:
    """Rate of step 0, 1, ...: linear warm-up, then a cosine that would reach zero after the last step."""
    optimizer = config.optimizer
    if step < optimizer.warmup_steps:
        return optimizer.lr * (step + 1) / optimizer.warmup_steps
    progress = (step - optimizer.warmup_steps) / max(config.steps - optimizer.warmup_steps, 1)
    return optimizer.lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
