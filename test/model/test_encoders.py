from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model import Batch, EncoderConfig, HPTPolicy, PolicyConfig
from hpt_ros.model.encoders import FrozenResNet18, ResNet18
from hpt_ros.model.encoders.images import to_network
from hpt_ros.model.encoders.spatial_softmax import SpatialSoftmax

# Of the sorted (name, shape) pairs of torchvision.models.resnet18().state_dict(), torchvision 0.28
TORCHVISION_NAMES_SHA256 = "0622374c2749e17bbf3a1f778bb98676c69fe41e275f6cb072bf1e176388c440"


def test_resnet18_has_torchvisions_names_and_shapes() -> None:
    names = sorted((name, tuple(tensor.shape)) for name, tensor in ResNet18().state_dict().items())
    assert len(names) == 122
    assert hashlib.sha256(repr(names).encode()).hexdigest() == TORCHVISION_NAMES_SHA256


def test_resnet18_gives_49_tokens_a_view_in_camera_order(embodiment: Embodiment) -> None:
    cameras = tuple(replace(camera, size_px=(224, 224)) for camera in embodiment.cameras)
    encoder = FrozenResNet18(cameras)
    images = {c.name: torch.randint(0, 256, (1, 2, 224, 224, 3), dtype=torch.uint8) for c in cameras}
    state = torch.zeros(1, 2, 8)
    features = encoder(Batch(state, images)).values
    assert features.shape == (1, 2, 2, 49, 512)
    swapped = encoder(Batch(state, {"front": images["wrist"], "wrist": images["front"]})).values
    torch.testing.assert_close(swapped, features.flip(2))


def test_frozen_encoder_stays_as_loaded_while_the_policy_trains(embodiment: Embodiment, batch: Batch) -> None:
    config = PolicyConfig(embed_dim=32, num_heads=4, encoder=EncoderConfig("resnet18", "random"))
    policy = HPTPolicy(config, embodiment).train()
    before = {name: tensor.clone() for name, tensor in policy.encoders.state_dict().items()}
    policy.loss(batch).backward()
    assert all(parameter.grad is None for parameter in policy.encoders.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.encoders.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_resnet18_loads_a_local_file(tmp_path: Path, embodiment: Embodiment, suffix: str) -> None:
    source = ResNet18().state_dict()
    path = tmp_path / f"weights{suffix}"
    torch.save(source, path) if suffix == ".pth" else save_file(source, path)
    encoder = FrozenResNet18(embodiment.cameras)
    encoder.load(path)
    assert all(torch.equal(tensor, source[name]) for name, tensor in encoder.net.state_dict().items())


def test_missing_weights_are_refused_with_the_file_and_the_command(tmp_path: Path, embodiment: Embodiment) -> None:
    path = tmp_path / "resnet18-f37072fd.pth"
    config = PolicyConfig(encoder=EncoderConfig("resnet18", str(path)))
    with pytest.raises(DataError) as refusal:
        HPTPolicy(config, embodiment)
    assert str(path) in refusal.value.message
    assert f"curl -L -o {path} https://download.pytorch.org/" in refusal.value.remedy


def test_weights_with_another_hash_than_their_name_are_refused(tmp_path: Path, embodiment: Embodiment) -> None:
    path = tmp_path / "resnet18-f37072fd.pth"
    torch.save(ResNet18().state_dict(), path)
    with pytest.raises(DataError, match="hash f37072fd"):
        FrozenResNet18(embodiment.cameras).load(path)


def test_resnet18_refuses_cameras_of_different_sizes(embodiment: Embodiment) -> None:
    front, wrist = embodiment.cameras
    with pytest.raises(ConfigError, match="size_px"):
        FrozenResNet18((front, replace(wrist, size_px=(32, 16))))


def test_spatial_softmax_reports_where_the_peak_is() -> None:
    features = torch.zeros(1, 2, 9, 17)
    features[0, 0, 0, 16] = features[0, 1, 8, 4] = 100.0
    x0, x1, y0, y1 = SpatialSoftmax()(features)[0].tolist()
    assert (x0, y0) == pytest.approx((1.0, -1.0), abs=1e-5)
    assert (x1, y1) == pytest.approx((-0.5, 1.0), abs=1e-5)


def test_cameras_of_different_sizes_are_fine_for_spatial_softmax(embodiment: Embodiment) -> None:
    front, wrist = embodiment.cameras
    policy = HPTPolicy(PolicyConfig(), replace(embodiment, cameras=(front, replace(wrist, size_px=(32, 24)))))
    images = {
        "front": torch.zeros(3, 2, 16, 16, 3, dtype=torch.uint8),
        "wrist": torch.zeros(3, 2, 32, 24, 3, dtype=torch.uint8),
    }
    assert policy.encoder("image")(Batch(torch.zeros(3, 2, 8), images)).values.shape == (3, 2, 2, 1, 128)


def test_preprocessing_scales_channels_and_keeps_their_order() -> None:
    images = torch.tensor([255, 0, 51], dtype=torch.uint8).expand(2, 3, 4, 5, 3)
    out = to_network(images, torch.tensor([0.5, 0.25, 0.0]), torch.tensor([0.5, 0.25, 1.0]))
    assert out.shape == (6, 3, 4, 5)
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([1.0, -1.0, 0.2]))


def test_preprocessing_refuses_floats_and_other_channel_counts() -> None:
    ones = torch.ones(3)
    for images in (torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 4, 4, dtype=torch.uint8)):
        with pytest.raises(DataError, match="expected uint8"):
            to_network(images, ones, ones)
