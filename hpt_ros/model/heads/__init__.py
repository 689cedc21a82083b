"""Heads: pooled tokens -> a chunk of actions."""

from hpt_ros.model.heads.base import Head, HeadFacts, mean_over_valid
from hpt_ros.model.heads.build import build_head
from hpt_ros.model.heads.mlp import MLPHead

__all__ = ["Head", "HeadFacts", "MLPHead", "build_head", "mean_over_valid"]
