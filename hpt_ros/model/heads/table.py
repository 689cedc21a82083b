"""All heads side by side."""

from __future__ import annotations

from hpt_ros.model.config import TOKEN_HEADS, HeadConfig, PolicyConfig, Pooling
from hpt_ros.model.heads.build import HEADS, build_head

_COLUMNS = ("kind", "loss", "network calls per chunk", "keeps modes", "guarantees", "use it when")


def facts_table() -> str:
    """Markdown: a row for each kind of head with its defaults, from what the heads say of themselves.

    Raises:
        MissingDependencyError: a head needs a package that is not installed.
    """
    lines = [_COLUMNS, ("---",) * len(_COLUMNS)]
    for kind in HEADS:
        pooling: Pooling = "none" if kind in TOKEN_HEADS else "mean"
        facts = build_head(PolicyConfig(pooling=pooling, head=HeadConfig(kind)), action_dim=8, rows=16).facts
        modal = "yes" if facts.multi_modal else "no"
        lines.append((f"`{kind}`", facts.loss, str(facts.network_calls), modal, facts.guarantees, facts.use_when))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
