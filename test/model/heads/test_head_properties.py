"""What holds for every head, whatever its chunk's shape."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hpt_ros.errors import ConfigError, MissingDependencyError
from hpt_ros.model import HeadConfig, PolicyConfig
from hpt_ros.model.config import TOKEN_HEADS, HeadKind
from hpt_ros.model.heads import Head, build_head, facts_table
from hpt_ros.model.heads.base import hold_last_valid
from hpt_ros.model.heads.build import HEADS

WIDTH, TOKENS = 16, 5
VARIANTS = {
    **{kind: HeadConfig(kind, widths=(16, 8), down_dims=(8, 16), denoise_steps=3) for kind in HEADS},
    "decoder of two layers": HeadConfig("transformer_decoder", decoder_layers=2),
    "one-level U-Net": HeadConfig("flow", down_dims=(8,), denoise_steps=2),
    "three-level U-Net": HeadConfig("diffusion", down_dims=(8, 8, 8), denoise_steps=2),
    "drawn mode": HeadConfig("gmm", widths=(16,), draw=True),
    "drawn bins": HeadConfig("bins", widths=(16,), draw=True),
}


def head_for(config: HeadConfig, action_dim: int = 3, rows: int = 6) -> Head:
    torch.manual_seed(0)
    pooling = "none" if config.kind in TOKEN_HEADS else "mean"
    policy = PolicyConfig(embed_dim=WIDTH, num_heads=4, dropout=0.0, pooling=pooling, head=config)  # type: ignore[arg-type]
    return build_head(policy, action_dim, rows)


def context_for(config: HeadConfig, n: int = 4) -> Tensor:
    shape = (n, TOKENS, WIDTH) if config.kind in TOKEN_HEADS else (n, WIDTH)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 64), action_dim=st.integers(1, 9), scale=st.sampled_from([0.0, 1.0, 100.0]))
def test_chunks_of_any_shape_are_finite_and_inside_the_range(
    config: HeadConfig, rows: int, action_dim: int, scale: float
) -> None:
    head = head_for(config, action_dim, rows).eval()
    with torch.no_grad():
        chunk = head.sample(scale * context_for(config))
    assert chunk.shape == (4, rows, action_dim)
    assert (chunk.abs() <= 1).all()


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 64), seed=st.integers(0, 1000))
def test_loss_and_gradients_are_finite_and_reach_every_part(config: HeadConfig, rows: int, seed: int) -> None:
    head, numbers = head_for(config, 3, rows).train(), torch.Generator().manual_seed(seed)
    action = torch.rand(4, rows, 3, generator=numbers) * 2 - 1
    valid = torch.rand(4, rows, generator=numbers) < 0.7
    valid[0, 0] = True
    loss = head.loss(context_for(config), action, valid)
    torch.autograd.backward(loss)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_loss_reads_valid_rows_only(config: HeadConfig) -> None:
    head, context = head_for(config).eval(), context_for(config)
    action = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    valid = torch.ones(4, 6, dtype=torch.bool)
    valid[:, 4:], valid[1], valid[2, :2] = False, False, False
    before = head.loss(context, action, valid)
    ignored = torch.where(valid.unsqueeze(-1), action, 7.0)
    assert torch.equal(head.loss(context, ignored, valid), before)
    action[0, 0] += 0.3
    assert not torch.equal(head.loss(context, action, valid), before)
    assert head.loss(context, action, torch.zeros_like(valid)) == 0


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_same_generator_same_chunk(config: HeadConfig) -> None:
    head, context = head_for(config).eval(), context_for(config)
    with torch.no_grad():
        chunks = [head.sample(context, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(chunks[0], chunks[1])
    draws = config.draw or config.kind in ("diffusion", "flow")
    assert torch.equal(chunks[0], chunks[2]) != draws, "heads that draw, draw anew"


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_noise_of_the_loss_is_new_in_training_and_the_same_in_evaluation(kind: str) -> None:
    head, context = head_for(VARIANTS[kind]), context_for(VARIANTS[kind])
    data = context, torch.zeros(4, 6, 3), torch.ones(4, 6, dtype=torch.bool)
    assert head.train().loss(*data) != head.loss(*data)
    assert head.eval().loss(*data) == head.loss(*data)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_tensors_alone_bring_a_head_back(config: HeadConfig) -> None:
    head, other, context = head_for(config).eval(), head_for(config).eval(), context_for(config)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1)
        other.load_state_dict(head.state_dict(), strict=True)
        chunks = [h.sample(context, torch.Generator().manual_seed(0)) for h in (head, other)]
    assert torch.equal(*chunks)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_network_calls_are_counted_as_stated(config: HeadConfig) -> None:
    head = head_for(config).eval()
    network = next(getattr(head, name) for name in ("model", "net", "mlp", "share") if hasattr(head, name))
    calls: list[None] = []
    network.register_forward_hook(lambda *_: calls.append(None))
    head.sample(context_for(config))
    assert len(calls) == head.facts.network_calls


@pytest.mark.parametrize("layers", [1, 2])
def test_decoder_looks_past_hidden_tokens(layers: int) -> None:
    config = HeadConfig("transformer_decoder", decoder_layers=layers)
    head, context = head_for(config).eval(), context_for(config)
    hidden = context.clone()
    hidden[:, 3:] = 0
    torch.testing.assert_close(head.sample(hidden), head.sample(context[:, :3]))
    assert torch.isfinite(head.sample(torch.zeros_like(context))).all()


def test_bins_are_as_fine_as_stated() -> None:
    config = HeadConfig("bins", widths=(16,), bins=32)
    head, wanted = head_for(config, action_dim=1, rows=64), torch.linspace(-1, 1, 64).view(1, 64, 1)
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        torch.autograd.backward(head.loss(context_for(config, 1), wanted, torch.ones(1, 64, dtype=torch.bool)))
        optimizer.step()
    assert (head.sample(context_for(config, 1)) - wanted).abs().max() <= 1 / 32 + 0.01
    assert "0.062" in head.facts.guarantees


def test_bins_decode_around_the_likeliest_one_and_ignore_other_peaks() -> None:
    config = HeadConfig("bins", widths=(16,), bins=32)
    head = head_for(config, action_dim=1, rows=1)
    last = head.get_submodule("net")[-1]  # type: ignore[index]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-50).index_copy_(0, torch.tensor([4, 5, 20]), torch.tensor([2.0, 1.9, 1.95]))
    value = head.sample(context_for(config, 1)).item()
    assert -1 + 2 * 4.5 / 32 < value < -1 + 2 * 5 / 32


def test_invalid_rows_repeat_the_last_valid_one() -> None:
    action = torch.tensor([[[1.0], [2], [3], [4]], [[5], [6], [7], [8]]])
    valid = torch.tensor([[True, False, True, False], [False, False, True, True]])
    assert hold_last_valid(action, valid).squeeze(-1).tolist() == [[1, 1, 3, 3], [0, 0, 7, 8]]


@pytest.mark.parametrize(
    ("kind", "values", "path"),
    [
        ("gmm", {"modes": 0}, "modes"),
        ("gmm", {"min_std": 0.0}, "min_std"),
        ("bins", {"bins": 1}, "bins"),
        ("flow", {"down_dims": ()}, "down_dims"),
        ("flow", {"down_dims": (64, 100)}, "down_dims"),
        ("flow", {"denoise_steps": 0}, "denoise_steps"),
        ("diffusion", {"denoise_steps": 50, "train_steps": 20}, "denoise_steps"),
        ("transformer_decoder", {"decoder_layers": 0}, "decoder_layers"),
    ],
)
def test_impossible_heads_are_refused_by_name(kind: HeadKind, values: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError, match=f"^{path}: "):
        HeadConfig(kind, **values)  # type: ignore[arg-type]


def test_diffusion_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'diffusers"):
        head_for(VARIANTS["diffusion"])
    assert head_for(VARIANTS["flow"]).facts.multi_modal


def test_documentation_has_the_table_that_the_heads_give(documentation: str) -> None:
    assert facts_table() in documentation, f"put this table into docs/heads.md:\n{facts_table()}"
