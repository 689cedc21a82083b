"""Which head a configuration means."""

from __future__ import annotations

from collections.abc import Callable

from hpt_ros.model.config import HeadKind, PolicyConfig
from hpt_ros.model.heads.base import Head
from hpt_ros.model.heads.bins import BinsHead
from hpt_ros.model.heads.diffusion import DiffusionHead
from hpt_ros.model.heads.flow import FlowHead
from hpt_ros.model.heads.gmm import GMMHead
from hpt_ros.model.heads.mlp import MLPHead
from hpt_ros.model.heads.transformer_decoder import TransformerDecoderHead


def build_head(config: PolicyConfig, action_dim: int, rows: int) -> Head:
    """The head for chunks of `rows` actions.

    Raises:
        MissingDependencyError: the head needs a package that is not installed.
    """
    return HEADS[config.head.kind](config, action_dim, rows)


def _mlp(c: PolicyConfig, action_dim: int, rows: int) -> Head:
    per_row = c.pooling == "action_token"
    return MLPHead(c.embed_dim, c.head.widths, action_dim, rows, c.dropout, per_row=per_row)


def _transformer_decoder(c: PolicyConfig, action_dim: int, rows: int) -> Head:
    return TransformerDecoderHead(c.embed_dim, action_dim, rows, c.dropout, c.head.decoder_layers)


def _diffusion(c: PolicyConfig, action_dim: int, rows: int) -> Head:
    head = c.head
    return DiffusionHead(c.embed_dim, action_dim, rows, head.down_dims, head.denoise_steps, head.train_steps)


def _flow(c: PolicyConfig, action_dim: int, rows: int) -> Head:
    return FlowHead(c.embed_dim, action_dim, rows, c.head.down_dims, c.head.denoise_steps)


def _gmm(c: PolicyConfig, action_dim: int, rows: int) -> Head:
    head = c.head
    return GMMHead(c.embed_dim, head.widths, action_dim, rows, head.modes, head.min_std, draw=head.draw)


def _bins(c: PolicyConfig, action_dim: int, rows: int) -> Head:
    return BinsHead(c.embed_dim, c.head.widths, action_dim, rows, c.dropout, c.head.bins, draw=c.head.draw)


HEADS: dict[HeadKind, Callable[[PolicyConfig, int, int], Head]] = {
    "mlp": _mlp,
    "transformer_decoder": _transformer_decoder,
    "diffusion": _diffusion,
    "flow": _flow,
    "gmm": _gmm,
    "bins": _bins,
}
"""Head by its name in the configuration, from policy configuration, action width and rows."""
