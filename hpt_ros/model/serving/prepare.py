"""A copy of a policy made for serving: same data flow, faster parts."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hpt_ros.model.batch import Features, Tokens
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.lora import merged
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.serving.convolutions import fold_batch_norm, pack
from hpt_ros.model.serving.graphs import Graphed
from hpt_ros.model.serving.linears import quantize_int8
from hpt_ros.model.serving.options import ServingOptions
from hpt_ros.model.serving.stem import FoldedStem
from hpt_ros.model.serving.trunk import Blocks, ServedTrunk
from hpt_ros.model.stem import Stem

_log = logging.getLogger(__name__)


class FixedTokens(nn.Module):
    """In the place of a stem whose features never change."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, features: Features) -> Tokens:
        return self.tokens


class _InDtype(nn.Module):
    """A network of one image tensor that computes in another precision; float32 outside."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net.to(dtype), dtype

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images.to(self.dtype)).float()
        return out


def plain_copy(policy: HPTPolicy, options: ServingOptions) -> HPTPolicy:
    """A copy in evaluation mode on the device; the policy itself stays as it is."""
    return copy.deepcopy(policy).eval().requires_grad_(False).to(torch.device(options.device))


@torch.no_grad()
def prepared(policy: HPTPolicy, options: ServingOptions, example: dict[str, Tensor]) -> HPTPolicy:
    """A copy whose encoder, stems and trunk are the fast ones.

    Args:
        example: uint8 frames (B, H, W, 3) by camera, as many as a step usually encodes.
    """
    served = plain_copy(merged(policy), options)
    encoder = served.encoder("image")
    if isinstance(encoder, ImageEncoder):
        _speed_up(encoder, options, example)
    for name, stem in served.stems.items():
        if type(stem) is Stem:
            served.stems[name] = FoldedStem(stem)
    length = sum(getattr(policy.config, f"{name}_tokens") for name in policy.modalities)
    length += policy.rows if policy.domain in policy.action_tokens else 0
    served.trunk = _trunk(served, options, length)  # type: ignore[assignment]
    return served.to(torch.device(options.device))


@torch.no_grad()
def fast_encoder(encoder: ImageEncoder, example: dict[str, Tensor]) -> ImageEncoder:
    """A copy for the CPU with batch norm folded in and weights laid out for batches like the example (others work, slower)."""
    fast = copy.deepcopy(encoder).eval().requires_grad_(False)
    _speed_up(fast, ServingOptions(), example)
    return fast


def _trunk(served: HPTPolicy, options: ServingOptions, length: int) -> nn.Module:
    dtype = getattr(torch, options.dtype)
    blocks = Blocks(served.trunk)
    trunk = ServedTrunk(blocks, dtype)
    if options.quantize == "int8":
        trunk.blocks = quantize_int8(blocks)
    elif options.compile:
        tokens = torch.zeros(1, length, served.config.embed_dim, device=options.device, dtype=dtype)
        trunk.blocks = _compiled("trunk", blocks, lambda net: net(tokens))
    elif options.cuda:
        trunk.blocks = Graphed(blocks)
    else:
        _attempt("laying out the trunk's weights", lambda: blocks.pack(length))
    return trunk


def _speed_up(encoder: ImageEncoder, options: ServingOptions, example: dict[str, Tensor]) -> None:
    inputs: dict[nn.Module, tuple[Any, ...]] = {}
    networks = list(_networks(encoder))
    hooks = [net.register_forward_pre_hook(lambda net, args: inputs.update({net: args})) for _, _, net in networks]
    encoder.frames(example)
    for hook in hooks:
        hook.remove()
    for parent, name, net in networks:
        given = inputs.get(net, ())
        if len(given) == 1 and isinstance(given[0], Tensor):
            setattr(parent, name, _network(net, given[0], options))


def _networks(encoder: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """The encoder's networks with convolutions: its children, or those of its dictionaries of children."""
    for name, child in encoder.named_children():
        if isinstance(child, nn.ModuleDict):
            yield from _networks(child)
        elif any(isinstance(m, nn.Conv2d) for m in child.modules()):
            yield encoder, name, child


def _network(net: nn.Module, images: Tensor, options: ServingOptions) -> nn.Module:
    folded = _attempt("folding batch norm", lambda: fold_batch_norm(net)) or net
    folded = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=torch.channels_last)
    dtype = getattr(torch, options.dtype)
    if options.dtype != "float32":
        folded = _InDtype(folded, dtype)
    if options.compile:
        return _compiled("image encoder", folded, lambda net: net(images))
    if options.cuda:
        return Graphed(folded)
    inner = folded.net if isinstance(folded, _InDtype) else folded
    _attempt("laying out the encoder's weights", lambda: pack(inner, images.to(dtype)))
    return folded


def _compiled(what: str, net: nn.Module, run: Callable[[Any], object]) -> nn.Module:
    began = time.monotonic()
    try:
        fast = torch.compile(net)
        run(fast)
    except Exception as error:  # a missing C++ compiler comes as one of many types
        _log.warning("%s: torch.compile failed, serving without: %s", what, str(error).splitlines()[0])
        return net
    _log.info("%s: compiled in %.0f s", what, time.monotonic() - began)
    return fast  # type: ignore[return-value]


def _attempt(what: str, run: Callable[[], Any]) -> Any:
    """None where torch cannot: private operators and tracing may fail in any way, and the plain parts are still there."""
    try:
        return run()
    except Exception as error:
        _log.info("%s left out: %s", what, (str(error).splitlines() or [type(error).__name__])[0])
        return None
