"""Fine-tuning as HPT's published code does it: what `bench finetune` compares with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hpt_ros.benchmarks.policy_reference import PublishedBlock
from hpt_ros.model import HPTPolicy
from hpt_ros.model.lora import blocks
from hpt_ros.model.positions import add_positions
from hpt_ros.model.stem import Stem


class EagerStem(nn.Module):
    """A stem whose attention is written out, with the stem's own tensors."""

    def __init__(self, stem: Stem, dropout: float) -> None:
        super().__init__()
        self.tokens, self.net, self.attention = stem.tokens, stem.net, stem.cross_attention
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        context = self.net(add_positions(values.flatten(1, -2)))
        queries = self.tokens.expand(len(context), -1, -1)
        attention = self.attention
        q = attention.to_q(queries)
        k, v = attention.to_kv(context).chunk(2, dim=-1)
        q, k, v = (x.reshape(*x.shape[:2], attention.heads, -1).transpose(1, 2) for x in (q, k, v))
        similarity = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5
        weights = self.dropout(similarity.softmax(dim=-1))
        out: Tensor = attention.to_out(torch.einsum("bhij,bhjd->bhid", weights, v).transpose(1, 2).flatten(2))
        return out


class PublishedPolicy(nn.Module):
    """A policy of image features and state, with its own tensors, as eager modules: nn.MultiheadAttention with `add_bias_kv`.

    Mean pooling, MLP head.
    """

    def __init__(self, policy: HPTPolicy) -> None:
        super().__init__()
        config = policy.config
        self.stems = nn.ModuleDict(
            {name: EagerStem(policy.stems[f"{policy.domain}_{name}"], config.dropout) for name in ("image", "state")}  # type: ignore[arg-type]
        )
        self.trunk = nn.Sequential(*(PublishedBlock(block) for block in blocks(policy.trunk)))
        self.head, self.scaling = policy.head, policy.scaling

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """As the policy's."""
        state = self.scaling.state.normalize(batch["state"]).unsqueeze(2)
        tokens = torch.cat([self.stems["image"](batch["image"]), self.stems["state"](state)], dim=1)
        out = self.trunk(add_positions(tokens).transpose(0, 1)).transpose(0, 1)
        return self.head.loss(out.mean(dim=1), self.scaling.action.normalize(batch["action"]), batch["valid"])


class FeatureArrays(Dataset[dict[str, Any]]):
    """One window after another out of float32 arrays in memory, in a given order."""

    def __init__(self, arrays: dict[str, NDArray[Any]], order: NDArray[np.int64], horizon: int) -> None:
        self._arrays, self._order, self._horizon = arrays, order, horizon

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, i: int) -> dict[str, Any]:
        tick = int(self._order[i])
        past = [max(tick - back, 0) for back in reversed(range(self._horizon))]
        a = self._arrays
        return {
            "image": a["image"][past],
            "state": a["state"][past],
            "action": a["action"][tick],
            "valid": a["valid"][tick],
        }


def published_loop(
    policy: PublishedPolicy, data: FeatureArrays, batch_size: int, optimizer: torch.optim.Optimizer, grad_clip: float
) -> Iterator[float]:
    """The loss of one step after another: one loading worker, statistics of every tensor at every step."""
    policy.train()
    for batch in DataLoader(data, batch_size=batch_size, num_workers=1, shuffle=False, drop_last=True):
        loss = policy.loss(batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        statistics(policy)
        nn.utils.clip_grad_norm_([p for p in policy.parameters() if p.requires_grad], grad_clip)
        optimizer.step()
        yield loss.item()


def statistics(policy: nn.Module) -> dict[str, float]:
    """Mean, deviation and largest of every parameter and every gradient."""
    found = {}
    for name, parameter in policy.named_parameters():
        for kind, tensor in (("weight", parameter.detach()), ("gradient", parameter.grad)):
            if tensor is not None and tensor.numel() > 1:
                found[f"{kind}/{name}/mean"] = tensor.mean().item()
                found[f"{kind}/{name}/std"] = tensor.std().item()
                found[f"{kind}/{name}/max"] = tensor.abs().max().item()
    return found
