from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hpt_ros.embodiment import DepthCamera, Embodiment
from hpt_ros.embodiment.schema import Timing
from hpt_ros.errors import DataError
from hpt_ros.model import Batch, Checkpoint, HPTPolicy, PolicyConfig, PolicyRunner
from hpt_ros.model.encoders.depth import DepthEncoder, scaled
from hpt_ros.streams import Observation

CONFIG = PolicyConfig(embed_dim=32, num_blocks=2, num_heads=4, depth_tokens=5)
TIMING = Timing(rate_hz=30, max_age_s=0.2, allowance_s=0.0)
NEAR = DepthCamera("near", "/near/depth", (16, 24), (0.2, 1.2), TIMING)
FAR = DepthCamera("far", "/far/depth", (9, 8), (0.5, 4.0), TIMING)


@pytest.fixture
def robot(embodiment: Embodiment) -> Embodiment:
    """The small embodiment with two depth cameras of different size and range."""
    return replace(embodiment, depth=(NEAR, FAR))


@pytest.fixture
def seeing(robot: Embodiment) -> HPTPolicy:
    torch.manual_seed(0)
    policy = HPTPolicy(CONFIG, robot)
    rows = np.random.default_rng(0).uniform(-1, 1, (50, len(robot.state_names)))
    policy.scaling.fit(rows, rows * 0.5)
    return policy.eval()


@pytest.fixture
def measured(batch: Batch) -> Batch:
    """Four windows with depth, a fifth of it not measured."""
    rng = np.random.default_rng(2)

    def maps(camera: DepthCamera) -> Tensor:
        millimetres = rng.integers(150, 4000, (4, 1, *camera.size_px), dtype=np.uint16)
        return torch.from_numpy(np.where(rng.random(millimetres.shape) < 0.2, 0, millimetres).astype(np.uint16))

    return replace(batch, depth={camera.name: maps(camera) for camera in (NEAR, FAR)})


def test_distance_is_scaled_by_the_range_and_what_was_not_measured_is_told_apart() -> None:
    millimetres = torch.tensor([[[0, 100, 200, 700, 1200, 65535]]], dtype=torch.uint16)
    distance, seen = scaled(millimetres, (0.2, 1.2))[0]
    torch.testing.assert_close(distance[0], torch.tensor([0.0, -1.0, -1.0, 0.0, 1.0, 1.0]))
    assert seen[0].tolist() == [0, 1, 1, 1, 1, 1]


def test_tokens_of_depth_come_last(seeing: HPTPolicy, measured: Batch) -> None:
    assert seeing.modalities == ("image", "state", "depth")
    features = seeing.encode(measured)
    assert features["depth"].values.shape == (4, 1, 2, 16, 64)
    farther = replace(measured, depth={name: maps.clone() for name, maps in measured.depth.items()})
    farther.depth["near"][:] = 900
    with torch.no_grad():
        before, after = (seeing.tokens(seeing.encode(b)).values for b in (measured, farther))
    assert before.shape[1] == 16 + 16 + 5
    torch.testing.assert_close(before[:, :32], after[:, :32], rtol=0, atol=0)
    assert (before[:, 32:] - after[:, 32:]).abs().amax() > 1e-4


def test_without_depth_cameras_a_policy_is_what_it_was(embodiment: Embodiment, seeing: HPTPolicy) -> None:
    plain = HPTPolicy(CONFIG, embodiment)
    assert plain.modalities == ("image", "state")
    added = set(seeing.state_dict()) - set(plain.state_dict())
    assert added
    assert all("_depth." in name for name in added)


def test_a_missing_depth_camera_is_not_looked_at(seeing: HPTPolicy, measured: Batch) -> None:
    present = {"far": torch.tensor([True, False, True, False])}
    other = {**measured.depth, "far": measured.depth["far"].clone()}
    other["far"][:] = 3000
    with torch.no_grad():
        chunks = [seeing(replace(measured, depth=d, present=present)) for d in (measured.depth, other)]
    torch.testing.assert_close(chunks[0][[1, 3]], chunks[1][[1, 3]], rtol=0, atol=0)
    assert (chunks[0][[0, 2]] - chunks[1][[0, 2]]).abs().amax() > 1e-6


def test_a_sample_without_any_depth_acts_on_the_rest(seeing: HPTPolicy, measured: Batch) -> None:
    nothing = torch.zeros(4, dtype=torch.bool)
    blind = replace(measured, present={"near": nothing, "far": nothing})
    tokens = seeing.tokens(seeing.encode(blind))
    assert tokens.keep is not None
    assert tokens.keep[:, :32].all()
    assert not tokens.keep[:, 32:].any()
    assert torch.isfinite(seeing(blind)).all()


def test_every_part_of_depth_learns(seeing: HPTPolicy, measured: Batch) -> None:
    seeing.train().loss(measured).backward()
    parts = {name: p.grad for name, p in seeing.named_parameters() if "_depth." in name}
    assert all(grad is not None and grad.abs().sum() > 0 for grad in parts.values()), parts


def test_history_is_told_apart(robot: Embodiment) -> None:
    encoder = DepthEncoder(robot.depth)
    depth = {c.name: torch.full((2, 3, *c.size_px), 1000, dtype=torch.uint16) for c in robot.depth}
    depth["near"][:, 1] = 400
    values = encoder(Batch(torch.zeros(2, 3, 8), depth=depth)).values
    assert values.shape == (2, 3, 2, 16, 64)
    torch.testing.assert_close(values[:, 0], values[:, 2])
    assert (values[:, 0, 0] - values[:, 1, 0]).abs().amax() > 1e-4
    torch.testing.assert_close(values[:, 0, 1], values[:, 1, 1])


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        ({"near": torch.zeros(4, 1, 16, 24, dtype=torch.uint16)}, "no depth of camera far; the batch has near"),
        ({"near": torch.zeros(4, 1, 16, 24)}, "depth camera near: torch.float32"),
        ({"near": torch.zeros(4, 1, 24, 16, dtype=torch.uint16)}, r"shape \(4, 1, 24, 16\); expected .* 16, 24\)"),
    ],
)
def test_depth_of_another_kind_is_refused_by_camera(
    seeing: HPTPolicy, batch: Batch, depth: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        seeing(replace(batch, depth=depth))


def test_a_runner_acts_on_the_depth_of_an_observation(seeing: HPTPolicy, robot: Embodiment, measured: Batch) -> None:
    runner = PolicyRunner(Checkpoint(seeing, robot, {}), threads=1)
    observation = Observation(
        0,
        measured.state[0].numpy(),
        {name: pixels[0].numpy() for name, pixels in measured.images.items()},
        {},
        {name: maps[0].numpy() for name, maps in measured.depth.items()},
    )
    chunk = runner.act(observation)
    torch.testing.assert_close(torch.from_numpy(chunk), seeing.predict(measured)[0], rtol=0, atol=1e-5)
    with pytest.raises(DataError, match="depth camera far"):
        runner.act(replace(observation, depth={"near": observation.depth["near"]}))
