from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.model import Batch, EncoderConfig, HeadConfig, HPTPolicy, PolicyConfig
from hpt_ros.model.batch import Features
from hpt_ros.model.config import Pooling
from hpt_ros.model.stem import Stem
from hpt_ros.model.trunk import Block


def test_chunk_is_unscaled_to_physical_units(policy: HPTPolicy, batch: Batch) -> None:
    chunk = policy(batch)
    assert chunk.shape == (4, 16, 8)
    assert (chunk.abs() < 1).all()
    torch.testing.assert_close(policy.scaling.action.normalize(policy.predict(batch)), chunk)


def test_loss_reads_valid_rows_only(policy: HPTPolicy, batch: Batch) -> None:
    assert batch.action is not None
    changed = batch.action.clone()
    changed[:, -3:] += 10
    assert policy.loss(replace(batch, action=changed)) == policy.loss(batch)
    changed[:, 0] += 10
    assert policy.loss(replace(batch, action=changed)) > policy.loss(batch)


def test_loss_without_any_valid_row_is_zero(policy: HPTPolicy, batch: Batch) -> None:
    assert batch.valid is not None
    assert policy.loss(replace(batch, valid=torch.zeros_like(batch.valid))) == 0


def test_views_count_by_the_embodiments_order_not_the_mappings(policy: HPTPolicy, batch: Batch) -> None:
    front, wrist = batch.images["front"], batch.images["wrist"]
    assert torch.equal(policy(batch), policy(replace(batch, images={"wrist": wrist, "front": front})))
    assert not torch.equal(policy(batch), policy(replace(batch, images={"front": wrist, "wrist": front})))


def test_encoded_once_or_in_one_pass_is_the_same(policy: HPTPolicy, batch: Batch) -> None:
    assert torch.equal(policy.act(policy.encode(batch)), policy(batch))


def test_drop_path_skips_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, drop_path=0.25).train()
    branch = block._drop(torch.ones(4000, 3, 8))
    assert set(branch.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert all(len(sample.unique()) == 1 for sample in branch[:50])
    assert abs(branch.mean() - 1) < 0.05


def test_cameraless_embodiment_is_refused(embodiment: Embodiment) -> None:
    with pytest.raises(ConfigError, match="at least one camera"):
        HPTPolicy(PolicyConfig(), replace(embodiment, cameras=()))


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"num_heads": 3}, "num_heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"pooling": "none"}, "pooling"),
        ({"modality_dropout": 1.0}, "modality_dropout"),
        ({"image_tokens": 0}, "image_tokens"),
    ],
)
def test_impossible_sizes_are_refused_by_name(values: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError, match=f"^{path}: "):
        PolicyConfig(**values)  # type: ignore[arg-type]


def test_head_needs_hidden_layers() -> None:
    with pytest.raises(ConfigError, match=r"^widths: "):
        HeadConfig(widths=())


def test_published_sizes_have_the_published_parameter_counts(embodiment: Embodiment) -> None:
    counts = {"small": 3.18e6, "base": 12.64e6, "large": 50.45e6}
    with torch.device("meta"):
        for size, expected in counts.items():
            trunk = HPTPolicy(PolicyConfig.sized(size), embodiment).trunk
            assert sum(p.numel() for p in trunk.parameters()) == pytest.approx(expected, rel=2e-3)


def test_missing_camera_is_masked_whatever_its_pixels_are(policy: HPTPolicy, batch: Batch) -> None:
    absent = {"wrist": torch.tensor([True, False, True, False])}
    other = dict(batch.images) | {"wrist": torch.randint_like(batch.images["wrist"], 0, 255)}
    here, there = policy(replace(batch, present=absent)), policy(replace(batch, present=absent, images=other))
    assert torch.equal(here[1::2], there[1::2])
    assert not torch.isclose(here[::2], there[::2]).all()
    zeros = dict(batch.images) | {"wrist": torch.zeros_like(batch.images["wrist"])}
    assert not torch.isclose(here[1], policy(replace(batch, images=zeros))[1]).all(), "masked is not zero-filled"
    present = {"wrist": torch.ones(4, dtype=torch.bool)}
    torch.testing.assert_close(policy(replace(batch, present=present)), policy(batch))


def test_sample_without_any_camera_still_has_a_finite_chunk_and_gradient(policy: HPTPolicy, batch: Batch) -> None:
    blind = {name: torch.zeros(4, dtype=torch.bool) for name in batch.images}
    loss = policy.train().loss(replace(batch, present=blind))
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in policy.parameters() if p.grad is not None)


@pytest.mark.parametrize("pooling", ["mean", "max", "last", "action_token"])
def test_every_pooling_serves_a_chunk_and_ignores_hidden_tokens(
    pooling: Pooling, embodiment: Embodiment, batch: Batch
) -> None:
    torch.manual_seed(0)
    config = PolicyConfig(embed_dim=32, num_heads=4, pooling=pooling)
    policy = HPTPolicy(config, embodiment).eval()
    assert policy(batch).shape == (4, 16, 8)
    blind = {name: torch.zeros(4, dtype=torch.bool) for name in batch.images}
    noise = {name: torch.randint_like(pixels, 0, 255) for name, pixels in batch.images.items()}
    torch.testing.assert_close(
        policy(replace(batch, present=blind)), policy(replace(batch, present=blind, images=noise)), rtol=0, atol=0
    )


def test_recomputed_blocks_give_the_same_gradient(embodiment: Embodiment, batch: Batch) -> None:
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        config = PolicyConfig(embed_dim=32, num_heads=4, drop_path=0.5, recompute_blocks=recompute)
        policy = HPTPolicy(config, embodiment).train()
        torch.autograd.backward(policy.loss(batch))
        gradients.append([p.grad for p in policy.trunk.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_resnet_needs_its_weights_named() -> None:
    with pytest.raises(ConfigError, match="weights"):
        EncoderConfig("resnet18")


@pytest.mark.parametrize("hidden", [False, True])
def test_a_folded_stem_gives_the_tokens_and_gradients_of_a_plain_one(
    monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    torch.manual_seed(0)
    stem = Stem(24, hidden=16, embed_dim=32, tokens=3, heads=2, head_dim=8, dropout=0.0)
    values = torch.randn(5, 2, 2, 4, 24)
    keep = torch.rand(5, 2, 2) > 0.4 if hidden else None
    found = []
    for limit in (1, 10**9):
        monkeypatch.setattr("hpt_ros.model.stem.FOLD_FROM", limit)
        stem.zero_grad()
        tokens = stem(Features(values, keep)).values
        tokens.square().sum().backward()
        found.append((tokens, *(p.grad for p in stem.parameters())))
    for folded, plain in zip(*found, strict=True):
        assert torch.allclose(folded, plain, atol=1e-5, rtol=1e-4)


def test_dropout_of_a_folded_stem_keeps_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpt_ros.model.stem.FOLD_FROM", 1)
    torch.manual_seed(0)
    stem = Stem(24, hidden=16, embed_dim=32, tokens=3, heads=2, head_dim=8, dropout=0.5)
    values = torch.randn(1, 1, 1, 9, 24).expand(4000, -1, -1, -1, -1)
    with torch.no_grad():
        dropped = stem.train()(Features(values)).values
        kept = stem.eval()(Features(values[:1])).values
    assert dropped.std(dim=0).mean() > 0.01
    assert torch.allclose(dropped.mean(dim=0), kept[0], atol=0.1 * kept.std().item())
