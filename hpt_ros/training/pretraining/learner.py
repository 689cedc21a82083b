"""One step of pre-training, on this worker's share of its draws."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpt_ros.model import Batch
from hpt_ros.model.multi_policy import MultiPolicy
from hpt_ros.training.ahead import Ahead
from hpt_ros.training.learner import DivergedError, Step, Validation
from hpt_ros.training.loop import LOSS_OVER_STEPS
from hpt_ros.training.optimization import Optimization, schedule
from hpt_ros.training.order import seed_step
from hpt_ros.training.pretraining.config import PretrainConfig
from hpt_ros.training.pretraining.parallel import parallel
from hpt_ros.training.pretraining.sampling import Draw, Sampler
from hpt_ros.training.pretraining.sources import Source, Sources
from hpt_ros.training.pretraining.workers import Workers
from hpt_ros.training.stopwatch import Stopwatch

_RECENT = "recent/"


class PretrainLearner:
    """The policies of all domains, their optimiser, and the order of draws.

    A step's loss is the mean over its draws, whichever worker takes them. The trunk is updated every step; encoders, stems
    and head of a domain only in steps that drew it: otherwise they have no gradient, and neither weight decay nor the
    optimiser's moments touch them.

    Attributes:
        losses: by domain, the mean over the last draws. val_losses: by domain, as last validated.
    """

    def __init__(
        self,
        config: PretrainConfig,
        policy: MultiPolicy,
        sources: Sources,
        workers: Workers,
        seed: int,
    ) -> None:
        self._config, self._policy, self._sources, self._workers, self._seed = config, policy, sources, workers, seed
        sizes = [len(source.training) for source in sources.sets]
        self.sampler = Sampler(sizes, config.exponent, config.draws, config.batch_size, seed)
        self._own = {domain: policy.own_parameters(domain) for domain in policy.domains}
        self.parallel = parallel(config.parallel, policy, workers)
        self.optimization = Optimization(config.optimizer, config.steps, self.parallel.named())
        self._mine = workers.mine(range(config.draws))
        self._batches = Ahead(self._batch, config.steps * len(self._mine))
        self._recent: dict[str, deque[float]] = {domain: deque(maxlen=LOSS_OVER_STEPS) for domain in policy.domains}
        self.val_losses: dict[str, float] = {}
        self.steps_done = 0

    @property
    def lr(self) -> float:
        """Learning rate of the next step, outside the trunk."""
        return self._config.optimizer.lr * schedule(self._config.optimizer, self._config.steps, self.steps_done)

    @property
    def losses(self) -> dict[str, float]:
        """By domain that was drawn, the mean over its last draws, in normalised units."""
        return {domain: fmean(recent) for domain, recent in self._recent.items() if recent}

    def step(self) -> Step:
        """One update.

        Raises:
            DivergedError: loss or gradient is not finite, on whichever worker; all is left as it was before this step.
        """
        step, watch = self.steps_done, Stopwatch(self._workers.device)
        draws = self.sampler.draws(step)
        domains = [self._sources.sets[draw.source].domain for draw in draws]
        self._policy.train()
        self.optimization.zero_grad()
        losses = torch.zeros(len(draws), device=self._workers.device)
        for i, number in enumerate(self._mine):
            losses[number] = self._learn(draws[number], step * len(self._mine) + i, watch) / len(draws)
        self._exchange(domains, losses)
        watch.lap("exchange")
        norm = self.optimization.clip(self.parallel.norm(self.optimization.parameters.values()))
        if not (torch.isfinite(losses).all() and torch.isfinite(norm)):
            raise self._diverged(draws, losses * len(draws), norm)
        self.optimization.update(step)
        watch.lap("update")
        self.steps_done += 1
        for domain, loss in zip(domains, (losses * len(draws)).tolist(), strict=True):
            self._recent[domain].append(loss)
        return Step(losses.sum().item(), norm.item(), watch.seconds)

    @torch.no_grad()
    def validate(self) -> Validation | None:
        """Over at most `validation.max_windows` windows of each set's held-out episodes, evenly spread; None without any.

        Each worker scores some of the sets; the loss is the mean over the domains.
        """
        scored = [source for source in self._sources.sets if len(source.held_out)]
        if not scored:
            return None
        self._policy.eval()
        sums = torch.zeros(len(scored), 2, dtype=torch.float64)
        with self.optimization.served(), self.parallel.gathered():
            for number in self._workers.mine(range(len(scored))):
                seed_step(self._seed, number)
                sums[number] = self._scored(scored[number])
        sums = sums.to(self._workers.device)
        self._workers.sum([sums])
        by_domain: dict[str, list[Tensor]] = {}
        for source, numbers in zip(scored, sums, strict=True):
            by_domain.setdefault(source.domain, []).append(numbers)
        totals = {domain: torch.stack(parts).sum(0).tolist() for domain, parts in by_domain.items()}
        self.val_losses = {domain: total / max(rows, 1) for domain, (total, rows) in totals.items()}
        return Validation(fmean(self.val_losses.values()))

    def state(self) -> dict[str, Tensor]:
        """Everything that the next steps depend on, besides configuration, data and seed."""
        recent = {f"{_RECENT}{d}": torch.tensor(list(r), dtype=torch.float64) for d, r in self._recent.items()}
        return self.parallel.whole(self.optimization.state()) | recent

    def load_state(self, tensors: Mapping[str, Tensor], steps_done: int) -> None:
        """Go on from what `state` gave after so many steps."""
        rest = dict(tensors)
        for domain, recent in self._recent.items():
            recent.extend(rest.pop(_RECENT + domain).tolist())
        self.optimization.load_state(self.parallel.part(rest))
        self.steps_done = steps_done

    def _batch(self, number: int) -> Batch:
        """Of all draws that this worker takes, one after another."""
        step, place = divmod(number, len(self._mine))
        draw = self.sampler.draws(step)[self._mine[place]]
        return self._sources.sets[draw.source].training.batch(draw.windows)

    def _learn(self, draw: Draw, number: int, watch: Stopwatch) -> Tensor:
        """Add a draw's share to the gradients; its loss."""
        policy = self._policy[self._sources.sets[draw.source].domain]
        batch = self._batches[number].to(self._workers.device)
        torch.manual_seed(draw.seed)
        watch.lap("data")
        with self._autocast():
            loss = policy.loss(batch)
        watch.lap("forward")
        torch.autograd.backward(loss / self._config.draws)
        watch.lap("backward")
        return loss.detach()

    def _exchange(self, domains: Iterable[str], losses: Tensor) -> None:
        """Sum losses and gradients over the workers; one that did not draw a domain adds nothing to its gradients."""
        self.parallel.collect()
        active = [*self.parallel.to_sum(), *(p for domain in dict.fromkeys(domains) for p in self._own[domain])]
        gradients = [_gradient(parameter) for parameter in active]
        self._workers.sum([losses, *gradients])

    def _scored(self, source: Source) -> Tensor:
        """Sum of the losses over the valid rows, and their number."""
        windows, policy = source.held_out, self._policy[source.domain]
        count = min(len(windows), self._config.validation.max_windows)
        chosen = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
        total, rows = 0.0, 0
        for start in range(0, count, self._config.batch_size):
            batch = windows.batch(chosen[start : start + self._config.batch_size]).to(self._workers.device)
            assert batch.valid is not None
            with self._autocast():
                loss = policy.loss(batch).item()
            valid = int(batch.valid.sum())
            total, rows = total + loss * valid, rows + valid
        return torch.tensor([total, rows], dtype=torch.float64)

    def _autocast(self) -> AbstractContextManager[Any]:
        enabled = self._config.compute.precision == "bf16"
        return torch.autocast(self._workers.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _diverged(self, draws: Sequence[Draw], losses: Tensor, norm: Tensor) -> DivergedError:
        places = [self._sources.sets[draw.source].demos.path for draw in draws]
        found = "\n  ".join(f"{place}: loss {loss:.4g}" for place, loss in zip(places, losses.tolist(), strict=True))
        return DivergedError(
            f"step {self.steps_done + 1}: gradient norm {norm.item()}, drawn:\n  {found}",
            "look at these demonstrations (`hpt-ros audit`); or lower optimizer.lr, or lengthen optimizer.warmup_steps",
        )


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
