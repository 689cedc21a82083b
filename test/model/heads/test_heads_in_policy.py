"""Every head as part of a policy: trained, saved, served."""

from __future__ import annotations

import math

import pytest
import torch

from hpt_ros.configuration import from_mapping, to_mapping
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.model import Batch, HeadConfig, HPTPolicy, PolicyConfig
from hpt_ros.model.config import TOKEN_HEADS, HeadKind, Pooling
from hpt_ros.model.heads.build import HEADS
from hpt_ros.training import load_finetune_config


def config_of(kind: HeadKind, pooling: Pooling | None = None) -> PolicyConfig:
    head = HeadConfig(kind, widths=(32, 16), down_dims=(8, 16), denoise_steps=3)
    pooling = pooling or ("none" if kind in TOKEN_HEADS else "mean")
    return PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4, dropout=0.0, drop_path=0.0, pooling=pooling, head=head)


@pytest.fixture(params=[*((kind, None) for kind in HEADS), ("transformer_decoder", "action_token")], ids=str)
def policy(request: pytest.FixtureRequest, embodiment: Embodiment, batch: Batch) -> HPTPolicy:
    torch.manual_seed(0)
    assert batch.action is not None
    policy = HPTPolicy(config_of(*request.param), embodiment)
    policy.scaling.fit(batch.state.flatten(0, 1).numpy(), batch.action.flatten(0, 1).numpy())
    return policy


def test_policy_learns_a_batch_and_predicts_inside_the_demonstrated_range(policy: HPTPolicy, batch: Batch) -> None:
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = policy.train().loss(batch)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert all(map(math.isfinite, losses))
    assert sum(losses[-5:]) < sum(losses[:5])
    with torch.no_grad():
        chunk = policy.eval().predict(batch, torch.Generator().manual_seed(0))
    limits = policy.scaling.action.input_stats
    assert chunk.shape == (4, policy.rows, 8)
    assert (chunk >= limits.min - 1e-5).all()
    assert (chunk <= limits.max + 1e-5).all()


def test_configuration_and_tensors_bring_the_policy_back(
    policy: HPTPolicy, embodiment: Embodiment, batch: Batch
) -> None:
    config = from_mapping(PolicyConfig, to_mapping(policy.config))
    other = HPTPolicy(config, embodiment)
    other.load_state_dict(policy.state_dict(), strict=True)
    chunks = [p.eval().predict(batch, torch.Generator().manual_seed(0)) for p in (policy, other)]
    assert torch.equal(*chunks)


@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind not in TOKEN_HEADS])
def test_heads_that_read_a_vector_refuse_tokens(kind: HeadKind) -> None:
    with pytest.raises(ConfigError, match=rf"^pooling: .*head\.kind {kind}"):
        config_of(kind, "none")


def test_diffusion_preset_is_the_published_head_on_the_real_robots_recipe() -> None:
    real, diffusion = load_finetune_config("real_robot"), load_finetune_config("diffusion")
    head = diffusion.policy.head
    assert (head.kind, head.down_dims, head.train_steps, head.denoise_steps) == ("diffusion", (64, 128), 100, 10)
    assert diffusion.policy.encoder == real.policy.encoder
    assert diffusion.policy.embed_dim == real.policy.embed_dim
    assert diffusion.optimizer == real.optimizer
