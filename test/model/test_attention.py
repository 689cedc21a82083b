from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hpt_ros.model.attention import attend


@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_on_a_cpu_is_attention_with_its_gradients(masked: bool) -> None:
    random = torch.Generator().manual_seed(0)
    tensors = [torch.randn(2, 4, length, 8, generator=random) for length in (5, 7, 7, 5)]
    keep = torch.rand(2, 1, 1, 7, generator=random) > 0.4 if masked else None

    def run(dtype: torch.dtype) -> list[torch.Tensor]:
        q, k, v = (t.to(dtype).requires_grad_() for t in tensors[:3])
        out = attend(q, k, v, keep) if dtype == torch.bfloat16 else F.scaled_dot_product_attention(q, k, v, keep)
        out.backward(tensors[3].to(dtype))
        return [out.detach(), *(t.grad for t in (q, k, v) if t.grad is not None)]

    for found, expected in zip(run(torch.bfloat16), run(torch.float64), strict=True):
        assert found.dtype == torch.bfloat16
        assert (found.double() - expected).norm() < 0.02 * expected.norm()


def test_dropout_hides_weights_and_keeps_their_mean() -> None:
    torch.manual_seed(0)
    q, k, v = torch.zeros(1, 1, 4000, 8), torch.zeros(1, 1, 10, 8), torch.ones(1, 1, 10, 8)
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), dropout=0.5).float()
    assert found.std() > 0.2
    assert found.mean() == pytest.approx(1, abs=0.05)
