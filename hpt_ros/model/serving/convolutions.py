"""Convolutions for serving: batch norm folded in, ReLU and residual sum done by the convolution itself."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_RELU = (F.relu, torch.relu)
_ADD = (operator.add, operator.iadd, torch.add)


class PackedConv2d(nn.Module):
    """A convolution (zero padding, CPU) whose weights lie as oneDNN's kernels read them, with its ReLU.

    The operators are torch's own for compiled graphs; they have no promise of staying, so `pack` is tried, not trusted.
    """

    def __init__(self, conv: nn.Conv2d, input_shape: torch.Size, *, relu: bool) -> None:
        super().__init__()
        geometry: list[Any] = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self.geometry = geometry
        self.relu = relu
        self.bias = conv.bias
        backend: Any = torch._C._nn  # type: ignore[attr-defined]
        self.weight = backend.mkldnn_reorder_conv2d_weight(
            conv.weight.detach().to_mkldnn(), *geometry, list(input_shape)
        )

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`residual` is added before the ReLU, and overwritten."""
        packed, activation = torch.ops.mkldnn, "relu" if self.relu else "none"
        given = (x, self.weight, self.bias, *self.geometry)
        if residual is None:
            return cast(Tensor, packed._convolution_pointwise(*given, activation, [], None))
        unary = "relu" if self.relu else None
        return cast(Tensor, packed._convolution_pointwise_(residual, *given, "add", 1.0, unary, [], None))


class _Tracer(fx.Tracer):
    """Sees through modules that hold convolutions; all others stay calls."""

    def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or not any(isinstance(inner, nn.Conv2d) for inner in m.modules())


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """A copy of `net`, as a graph, in which no batch norm follows a convolution; same function in evaluation mode."""
    net = copy.deepcopy(net).eval()
    graph = _Tracer().trace(net)
    modules = dict(net.named_modules())
    for node in list(graph.nodes):
        norm, conv = _called(modules, node), _called(modules, node.args[0] if node.args else None)
        if isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d) and len(node.args[0].users) == 1:
            _replace(net, modules, node.args[0].target, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return fx.GraphModule(net, graph).requires_grad_(False)


def pack(folded: nn.Module, example: Tensor) -> nn.Module:
    """The graph of `fold_batch_norm` with every convolution packed for inputs like `example` (others work, slower)."""
    if not isinstance(folded, fx.GraphModule):
        return folded
    shapes = _input_shapes(folded, example)
    modules, graph = dict(folded.named_modules()), folded.graph
    for node in list(graph.nodes):
        conv = _called(modules, node)
        if not isinstance(conv, nn.Conv2d) or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            continue
        residual, last = _residual(node, modules)
        relu = _only_user(last, lambda user: _is_relu(modules, user))
        if relu is not None:
            relu.replace_all_uses_with(last)
            graph.erase_node(relu)
        if residual is not None:
            last.replace_all_uses_with(node)
            graph.erase_node(last)
            graph.inserting_before(node)
            node.args = (node.args[0], residual)
        _replace(folded, modules, node.target, PackedConv2d(conv, shapes[node.target], relu=relu is not None))
    graph.lint()
    folded.recompile()
    return folded


def _called(modules: dict[str, nn.Module], node: Any) -> nn.Module | None:
    return modules[str(node.target)] if isinstance(node, fx.Node) and node.op == "call_module" else None


def _only_user(node: fx.Node, fits: Callable[[fx.Node], bool]) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and fits(users[0]) else None


def _is_relu(modules: dict[str, nn.Module], node: fx.Node) -> bool:
    return isinstance(_called(modules, node), nn.ReLU) or (node.op == "call_function" and node.target in _RELU)


def _residual(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[fx.Node | None, fx.Node]:
    """What is added to the convolution's result and the node of the sum; only something that nobody else reads later."""
    total = _only_user(node, lambda user: user.op == "call_function" and user.target in _ADD)
    if total is None:
        return None, node
    other = next((arg for arg in total.args if arg is not node), None)
    order = {n: i for i, n in enumerate(node.graph.nodes)}
    free = (
        isinstance(other, fx.Node)
        and _makes_new_tensor(modules, other)
        and order[other] < order[node]
        and all(user is total or order[user] < order[node] for user in other.users)
    )
    return (other, total) if free else (None, node)  # type: ignore[return-value]


def _makes_new_tensor(modules: dict[str, nn.Module], node: fx.Node) -> bool:
    if node.op == "call_function":
        return node.target is F.max_pool2d
    return isinstance(_called(modules, node), (nn.Conv2d, PackedConv2d, nn.MaxPool2d))


def _input_shapes(net: fx.GraphModule, example: Tensor) -> dict[str, torch.Size]:
    shapes: dict[str, torch.Size] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: shapes.update({name: inputs[0].shape}))
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    net(example)
    for hook in hooks:
        hook.remove()
    return shapes


def _replace(root: nn.Module, modules: dict[str, nn.Module], name: Any, new: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(parent), leaf, new)
    modules[name] = new
