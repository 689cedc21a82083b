"""Which head a configuration means."""

from __future__ import annotations

from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.heads.base import Head
from hpt_ros.model.heads.mlp import MLPHead


def build_head(config: PolicyConfig, action_dim: int, rows: int) -> Head:
    """The head for chunks of `rows` actions."""
    width, head = config.embed_dim, config.head
    per_row = config.pooling == "action_token"
    return MLPHead(width, head.widths, action_dim, rows, config.dropout, per_row=per_row)
