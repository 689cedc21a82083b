"""Stem and trunk for serving against those that were trained."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_ros.model.batch import Features, Tokens
from hpt_ros.model.serving.linears import quantize_int8
from hpt_ros.model.serving.stem import FoldedStem
from hpt_ros.model.serving.trunk import Blocks, ServedTrunk
from hpt_ros.model.stem import Stem
from hpt_ros.model.trunk import Trunk


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.booleans(), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
@torch.inference_mode()
def test_folded_stem_gives_the_same_tokens(t: int, m: int, p: int, masked: bool, seed: int) -> None:
    torch.manual_seed(seed)
    stem = Stem(6, hidden=12, embed_dim=16, tokens=5, heads=4, head_dim=8, dropout=0.5).eval()
    stem.tokens.mul_(50)  # scores far from equal
    values = torch.randn(2, t, m, p, 6)
    keep = (torch.rand(2, t, m) > 0.5) if masked else None
    expected, found = stem(Features(values, keep)), FoldedStem(stem)(Features(values, keep))
    if keep is None:
        assert found.keep is None
        torch.testing.assert_close(found.values, expected.values, rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(found.keep, expected.keep)
        assert found.values.isfinite().all()  # hidden tokens are weighted with 0, and 0 x NaN is NaN
        torch.testing.assert_close(found.values[found.keep], expected.values[found.keep], rtol=1e-4, atol=1e-5)


def _trunk() -> Trunk:
    torch.manual_seed(0)
    trunk = Trunk(32, 3, 4, 0.1).eval()
    with torch.no_grad():
        for name, parameter in trunk.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.uniform_(0.5, 1.5)
    return trunk


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [1, 7])
@torch.inference_mode()
def test_served_trunk_gives_the_same_tokens(packed: bool, masked: bool, length: int) -> None:
    trunk = _trunk()
    keep = (torch.rand(2, length) > 0.3) if masked else None
    tokens = Tokens(torch.randn(2, length, 32), keep)
    expected = trunk(tokens)
    blocks = Blocks(trunk)
    if packed:
        blocks.pack(7)
    found = ServedTrunk(blocks, torch.float32)(tokens)
    assert found.keep is keep
    torch.testing.assert_close(found.values, expected.values, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_eight_bits_and_sixteen_stay_near() -> None:
    tokens = Tokens(torch.randn(1, 7, 32))
    expected = _trunk()(tokens).values
    spread = expected.std()
    quantized = quantize_int8(Blocks(_trunk()))
    assert "Quantized" in str(quantized)
    coarse = ServedTrunk(quantized, torch.float32)(tokens).values
    half = ServedTrunk(Blocks(_trunk()), torch.bfloat16)(tokens).values
    assert half.dtype == torch.float32
    for found in (coarse, half):
        assert 0 < (found - expected).abs().max() < 0.1 * spread
