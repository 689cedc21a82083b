from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hpt_ros.control.commitment import Committed
from hpt_ros.embodiment import Embodiment
from hpt_ros.embodiment.columns import ActionKind
from hpt_ros.embodiment.schema import Action
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model import Batch, Checkpoint, HeadConfig, HPTPolicy, PolicyConfig, PolicyRunner


@dataclass(frozen=True)
class Seen:
    state: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]


@pytest.fixture
def seen(batch: Batch) -> Seen:
    return Seen(batch.state[0].numpy(), {name: pixels[0].numpy() for name, pixels in batch.images.items()})


@pytest.fixture
def runner(policy: HPTPolicy, embodiment: Embodiment) -> PolicyRunner:
    return PolicyRunner(Checkpoint(policy.train(), embodiment, {}))


def test_chunk_is_what_the_policy_predicts_in_evaluation_mode(
    runner: PolicyRunner, seen: Seen, policy: HPTPolicy, batch: Batch
) -> None:
    chunk = runner.act(seen)
    assert chunk.dtype == np.float32
    assert chunk.shape == (16, 8)
    assert not policy.training
    torch.testing.assert_close(torch.from_numpy(chunk), policy.predict(batch)[0], rtol=0, atol=1e-6)


def test_observation_of_another_shape_or_type_is_refused_by_name(runner: PolicyRunner, seen: Seen) -> None:
    wrong = [
        (replace(seen, state=seen.state[:, :-1]), r"state: found float32 \(1, 7\), expected float32 \(1, 8\)"),
        (replace(seen, state=seen.state.astype(np.float64)), "state: found float64"),
        (replace(seen, images={"front": seen.images["front"]}), "lacks camera wrist"),
        (replace(seen, images=seen.images | {"wrist": seen.images["wrist"][:, ::2]}), "camera wrist"),
        (replace(seen, images=seen.images | {"wrist": seen.images["wrist"].astype(np.float32)}), "camera wrist"),
        (replace(seen, state=np.full_like(seen.state, np.nan)), "state is not finite"),
    ]
    for observation, message in wrong:
        with pytest.raises(DataError, match=message):
            runner.act(observation)


def test_action_stays_in_the_demonstrated_range(policy: HPTPolicy, embodiment: Embodiment, seen: Seen) -> None:
    stats = policy.scaling.action.input_stats
    stats.max.copy_(stats.min + 0.01)
    chunk = PolicyRunner(Checkpoint(policy, embodiment, {})).act(seen)
    assert (chunk >= stats.min.numpy()).all()
    assert (chunk <= stats.max.numpy()).all()
    assert (chunk == stats.max.numpy()).any()


def test_action_that_is_not_finite_never_leaves(policy: HPTPolicy, embodiment: Embodiment, seen: Seen) -> None:
    with torch.no_grad():
        policy.heads["sim_panda"].net[0].bias.fill_(torch.nan)
    runner = PolicyRunner(Checkpoint(policy, embodiment, {}))
    with pytest.raises(DataError, match="not finite"):
        runner.act(seen)


def flow_checkpoint(embodiment: Embodiment) -> Checkpoint:
    torch.manual_seed(0)
    head = HeadConfig("flow", down_dims=(8,), denoise_steps=4)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4, head=head), embodiment)
    rows = np.random.default_rng(0).uniform(-1, 1, (50, 8))
    policy.scaling.fit(rows, rows * 0.5)
    return Checkpoint(policy.eval(), embodiment, {})


@pytest.mark.parametrize("kind", ["joint_position", "joint_delta"])
def test_a_chunk_goes_on_from_the_rows_that_are_committed(embodiment: Embodiment, seen: Seen, kind: ActionKind) -> None:
    """Of the same noise: it ends nearer to them than without, in whatever the policy's rows are."""
    runner = PolicyRunner(flow_checkpoint(replace(embodiment, action=Action(kind))), rtc=True)
    runner.seed(1)
    committed = Committed(runner.act(seen), np.ones(16))
    chunks = []
    for given in (None, committed):
        runner.seed(2)
        chunks.append(runner.act(seen, given))
    free, resumed = (np.abs(chunk - committed.rows).mean() for chunk in chunks)
    assert resumed < 0.7 * free


def test_a_head_that_cannot_go_on_is_refused_at_load(policy: HPTPolicy, embodiment: Embodiment) -> None:
    with pytest.raises(ConfigError, match=r"(?s)^rtc: found 'a policy with head.kind mlp'.*diffusion or flow"):
        PolicyRunner(Checkpoint(policy, embodiment, {}), rtc=True)
