from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError
from hpt_ros.model import Batch, EncoderConfig, HPTPolicy, PolicyConfig
from hpt_ros.model.encoders import ResNet, build_encoder
from hpt_ros.model.encoders.images import to_network
from hpt_ros.model.encoders.spatial_softmax import SpatialSoftmax

RESNET18, RESNET34 = (2, 2, 2, 2), (3, 4, 6, 3)
RANDOM = EncoderConfig("resnet18", "random")


# Of the sorted (name, shape) pairs of torchvision.models.resnet18().state_dict() and resnet34(), torchvision 0.28
@pytest.mark.parametrize(
    ("blocks", "tensors", "parameters", "sha256"),
    [
        (RESNET18, 122, 11_689_512, "0622374c2749e17bbf3a1f778bb98676c69fe41e275f6cb072bf1e176388c440"),
        (RESNET34, 218, 21_797_672, "380ae48636312fffee7b18fce915055226981b283e07a22e8dda21ab622897d9"),
    ],
)
def test_resnets_have_torchvisions_names_and_shapes(
    blocks: tuple[int, int, int, int], tensors: int, parameters: int, sha256: str
) -> None:
    net = ResNet(blocks)
    names = sorted((name, tuple(tensor.shape)) for name, tensor in net.state_dict().items())
    assert len(names) == tensors
    assert sum(p.numel() for p in net.parameters()) == parameters  # torchvision's published count
    assert hashlib.sha256(repr(names).encode()).hexdigest() == sha256


def test_resnet18_gives_49_tokens_a_view_in_camera_order(embodiment: Embodiment) -> None:
    cameras = tuple(replace(camera, size_px=(224, 224)) for camera in embodiment.cameras)
    encoder = build_encoder(RANDOM, cameras, True)
    images = {c.name: torch.randint(0, 256, (1, 2, 224, 224, 3), dtype=torch.uint8) for c in cameras}
    state = torch.zeros(1, 2, 8)
    features = encoder(Batch(state, images)).values
    assert features.shape == (1, 2, 2, 49, 512)
    swapped = encoder(Batch(state, {"front": images["wrist"], "wrist": images["front"]})).values
    torch.testing.assert_close(swapped, features.flip(2))


@pytest.mark.parametrize("wrist_px", [(64, 64), (96, 64)])
def test_views_in_one_batch_are_as_one_by_one(embodiment: Embodiment, wrist_px: tuple[int, int]) -> None:
    front, wrist = embodiment.cameras
    encoder = build_encoder(RANDOM, (replace(front, size_px=(64, 64)), replace(wrist, size_px=wrist_px)), True)
    images = {
        "front": torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8),
        "wrist": torch.randint(0, 256, (2, *wrist_px, 3), dtype=torch.uint8),
    }
    calls: list[int] = []

    def count(net: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        calls.append(len(args[0]))
        return (args[0].double(),)  # float32 kernels round differently for each batch size

    encoder.net.double().register_forward_pre_hook(count)
    together = encoder.frames(images)
    assert calls == ([5] if wrist_px == (64, 64) else [3, 2])
    for name, pixels in images.items():
        alone = torch.cat([encoder.frames({name: frame[None]})[name] for frame in pixels])
        torch.testing.assert_close(together[name], alone, atol=1e-6, rtol=0)


def test_padding_of_a_smaller_view_does_not_reach_the_policy(embodiment: Embodiment, batch: Batch) -> None:
    front, wrist = embodiment.cameras
    uneven = replace(embodiment, cameras=(replace(front, size_px=(64, 64)), replace(wrist, size_px=(32, 32))))
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_heads=4, encoder=RANDOM), uneven).eval()
    images = {c.name: torch.randint(0, 256, (4, 1, *c.size_px, 3), dtype=torch.uint8) for c in uneven.cameras}
    features = policy.encode(replace(batch, images=images))
    values, keep = features["image"]
    assert keep is not None
    assert keep[0, 0].tolist() == [[True] * 4, [True, False, False, False]]
    spoilt = {**features, "image": features["image"]._replace(values=values.masked_fill(~keep[..., None], 1e3))}
    torch.testing.assert_close(policy.act(spoilt), policy.act(features))
    hidden = policy.encode(replace(batch, images=images, present={"front": torch.tensor([True, True, False, True])}))
    assert hidden["image"].keep is not None
    assert hidden["image"].keep[2, 0].tolist() == [[False] * 4, [True, False, False, False]]


@pytest.mark.parametrize(("trainable", "blocks"), [(None, False), (True, True)])
def test_trainable_changes_convolutions_and_never_the_statistics(
    embodiment: Embodiment, batch: Batch, trainable: bool | None, blocks: bool
) -> None:
    config = PolicyConfig(embed_dim=32, num_heads=4, encoder=replace(RANDOM, trainable=trainable))
    policy = HPTPolicy(config, embodiment).train()
    before = {name: buffer.clone() for name, buffer in policy.encoders.named_buffers()}
    policy.loss(batch).backward()
    gradients = {n for n, p in policy.encoder("image").named_parameters() if p.grad is not None and p.grad.any()}
    assert ("net.conv1.weight" in gradients) is blocks
    assert ("net.layer4.1.bn2.weight" in gradients) is blocks
    assert "net.fc.weight" not in gradients
    assert all(torch.equal(before[name], buffer) for name, buffer in policy.encoders.named_buffers())


def test_frozen_encoder_stays_as_loaded_while_the_policy_trains(embodiment: Embodiment, batch: Batch) -> None:
    config = PolicyConfig(embed_dim=32, num_heads=4, encoder=EncoderConfig("resnet18", "random"))
    policy = HPTPolicy(config, embodiment).train()
    before = {name: tensor.clone() for name, tensor in policy.encoders.state_dict().items()}
    policy.loss(batch).backward()
    assert all(parameter.grad is None for parameter in policy.encoders.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.encoders.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_resnet18_loads_a_local_file(tmp_path: Path, embodiment: Embodiment, suffix: str) -> None:
    source = ResNet(RESNET18).state_dict()
    path = tmp_path / f"weights{suffix}"
    torch.save(source, path) if suffix == ".pth" else save_file(source, path)
    encoder = build_encoder(EncoderConfig("resnet18", str(path)), embodiment.cameras, True)
    assert all(torch.equal(tensor, source[name]) for name, tensor in encoder.net.state_dict().items())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert encoder.source is not None
    assert encoder.source.record() == {"path": str(path), "sha256": digest}
    assert encoder.config.sha256 == digest


def test_files_without_counters_of_training_batches_load(tmp_path: Path, embodiment: Embodiment) -> None:
    source = {n: t for n, t in ResNet(RESNET18).state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(source, tmp_path / "weights.safetensors")
    encoder = build_encoder(EncoderConfig("resnet18", str(tmp_path)), embodiment.cameras, True)
    assert all(torch.equal(encoder.net.state_dict()[name], tensor) for name, tensor in source.items())


def test_weights_of_another_resnet_are_refused_by_name(tmp_path: Path, embodiment: Embodiment) -> None:
    save_file(ResNet(RESNET18).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(DataError, match=r"missing: layer1\.2\.conv1\.weight"):
        build_encoder(EncoderConfig("resnet34", str(tmp_path)), embodiment.cameras, True)


def test_weights_with_another_hash_than_configured_are_refused(tmp_path: Path, embodiment: Embodiment) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(ResNet(RESNET18).state_dict(), path)
    with pytest.raises(DataError, match=f"expected {'0' * 64}"):
        build_encoder(EncoderConfig("resnet18", str(path), sha256="0" * 64), embodiment.cameras, True)


def test_content_follows_the_features_and_not_the_place_of_the_file(tmp_path: Path, embodiment: Embodiment) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(RANDOM, embodiment.cameras, True)
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path in paths:
        save_file(encoder.net.state_dict(), path)
    a, b = (build_encoder(EncoderConfig("resnet18", str(path)), embodiment.cameras, True).content() for path in paths)
    assert a == b == encoder.content()
    with torch.no_grad():
        encoder.net.conv1.weight[0, 0, 0, 0] += 1
    assert encoder.content() != a


@pytest.mark.parametrize("frames", [torch.zeros(1, 16, 16, 3), torch.zeros(1, 16, 24, 3, dtype=torch.uint8)])
def test_frames_of_another_type_or_size_are_refused_with_the_camera(
    embodiment: Embodiment, frames: torch.Tensor
) -> None:
    encoder = build_encoder(EncoderConfig(), embodiment.cameras, True)
    with pytest.raises(DataError, match=r"camera wrist.*expected torch\.uint8 \(frames, 16, 16, 3\)"):
        encoder.frames({"wrist": frames})


def test_missing_weights_are_refused_with_the_file_and_the_command(tmp_path: Path, embodiment: Embodiment) -> None:
    path = tmp_path / "resnet18-f37072fd.pth"
    config = PolicyConfig(encoder=EncoderConfig("resnet18", str(path)))
    with pytest.raises(DataError) as refusal:
        HPTPolicy(config, embodiment)
    assert str(path) in refusal.value.message
    assert f"curl -L -o {path} https://download.pytorch.org/" in refusal.value.remedy


def test_weights_with_another_hash_than_their_name_are_refused(tmp_path: Path, embodiment: Embodiment) -> None:
    path = tmp_path / "resnet18-f37072fd.pth"
    torch.save(ResNet(RESNET18).state_dict(), path)
    with pytest.raises(DataError, match="hash f37072fd"):
        build_encoder(EncoderConfig("resnet18", str(path)), embodiment.cameras, True)


def test_spatial_softmax_reports_where_the_peak_is() -> None:
    features = torch.zeros(1, 2, 9, 17)
    features[0, 0, 0, 16] = features[0, 1, 8, 4] = 100.0
    x0, x1, y0, y1 = SpatialSoftmax()(features)[0].tolist()
    assert (x0, y0) == pytest.approx((1.0, -1.0), abs=1e-5)
    assert (x1, y1) == pytest.approx((-0.5, 1.0), abs=1e-5)


def test_spatial_softmax_of_bfloat16_is_as_exact_as_its_features() -> None:
    features = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(SpatialSoftmax()(features), SpatialSoftmax()(features.float()))


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
