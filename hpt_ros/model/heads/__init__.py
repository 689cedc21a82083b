"""Heads: what pooling leaves of the tokens -> a chunk of actions."""

from hpt_ros.model.heads.base import Head, HeadFacts, mean_over_valid
from hpt_ros.model.heads.bins import BinsHead
from hpt_ros.model.heads.build import build_head
from hpt_ros.model.heads.diffusion import DiffusionHead
from hpt_ros.model.heads.flow import FlowHead
from hpt_ros.model.heads.gmm import GMMHead
from hpt_ros.model.heads.mlp import MLPHead
from hpt_ros.model.heads.table import facts_table
from hpt_ros.model.heads.transformer_decoder import TransformerDecoderHead

__all__ = [
    "BinsHead",
    "DiffusionHead",
    "FlowHead",
    "GMMHead",
    "Head",
    "HeadFacts",
    "MLPHead",
    "TransformerDecoderHead",
    "build_head",
    "facts_table",
    "mean_over_valid",
]
