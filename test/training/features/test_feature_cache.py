"""Features of a frozen encoder: computed once, resumed, repaired, and never used where they do not belong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hpt_ros.demos import Demos, Episode
from hpt_ros.embodiment import fingerprint
from hpt_ros.embodiment.columns import ActionKind
from hpt_ros.embodiment.schema import Action
from hpt_ros.errors import DataError
from hpt_ros.model import EncoderConfig, HPTPolicy, PolicyConfig
from hpt_ros.model.encoders import ImageEncoder
from hpt_ros.training.config import AugmentationConfig
from hpt_ros.training.features import CachedFeatures, cached_features, image_hash, room
from hpt_ros.training.features import store as store_module
from hpt_ros.training.windows import Windows, all_episodes

PLAIN = AugmentationConfig()
CHANGED = AugmentationConfig(shift=0.1, brightness=0.3, copies=2)


@pytest.fixture
def stored(demos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demonstrations in memory with their images in a folder, 32 x 32 pixels; blocks of 16 rows."""
    monkeypatch.setattr(store_module, "ROWS", 16)
    images = {name: np.kron(pixels, np.ones((1, 2, 2, 1), np.uint8)) for name, pixels in demos.images.items()}
    cameras = tuple(replace(camera, size_px=(32, 32)) for camera in demos.embodiment.cameras)
    body = replace(demos.embodiment, cameras=cameras)
    stored = replace(demos, path=tmp_path / "demos", embodiment=body, images=images)
    save(stored)
    return stored


def save(demos: Any) -> None:
    (demos.path / "images").mkdir(parents=True, exist_ok=True)
    for name, pixels in demos.images.items():
        np.save(demos.path / "images" / f"{name}.npy", pixels)


@pytest.fixture
def policy(stored: Any) -> HPTPolicy:
    torch.manual_seed(0)
    encoder = EncoderConfig("resnet18", "random")
    return HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=1, num_heads=4, encoder=encoder), stored.embodiment)


@pytest.fixture
def encoder(policy: HPTPolicy) -> ImageEncoder:
    found = policy.encoder("image")
    assert isinstance(found, ImageEncoder)
    return found


def cached(sets: list[Any], *args: Any, **options: Any) -> CachedFeatures:
    return cached_features(sets, *args, images={d.path: image_hash(d.path) for d in sets}, **options)


class Counter:
    """Frames that were computed now, out of what `said` tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.blocks: list[slice] = []
        from hpt_ros.training.features import compute

        intact = compute._block

        def counting(*args: Any) -> Any:
            self.blocks.append(args[-1])
            return intact(*args)

        monkeypatch.setattr(compute, "_block", counting)


def test_cached_features_give_the_losses_of_pixels(stored: Any, policy: HPTPolicy, encoder: ImageEncoder) -> None:
    episodes = all_episodes([stored])
    features = cached([stored], encoder, PLAIN, seed=0)
    ticks = range(0, 120, 7)
    plain, from_cache = Windows(episodes).batch(ticks), Windows(episodes, None, features).batch(ticks)
    assert not from_cache.images
    assert torch.equal(from_cache.state, plain.state)
    assert torch.equal(from_cache.action, plain.action)  # type: ignore[arg-type]
    assert torch.equal(from_cache.valid, plain.valid)  # type: ignore[arg-type]
    policy.eval()
    with torch.no_grad():
        assert policy.loss(from_cache).item() == pytest.approx(policy.loss(plain).item(), abs=1e-5)
        found, expected = policy.encode(from_cache)["image"].values, policy.encode(plain)["image"].values
    assert found.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-4 * expected.abs().max().item())


def test_second_run_computes_nothing_and_a_new_image_everything(
    stored: Any, encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(monkeypatch)
    said: list[tuple[int, int]] = []
    cached([stored], encoder, PLAIN, seed=0, said=lambda *x: said.append(x))
    assert len(counter.blocks) == 8
    assert said[-1] == (240, 240)
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    cached([stored], encoder, PLAIN, seed=1)
    assert len(counter.blocks) == 8
    stored.images["front"][3, 5, 5, 0] ^= 1
    save(stored)
    cached([stored], encoder, PLAIN, seed=0)
    assert len(counter.blocks) == 16
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.001)
    cached([stored], encoder, PLAIN, seed=0)
    assert len(counter.blocks) == 24


@pytest.mark.parametrize("damage", ["block", "log", "size", "facts"])
def test_damaged_cache_is_completed_not_used(
    stored: Any, encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    cached([stored], encoder, PLAIN, seed=0)
    (folder,) = (stored.path / "features").iterdir()
    good = (folder / "features.npy").read_bytes()
    counter = Counter(monkeypatch)
    if damage == "block":
        bad = bytearray(good)
        bad[-7] ^= 1
        (folder / "features.npy").write_bytes(bad)
    elif damage == "log":
        lines = (folder / "blocks.jsonl").read_text().splitlines()
        (folder / "blocks.jsonl").write_text("\n".join(lines[:-2]) + '\n{"blo')
    elif damage == "size":
        (folder / "features.npy").write_bytes(good[:-100])
    else:
        facts = json.loads((folder / "facts.json").read_text())
        (folder / "facts.json").write_text(json.dumps(facts | {"encoder": "other"}))
    cached([stored], encoder, PLAIN, seed=0)
    assert (folder / "features.npy").read_bytes() == good
    assert len(counter.blocks) == {"block": 1, "log": 2, "size": 8, "facts": 8}[damage]


def test_changed_copies_differ_and_validation_sees_the_plain_one(stored: Any, encoder: ImageEncoder) -> None:
    episodes = all_episodes([stored])
    features = cached([stored], encoder, CHANGED, seed=0)
    assert features.copies == 3
    windows = Windows(episodes, None, features, CHANGED)
    plain = Windows(episodes, None, cached([stored], encoder, PLAIN, seed=0)).batch(range(40))
    assert torch.equal(windows.batch(range(40)).features["image"].values, plain.features["image"].values)
    drawn = windows.batch(range(40), (0, 1)).features["image"].values
    same = (drawn == plain.features["image"].values).flatten(1).all(dim=1)
    assert 0 < same.sum() < 30
    assert torch.equal(drawn, windows.batch(range(40), (0, 1)).features["image"].values)
    assert not torch.equal(drawn, windows.batch(range(40), (0, 2)).features["image"].values)


def test_cache_that_does_not_fit_is_refused_before_anything_is_computed(
    stored: Any, encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(monkeypatch)
    with monkeypatch.context() as small_disk:
        small_disk.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=room.MARGIN_BYTES + 100_000))
        with pytest.raises(DataError, match=r"needs 0\.\d MB more, and the run 268 MB; 268\.5 MB are free"):
            cached([stored], encoder, PLAIN, seed=0)
    monkeypatch.setattr(room, "available_bytes", lambda: 1_000_000)
    with pytest.raises(DataError, match="of memory"):
        cached([stored], encoder, PLAIN, seed=0)
    assert not counter.blocks
    assert not (stored.path / "features").exists()


@pytest.mark.parametrize("kind", ["joint_position", "joint_delta", "ee_pose", "ee_delta"])
def test_rows_beside_the_features_are_those_of_the_windows(kind: ActionKind, demos: Any, tmp_path: Path) -> None:
    robot = demos.embodiment
    robot = replace(robot, action=Action(kind), policy=replace(robot.policy, observation_horizon=3))
    sets, paths = [], {}
    for number in range(2):
        path = tmp_path / str(number)
        state, command, ticks = demos.state + number, demos.command + number, np.arange(len(demos.state))
        episodes = tuple(Episode(e.start, e.stop, 1.0, "reach", "", "", "", "", "") for e in demos.episodes)
        parts = episodes, {}, {}, state, command, ticks, demos.images, {}, ticks // 12
        sets.append(Demos(path, robot, fingerprint(robot), *parts))
        path.mkdir()
        rows = np.arange(len(state), dtype=np.float32) + 1000 * number
        np.save(path / "features.npy", rows[:, None, None, None])
        paths[path] = [path / "features.npy"]
    plain = Windows(all_episodes(sets))
    read = Windows(all_episodes(sets), features=CachedFeatures(paths, None))
    chosen = np.random.default_rng(0).permutation(len(plain))[:50]
    expected, found = plain.batch(chosen), read.batch(chosen)
    assert torch.equal(found.state, expected.state)
    assert torch.equal(found.valid, expected.valid)  # type: ignore[arg-type]
    torch.testing.assert_close(found.action, expected.action, rtol=0, atol=1e-6)
    for row, index in zip(found.features["image"].values, chosen, strict=True):
        number, tick = divmod(int(index), len(demos.state))
        first = tick - tick % 12
        assert row.flatten().tolist() == [1000 * number + max(tick - back, first) for back in (2, 1, 0)]
