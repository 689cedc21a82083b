"""How the trunk lies on the workers: whole on each, or in shards."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from hpt_ros.errors import MissingDependencyError
from hpt_ros.model.multi_policy import MultiPolicy
from hpt_ros.model.trunk import Trunk
from hpt_ros.training.optimization import TRUNK
from hpt_ros.training.pretraining.workers import Workers


class Replicated:
    """Every worker holds the whole trunk; gradients are summed after the backward pass."""

    def __init__(self, policy: MultiPolicy, workers: Workers) -> None:
        self.policy, self.workers = policy, workers

    def named(self) -> list[tuple[str, nn.Parameter]]:
        """What this worker updates, by published name."""
        return self.policy.named()

    def to_sum(self) -> Sequence[nn.Parameter]:
        """Parameters of the trunk whose gradients are still this worker's own after the backward pass."""
        return [p for p in self.policy.trunk.parameters() if p.requires_grad]

    def collect(self) -> None:
        """After the last backward pass of a step: what `named` gave has its gradients."""

    def norm(self, parameters: Iterable[nn.Parameter]) -> Tensor | None:
        """Of the gradient; None: what this worker holds is all of it."""
        return None

    def whole(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """State by `kind/name` of all workers together; all must call it."""
        return dict(state)

    def part(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of `whole` is this worker's."""
        return dict(state)

    def agreed(self, due: bool) -> bool:
        """Whether all write their state now."""
        return due

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Inside, every policy has the whole trunk, as it is now; all workers must enter."""
        yield


class Sharded(Replicated):
    """FSDP (torch's `fully_shard`): each worker holds, and updates, its rows of every tensor of the trunk.

    A block is whole on a worker only while it computes; its gradients are summed into the shards during the backward pass.
    All workers must run the trunk equally often in a step.
    """

    def __init__(self, policy: MultiPolicy, workers: Workers) -> None:
        super().__init__(policy, workers)
        self._plain = copy.deepcopy(policy.trunk).to("meta")
        shard(policy.trunk, workers)
        self._rows = {name: p.shape[0] for name, p in policy.trunk.named_parameters(prefix=TRUNK.rstrip("."))}
        self._sharded: dict[str, Any] = dict(policy.trunk.named_parameters(prefix=TRUNK.rstrip(".")))
        with torch.no_grad():  # the same memory as plain tensors: optimiser and averages need not know
            self._local = {name: nn.Parameter(p.to_local()) for name, p in self._sharded.items()}

    def named(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, self._local.get(name, p)) for name, p in self.policy.named()]

    def to_sum(self) -> Sequence[nn.Parameter]:
        return []

    def collect(self) -> None:
        for name, local in self._local.items():
            gradient = self._sharded[name].grad
            local.grad = None if gradient is None else gradient.to_local()
            self._sharded[name].grad = None

    def norm(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        mine = {id(p) for p in self._local.values()}
        square = torch.zeros(2, device=self.workers.device)  # of the shards, and of what all workers hold
        for parameter in parameters:
            if parameter.grad is not None:
                square[0 if id(parameter) in mine else 1] += parameter.grad.square().sum()
        shards = square[:1].clone()
        self.workers.sum([shards])
        return (shards[0] + square[1]).sqrt()

    def whole(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: self._joined(key, value) if self._split(key, value) else value for key, value in state.items()}

    def part(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            key: self._mine(key.partition("/")[2], value) if self._split(key, value) else value
            for key, value in state.items()
        }

    def agreed(self, due: bool) -> bool:
        return bool(self.workers.gathered(due)[0])

    @contextmanager
    def gathered(self) -> Iterator[None]:
        sharded, policies = self.policy.trunk, [self.policy[domain] for domain in self.policy.domains]
        whole = self.whole({f"weights/{name}": local.detach() for name, local in self._local.items()})
        tensors = {key.removeprefix(f"weights/{TRUNK}"): value for key, value in whole.items()}
        plain = copy.deepcopy(self._plain)
        plain.load_state_dict(tensors, assign=True)
        plain.train(sharded.training)
        try:
            for policy in policies:
                policy.trunk = plain
            yield
        finally:
            for policy in policies:
                policy.trunk = sharded

    def _split(self, key: str, value: Tensor) -> bool:
        return key.partition("/")[2] in self._rows and value.ndim > 0

    def _joined(self, key: str, local: Tensor) -> Tensor:
        rows = self._rows[key.partition("/")[2]]
        each = -(-rows // self.workers.size)
        padded = F.pad(local, (0, 0) * (local.ndim - 1) + (0, each - len(local)))
        parts = [torch.empty_like(padded) for _ in range(self.workers.size)]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat(parts)[:rows]

    def _mine(self, name: str, whole: Tensor) -> Tensor:
        each = -(-self._rows[name] // self.workers.size)
        return whole[self.workers.rank * each : (self.workers.rank + 1) * each]


def shard(trunk: Trunk, workers: Workers) -> None:
    """Split the trunk over the workers, block by block; gradients are sums, not means.

    Raises:
        MissingDependencyError: torch is too old.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        sums = FSDPModule.set_force_sum_reduction_for_comms
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"parallel: fsdp needs a newer torch than {torch.__version__}", "pip install -U torch, or set parallel: ddp"
        ) from error
    mesh = init_device_mesh(workers.device.type, (workers.size,))
    blocks: Any = trunk.trunk["blocks"]
    for module in (*blocks, trunk):
        sharded: Any = fully_shard(module, mesh=mesh)
        sharded.set_gradient_divide_factor(1.0)
        sums(sharded, True)


def parallel(kind: str, policy: MultiPolicy, workers: Workers) -> Replicated:
    """For the setting `parallel`; one worker alone has nothing to share out."""
    return Sharded(policy, workers) if kind == "fsdp" and workers.size > 1 else Replicated(policy, workers)
