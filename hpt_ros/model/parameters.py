"""How many numbers a policy has, and how many of them training changes."""

from __future__ import annotations

from typing import TypedDict

from torch import nn

from hpt_ros.model.policy import HPTPolicy


class ParameterCount(TypedDict):
    """Numbers in a part of the policy, and how many of them training changes."""

    total: int
    trained: int


def count_parameters(policy: HPTPolicy) -> dict[str, ParameterCount]:
    """Parameter counts by part of the policy; the action tokens count with the head that reads them."""
    parts: dict[str, list[nn.Module]] = {
        "encoder": [policy.encoders],
        "stems": [policy.stems],
        "trunk": [policy.trunk],
        "head": [policy.heads, policy.action_tokens],
    }
    return {
        name: ParameterCount(
            total=sum(p.numel() for module in modules for p in module.parameters()),
            trained=sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad),
        )
        for name, modules in parts.items()
    }


def all_parameters(counts: dict[str, ParameterCount]) -> ParameterCount:
    """The sum over the parts."""
    return ParameterCount(
        total=sum(count["total"] for count in counts.values()),
        trained=sum(count["trained"] for count in counts.values()),
    )
