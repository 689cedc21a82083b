"""The optimisation itself: one step, one validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpt_ros.errors import HptRosError
from hpt_ros.model import Batch, HPTPolicy
from hpt_ros.training.ahead import Ahead
from hpt_ros.training.config import FinetuneConfig
from hpt_ros.training.optimization import Optimization, schedule
from hpt_ros.training.order import Order, seed_step
from hpt_ros.training.stopwatch import Stopwatch
from hpt_ros.training.windows import Windows

_SHOWN_WINDOWS = 5
_IMAGES = 1  # tells the random numbers of images from those of the order of the windows


class DivergedError(HptRosError):
    """Training produced a loss or a gradient that is not finite."""

    exit_code = 9


@dataclass(frozen=True)
class Step:
    """One update: loss before it in normalised units, norm of the gradient before clipping, seconds by phase."""

    loss: float
    grad_norm: float
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """Loss in normalised units, and mean absolute error of each action column in its unit, over the valid rows."""

    loss: float
    columns: Mapping[str, float] = field(default_factory=dict)


def _compiled(policy: HPTPolicy, device: torch.device) -> Callable[..., Tensor]:
    """On a GPU replayed as graphs: without, a step waits for the processor to launch its thousand small kernels."""
    return torch.compile(policy.loss_of, mode="reduce-overhead" if device.type == "cuda" else None)


class Learner:
    """A policy, its optimiser and the order of its batches. The policy's device is where training runs."""

    def __init__(self, config: FinetuneConfig, policy: HPTPolicy, windows: Windows, unseen: Windows, seed: int) -> None:
        self._config, self._policy, self._windows, self._unseen = config, policy, windows, unseen
        self._seed = seed
        self._device = next(policy.parameters()).device
        self._order = Order(len(windows), config.batch_size, seed, windows.weights(config.scores.exponent))
        self._loss_of: Callable[..., Tensor] = (
            _compiled(policy, self._device) if config.compute.compile else policy.loss_of
        )
        self._batches = Ahead(self._batch, config.steps)
        self.optimization = Optimization(config.optimizer, config.steps, policy.named_parameters())
        self.steps_done = 0

    @property
    def lr(self) -> float:
        """Learning rate of the next step, outside the trunk."""
        return self._config.optimizer.lr * schedule(self._config.optimizer, self._config.steps, self.steps_done)

    def step(self) -> Step:
        """One update.

        Raises:
            DivergedError: loss or gradient is not finite; the policy is left as it was before this step.
        """
        step, optimization, watch = self.steps_done, self.optimization, Stopwatch(self._device)
        self._policy.train()
        seed_step(self._seed, step)
        batch = self._batches[step].to(self._device)
        watch.lap("data")
        with self._autocast():
            loss = self._loss_of(self._policy.encode(batch), batch)
        watch.lap("forward")
        optimization.zero_grad()
        torch.autograd.backward(loss)
        watch.lap("backward")
        norm = optimization.clip()
        loss_before, grad_norm = torch.stack([loss.detach().float(), norm.float()]).tolist()  # waits for a GPU once
        if not (math.isfinite(loss_before) and math.isfinite(grad_norm)):
            raise self._diverged(loss_before, grad_norm, self._order.batch(step))
        optimization.update(step)
        watch.lap("update")
        self.steps_done += 1
        return Step(loss_before, grad_norm, watch.seconds)

    @torch.no_grad()
    def validate(self) -> Validation | None:
        """Over at most `validation.max_windows` windows of the held-out episodes, evenly spread; None when there are none.

        Heads that draw use the same numbers every time, so that one validation compares with the next.
        """
        windows, limit = self._unseen, self._config.validation.max_windows
        if not len(windows):
            return None
        self._policy.eval()
        seed_step(self._seed, 0)
        count = min(len(windows), limit)
        chosen = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
        columns = self._policy.embodiment.action_columns
        total, errors, rows = 0.0, torch.zeros(len(columns)), 0
        with self.optimization.served():
            for start in range(0, count, self._config.batch_size):
                batch = windows.batch(chosen[start : start + self._config.batch_size]).to(self._device)
                loss, error, valid = self._scored(batch)
                total, errors, rows = total + loss * valid, errors + error, rows + valid
        means = (errors / max(rows, 1)).tolist()
        return Validation(total / max(rows, 1), {c.name: mean for c, mean in zip(columns, means, strict=True)})

    def state(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on, besides configuration, data and seed."""
        return self.optimization.state()

    def load_state(self, tensors: Mapping[str, Tensor], steps_done: int) -> None:
        """Go on from what `state` gave after so many steps."""
        self.optimization.load_state(tensors)
        self.steps_done = steps_done

    def _batch(self, step: int) -> Batch:
        return self._windows.batch(self._order.batch(step), (self._seed, step, _IMAGES))

    def _scored(self, batch: Batch) -> tuple[float, Tensor, int]:
        """Loss, sum of absolute errors by action column, and number of valid rows of a batch."""
        assert batch.action is not None
        assert batch.valid is not None
        policy, action = self._policy, batch.action
        with self._autocast():
            context = policy.pooled(policy.encode(batch))
            loss = policy.head.loss(context, policy.scaling.action.normalize(action), batch.valid)
            chunk = policy.scaling.action.unnormalize(policy.head.sample(context))
        error = (chunk.float() - action).abs() * batch.valid.unsqueeze(-1)
        return loss.item(), error.sum(dim=(0, 1)).cpu(), int(batch.valid.sum())

    def _autocast(self) -> AbstractContextManager[Any]:
        enabled = self._config.compute.precision == "bf16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=enabled)

    def _diverged(self, loss: float, norm: float, chosen: Any) -> DivergedError:
        names = [self._windows.name(i) for i in self._culprits(chosen)]
        shown = names[:_SHOWN_WINDOWS] + (
            [f"and {len(names) - _SHOWN_WINDOWS} more"] if len(names) > _SHOWN_WINDOWS else []
        )
        where = "every window alone is finite" if not names else "not finite in:\n  " + "\n  ".join(shown)
        return DivergedError(
            f"step {self.steps_done + 1}: loss {loss}, gradient norm {norm}; {where}",
            "look at these demonstrations (`hpt-ros audit`); or lower optimizer.lr, or lengthen optimizer.warmup_steps",
        )

    @torch.no_grad()
    def _culprits(self, chosen: Any) -> list[int]:
        """Windows whose own loss is not finite."""
        self._policy.eval()
        found = []
        for index in chosen:
            batch = self._windows.batch([index]).to(self._device)
            with self._autocast():
                loss = self._policy.loss(batch)
            if not torch.isfinite(loss):
                found.append(int(index))
        return found
