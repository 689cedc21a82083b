"""DINOv2 and SigLIP, with tiny networks of the real classes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model import Batch, EncoderConfig, HPTPolicy, PolicyConfig, PolicyRunner, load_checkpoint, save_checkpoint
from hpt_ros.model.encoders import build_encoder
from hpt_ros.model.encoders.images import to_network

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PX = (32, 16)


def _dinov2(folder: Path) -> PreTrainedModel:
    return _saved(Dinov2Model(Dinov2Config(**SMALL, image_size=24, patch_size=8)), folder)


def _registers(folder: Path) -> PreTrainedModel:
    config = Dinov2WithRegistersConfig(**SMALL, image_size=24, patch_size=8, num_register_tokens=3)
    return _saved(Dinov2WithRegistersModel(config), folder)


def _siglip(folder: Path) -> PreTrainedModel:
    config = SiglipVisionConfig(**SMALL, intermediate_size=64, image_size=24, patch_size=8)
    return _saved(SiglipVisionModel(config), folder)


def _whole_siglip(folder: Path) -> PreTrainedModel:
    """Text and vision in one file, as published."""
    tower = {**SMALL, "intermediate_size": 64}
    text = {**tower, "vocab_size": 50, "projection_size": 32, "bos_token_id": 1, "eos_token_id": 2}
    config = SiglipConfig(text_config=text, vision_config={**tower, "image_size": 24, "patch_size": 8})
    return _saved(SiglipModel(config), folder).vision_model


def _saved(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    model.save_pretrained(folder)
    return model.eval()


MAKERS = {
    "dinov2": (_dinov2, 1),
    "registers": (_registers, 4),
    "siglip": (_siglip, 0),
    "whole siglip": (_whole_siglip, 0),
}
KINDS = {"dinov2": "dinov2", "registers": "dinov2", "siglip": "siglip", "whole siglip": "siglip"}


@pytest.fixture
def cameras(embodiment: Embodiment) -> Embodiment:
    """Two cameras whose sides are multiples of the patch, and other than the network was made for."""
    return replace(embodiment, cameras=tuple(replace(camera, size_px=PX) for camera in embodiment.cameras))


@pytest.fixture
def views(batch: Batch) -> Batch:
    return replace(batch, images={n: torch.randint(0, 256, (4, 1, *PX, 3), dtype=torch.uint8) for n in batch.images})


def _config(name: str, folder: Path, **others: object) -> EncoderConfig:
    return EncoderConfig(KINDS[name], str(folder), **others)  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize("name", MAKERS)
def test_features_are_the_patch_tokens_of_the_network(name: str, tmp_path: Path, cameras: Embodiment) -> None:
    make, skip = MAKERS[name]
    model = make(tmp_path)
    encoder = build_encoder(_config(name, tmp_path), cameras.cameras, True)
    images = {c.name: torch.randint(0, 256, (2, *PX, 3), dtype=torch.uint8) for c in cameras.cameras}
    features = encoder.frames(images)
    for camera, pixels in images.items():
        normal = to_network(pixels, encoder.mean, encoder.std)
        options = {"interpolate_pos_encoding": True} if KINDS[name] == "siglip" else {}
        expected = model(pixel_values=normal, **options).last_hidden_state[:, skip:]
        assert expected.shape == (2, 4 * 2, 32)
        torch.testing.assert_close(features[camera], expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_tokens_lie_where_their_patches_lie(tmp_path: Path, cameras: Embodiment) -> None:
    """Row by row: without layers between, a token depends on its own patch alone."""
    _saved(Dinov2Model(Dinov2Config(**{**SMALL, "num_hidden_layers": 0}, image_size=24, patch_size=8)), tmp_path)
    encoder = build_encoder(_config("dinov2", tmp_path), cameras.cameras, True)
    dark = torch.zeros(1, *PX, 3, dtype=torch.uint8)
    lit = dark.clone()
    lit[0, 8:16, 8:16] = 255  # second row, second column of 4 x 2
    change = (encoder.frames({"front": lit})["front"] - encoder.frames({"front": dark})["front"]).abs().amax((0, 2))
    assert (change > 1e-4).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("name", ["registers", "whole siglip"])
def test_checkpoint_serves_where_the_weights_are_gone(
    name: str, tmp_path: Path, cameras: Embodiment, views: Batch
) -> None:
    folder = tmp_path / "tower"
    MAKERS[name][0](folder)
    config = PolicyConfig(embed_dim=32, num_heads=4, encoder=_config(name, folder))
    policy = HPTPolicy(config, cameras).eval()
    save_checkpoint(tmp_path / "checkpoint", policy, cameras, {})
    torch.save((views.state, dict(views.images)), tmp_path / "views.pt")
    shutil.rmtree(folder)
    program = f"""
import os, torch
os.environ["HF_HUB_OFFLINE"] = "1"
from hpt_ros.model import Batch, load_checkpoint
policy = load_checkpoint({str(tmp_path / "checkpoint")!r}).policy
with torch.no_grad():
    torch.save(policy(Batch(*torch.load({str(tmp_path / "views.pt")!r}))), {str(tmp_path / "out.pt")!r})
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "out.pt"), policy(views), atol=1e-6, rtol=1e-5)
    stored = load_checkpoint(tmp_path / "checkpoint").policy.config.encoder
    assert stored == policy.config.encoder
    assert len(stored.sha256) == 64


@pytest.mark.parametrize("trainable", [False, True])
def test_only_a_trainable_tower_has_gradients(
    tmp_path: Path, cameras: Embodiment, views: Batch, trainable: bool
) -> None:
    _dinov2(tmp_path)
    encoder = _config("dinov2", tmp_path, trainable=trainable)
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_heads=4, encoder=encoder), cameras).train()
    policy.loss(views).backward()
    gradients = {n for n, p in policy.encoder("image").named_parameters() if p.grad is not None and p.grad.any()}
    assert ("net.model.embeddings.patch_embeddings.projection.weight" in gradients) is trainable
    assert policy.encoder("image").net.training is trainable


def test_sizes_that_are_no_multiple_of_the_patch_are_refused(tmp_path: Path, embodiment: Embodiment) -> None:
    _dinov2(tmp_path)
    front, wrist = embodiment.cameras
    with pytest.raises(ConfigError, match=r"cameras\.wrist\.size_px.*\[20, 16\].*multiples.*8"):
        build_encoder(_config("dinov2", tmp_path), (front, replace(wrist, size_px=(20, 16))), True)


def test_another_hash_than_configured_is_refused(tmp_path: Path, cameras: Embodiment) -> None:
    _dinov2(tmp_path)
    with pytest.raises(DataError, match=f"expected {'0' * 64}"):
        build_encoder(_config("dinov2", tmp_path, sha256="0" * 64), cameras.cameras, True)


def test_missing_and_left_over_tensors_are_refused_by_name(tmp_path: Path, cameras: Embodiment) -> None:
    _dinov2(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["surplus"] = tensors.pop("layernorm.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"(?s)missing: layernorm\.weight.*unexpected: surplus"):
        build_encoder(_config("dinov2", tmp_path), cameras.cameras, True)


def test_pickled_weights_are_never_read(tmp_path: Path, cameras: Embodiment) -> None:
    model = _dinov2(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"no \.safetensors file"):
        build_encoder(_config("dinov2", tmp_path), cameras.cameras, True)


def test_a_network_of_another_kind_is_refused(tmp_path: Path, cameras: Embodiment) -> None:
    _siglip(tmp_path)
    with pytest.raises(ConfigError, match=r"siglip_vision_model.*dinov2"):
        build_encoder(EncoderConfig("dinov2", str(tmp_path)), cameras.cameras, True)


def test_missing_folder_is_refused_with_the_command(tmp_path: Path, cameras: Embodiment) -> None:
    with pytest.raises(DataError) as refusal:
        build_encoder(_config("dinov2", tmp_path / "gone"), cameras.cameras, True)
    assert str(tmp_path / "gone") in refusal.value.message
    assert f"hf download facebook/dinov2-base --local-dir {tmp_path / 'gone'}" in refusal.value.remedy


def test_offline_hub_is_refused_with_the_command(
    tmp_path: Path, cameras: Embodiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError) as refusal:
        build_encoder(EncoderConfig("siglip", "hf://google/siglip-base-patch16-224@main"), cameras.cameras, True)
    assert "hf://google/siglip-base-patch16-224" in refusal.value.message
    assert "hf download google/siglip-base-patch16-224 --revision main" in refusal.value.remedy


def test_random_towers_need_sizes(cameras: Embodiment) -> None:
    with pytest.raises(ConfigError, match="tower"):
        EncoderConfig("dinov2", "random")
    sizes = json.loads(json.dumps(Dinov2Config(**SMALL, image_size=24, patch_size=8).to_dict()))
    encoder = build_encoder(EncoderConfig("dinov2", "random", tower=sizes), cameras.cameras, True)
    assert encoder.feature_dim == 32


@torch.no_grad()
@pytest.mark.parametrize("name", ["dinov2", "siglip"])
def test_runner_serves_what_the_policy_computes(name: str, tmp_path: Path, cameras: Embodiment, views: Batch) -> None:
    """With views of two sizes, whose tokens differ in number."""
    MAKERS[name][0](tmp_path / "tower")
    front, wrist = cameras.cameras
    uneven = replace(cameras, cameras=(front, replace(wrist, size_px=(16, 8))))
    policy = HPTPolicy(
        PolicyConfig(embed_dim=32, num_heads=4, encoder=_config(name, tmp_path / "tower")), uneven
    ).eval()
    policy.scaling.fit(*(torch.rand(50, 8).numpy() for _ in range(2)))
    save_checkpoint(tmp_path / "checkpoint", policy, uneven, {})
    images = {**views.images, "wrist": views.images["wrist"][:, :, :16, :8]}
    observation = SimpleNamespace(
        state=views.state[0].numpy(), images={n: v[0].contiguous().numpy() for n, v in images.items()}, depth={}
    )
    chunk = PolicyRunner(load_checkpoint(tmp_path / "checkpoint"), 1).act(observation)
    seen = policy.scaling.action.input_stats
    expected = policy.predict(replace(views, images=images))[0].clamp(seen.min, seen.max)
    torch.testing.assert_close(torch.from_numpy(chunk), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("dinov2", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("registers", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("siglip", [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
    ],
)
def test_pixels_are_scaled_as_the_network_was_trained(
    name: str, mean: list[float], std: list[float], tmp_path: Path, cameras: Embodiment
) -> None:
    """As preprocessor_config.json says in facebook/dinov2-base, its variant with registers, and siglip-base."""
    MAKERS[name][0](tmp_path)
    encoder = build_encoder(_config(name, tmp_path), cameras.cameras, True)
    assert encoder.mean.tolist() == pytest.approx(mean)
    assert encoder.std.tolist() == pytest.approx(std)
