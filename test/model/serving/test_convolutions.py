from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hpt_ros.model.encoders.resnet import ResNet
from hpt_ros.model.encoders.spatial_softmax import SpatialSoftmax
from hpt_ros.model.serving.convolutions import PackedConv2d, fold_batch_norm, pack


def _resnet() -> nn.Module:
    """Statistics and scales as training leaves them, not those of a new network."""
    torch.manual_seed(0)
    net = ResNet((2, 2, 2, 2))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return net.eval()


class Shared(nn.Module):
    """What is added to the second convolution is read again after the sum: it must not be overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        early = self.first(x)
        total = torch.relu(self.second(early) + early)
        return total * early


def _views() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3), SpatialSoftmax()
    )


@pytest.mark.parametrize("make", [_resnet, _views, lambda: Shared().eval()])
@pytest.mark.parametrize("count", [1, 2, 3])
@torch.inference_mode()
def test_folded_and_packed_network_is_the_same_function(make: object, count: int) -> None:
    net: nn.Module = make()  # type: ignore[operator]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    images = torch.randn(count, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    expected = net(images.clone())
    fast = fold_batch_norm(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(fast(images), expected, rtol=1e-4, atol=1e-4)
    fast = pack(fast, images[:1])
    for _ in range(2):
        torch.testing.assert_close(fast(images), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules() if m is not fast)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@torch.inference_mode()
def test_relu_and_residual_sum_of_resnet_are_in_its_convolutions() -> None:
    images = torch.randn(1, 3, 64, 64)
    fast = pack(fold_batch_norm(_resnet()), images)
    packed = [m for m in fast.modules() if isinstance(m, PackedConv2d)]
    assert len(packed) == 20
    names = [str(node.target) for node in fast.graph.nodes if node.op == "call_function"]  # type: ignore[union-attr,attr-defined]
    assert [name for name in names if "relu" in name or "add" in name] == []
