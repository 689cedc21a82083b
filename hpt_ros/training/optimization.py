"""What follows a backward pass: clipping, AdamW with its schedule, and the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hpt_ros.model.weights import matches
from hpt_ros.training.config import OptimizerConfig

TRUNK = "trunk."
UNDECAYED = ("*.bias_k", "*.bias_v", "*.tokens", "action_tokens.*")
"""Besides everything with one axis, which is norms and biases: the learnt key and value, and the learnt tokens."""


class Optimization:
    """Updates parameters by name; the gradients are the caller's.

    A parameter without a gradient, such as the stem of an embodiment that was not drawn, is left alone: no decay, no
    momentum, no average. What `state` gives makes the next updates bit for bit the same.
    """

    def __init__(self, config: OptimizerConfig, steps: int, named: Iterable[tuple[str, nn.Parameter]]) -> None:
        self.config, self.steps = config, steps
        self.parameters = {name: parameter for name, parameter in named if parameter.requires_grad}
        self._optimizer = torch.optim.AdamW(parameter_groups(self.parameters, config), fused=True)
        self._averages = (
            {name: p.detach().clone() for name, p in self.parameters.items()} if config.ema_decay > 0 else {}
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def clip(self, norm: Tensor | None = None) -> Tensor:
        """Bound the gradient; gives its norm before. `norm`: of a gradient of which only a part is here."""
        if norm is None:
            return nn.utils.clip_grad_norm_(self.parameters.values(), self.config.grad_clip)
        factor = (self.config.grad_clip / (norm + 1e-6)).clamp(max=1.0)  # as torch's
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        return norm

    def update(self, step: int) -> None:
        """Apply the gradients of step 0, 1, ..."""
        factor = schedule(self.config, self.steps, step)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self._optimizer.step()
        if self._averages:
            moved = [name for name, p in self.parameters.items() if p.grad is not None]
            decay = min(self.config.ema_decay, (1 + step) / (10 + step))  # the first weights are soon forgotten
            average: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            average([self._averages[n] for n in moved], [self.parameters[n].detach() for n in moved], 1)

    @contextmanager
    def served(self) -> Iterator[None]:
        """Inside, the parameters are those that are validated and saved: their averages where there are any."""
        if not self._averages:
            yield
            return
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._set(self._averages)
        try:
            yield
        finally:
            self._set(kept)

    @property
    def served_weights(self) -> str:
        """What `served` gives, in words."""
        return served_weights(self.config)

    def state(self) -> dict[str, Tensor]:
        """Weights, moments and averages by name."""
        tensors = {f"weights/{name}": p.detach() for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"{key}/{name}"] = value
        return tensors | {f"average/{name}": value for name, value in self._averages.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            parts.setdefault(kind, {})[name] = value
        self._set(parts.pop("weights"))
        for name, value in parts.pop("average", {}).items():
            self._averages[name].copy_(value)
        for kind, values in parts.items():
            for name, value in values.items():
                parameter = self.parameters[name]
                self._optimizer.state[parameter][kind] = value.to(parameter.device, copy=True)

    def _set(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])


def parameter_groups(parameters: Mapping[str, nn.Parameter], config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups for an optimiser: trunk and the rest by their rates, each with and without decay; `peak_lr` is what the schedule scales."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        rate = config.trunk_lr if config.trunk_lr is not None and name.startswith(TRUNK) else config.lr
        decays = parameter.ndim > 1 and not matches(name, UNDECAYED)
        groups.setdefault((rate, config.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": params, "lr": rate, "peak_lr": rate, "weight_decay": decay}
        for (rate, decay), params in groups.items()
    ]


def schedule(config: OptimizerConfig, steps: int, step: int) -> float:
    """Fraction of the peak rate at step 0, 1, ...: linear warm-up, then a cosine that would reach zero after the last step."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def served_weights(config: OptimizerConfig) -> str:
    """What `Optimization.served` gives, in words."""
    return f"exponential average, decay {config.ema_decay:g}" if config.ema_decay > 0 else "as trained"
