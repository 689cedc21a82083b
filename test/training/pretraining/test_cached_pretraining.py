"""Features of a frozen encoder in pre-training: the same trunk, each frame encoded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpt_ros.errors import DataError
from hpt_ros.model import EncoderConfig
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.model.weights import read_tensors
from hpt_ros.training import need
from hpt_ros.training.pretraining import PretrainConfig, pretrain


@pytest.fixture
def frozen(settings: PretrainConfig) -> PretrainConfig:
    encoder = EncoderConfig("resnet18", "random")
    return replace(settings, policy=replace(settings.policy, encoder=encoder), steps=6)


def test_cached_features_give_the_trunk_that_pixels_give(
    frozen: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    intact = ImageEncoder.frames

    def counting(self: ImageEncoder, images: Any) -> Any:
        encoded.append(sum(map(len, images.values())))
        return intact(self, images)

    monkeypatch.setattr(ImageEncoder, "frames", counting)
    said: list[tuple[int, int]] = []
    pretrain(frozen, tmp_path / "cached", caching=lambda *frames: said.append(frames))
    frames = 120 * 2 + 36 * 2 + 60  # of two cameras, two cameras, and one
    assert said[-1][0] == said[-1][1]
    few = 60  # what is encoded to try the network, and for the prediction of memory
    assert frames <= sum(encoded) < frames + few
    encoded.clear()
    pretrain(frozen, tmp_path / "again")
    assert sum(encoded) < few
    pretrain(replace(frozen, cache_features=False), tmp_path / "pixels")
    cached, again, pixels = (
        read_tensors(tmp_path / run / "last" / "trunk.pth") for run in ("cached", "again", "pixels")
    )
    for name, tensor in pixels.items():
        assert (cached[name] - again[name]).abs().max() == 0
        assert (cached[name] - tensor).abs().max() < 1e-4, name


def test_too_little_memory_is_refused_before_a_run_is_touched(
    settings: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(need, "available_bytes", lambda: 1_000_000)
    with pytest.raises(DataError, match="of memory"):
        pretrain(settings, tmp_path / "run")
    assert list(tmp_path.glob("run*")) == []
