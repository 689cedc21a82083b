"""Linear layers for serving: weights laid out once for the kernels, or reduced to eight bits."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from hpt_ros.errors import ConfigError


class PackedLinear(nn.Module):
    """A linear layer (CPU) whose weights lie as oneDNN's kernels read them for `rows` rows, with its GELU.

    The operators are torch's own for compiled graphs; they have no promise of staying, so packing is tried, not trusted.
    """

    def __init__(self, linear: nn.Linear, rows: int, *, gelu: bool = False) -> None:
        super().__init__()
        self.bias = linear.bias
        self.activation: tuple[str, list[Any], str | None] = ("gelu", [], "none") if gelu else ("none", [], None)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, *self.activation)
        return out


def quantize_int8(module: nn.Module) -> nn.Module:
    """Linear layers with int8 weights, one scale per output; inputs are quantised as they come, one scale per call.

    Raises:
        ConfigError: this torch has no such kernels.
    """
    try:
        from torch.ao import quantization

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces that the module will move to another package
            layers = {nn.Linear: quantization.per_channel_dynamic_qconfig}
            done: nn.Module = quantization.quantize_dynamic(module, layers)  # type: ignore[no-untyped-call]
    except (ImportError, AttributeError, RuntimeError) as error:
        raise ConfigError("quantize", "int8", "none with this torch", f"torch says: {error}") from error
    return done
