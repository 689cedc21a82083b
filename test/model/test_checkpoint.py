from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model import Batch, EncoderConfig, HPTPolicy, PolicyConfig, load_checkpoint, save_checkpoint
from hpt_ros.model import checkpoint as checkpoint_module


@pytest.fixture
def saved(tmp_path: Path, policy: HPTPolicy, embodiment: Embodiment) -> Path:
    save_checkpoint(tmp_path / "last", policy, embodiment, {"seed": 3})
    return tmp_path / "last"


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def edit_description(folder: Path, **values: Any) -> None:
    path = folder / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_round_trip_gives_bit_equal_chunks(
    saved: Path, policy: HPTPolicy, embodiment: Embodiment, batch: Batch
) -> None:
    loaded = load_checkpoint(saved)
    assert torch.equal(loaded.policy.predict(batch), policy.predict(batch))
    assert loaded.embodiment == embodiment
    assert loaded.provenance == {"seed": 3}
    assert not loaded.policy.training


def test_checkpoint_of_a_frozen_encoder_needs_no_weight_file(
    tmp_path: Path, embodiment: Embodiment, batch: Batch
) -> None:
    weights = tmp_path / "resnet.pth"
    random = HPTPolicy(PolicyConfig(encoder=EncoderConfig("resnet18", "random")), embodiment)
    torch.save(random.encoders["sim_panda_image"].net.state_dict(), weights)
    policy = HPTPolicy(PolicyConfig(encoder=EncoderConfig("resnet18", str(weights))), embodiment).eval()
    save_checkpoint(tmp_path / "last", policy, embodiment, {})
    weights.unlink()
    assert torch.equal(load_checkpoint(tmp_path / "last").policy(batch), policy(batch))


def test_saving_again_replaces_the_whole_folder(saved: Path, policy: HPTPolicy, embodiment: Embodiment) -> None:
    (saved / "stray").touch()
    save_checkpoint(saved, policy, embodiment, {"seed": 4})
    assert load_checkpoint(saved).provenance == {"seed": 4}
    assert sorted(path.name for path in saved.iterdir()) == ["checkpoint.json", "model.safetensors"]
    assert [path.name for path in saved.parent.iterdir()] == ["last"]


@pytest.mark.parametrize("moment", ["while writing", "while swapping"])
def test_interrupted_save_leaves_the_checkpoint_that_was_there(
    saved: Path, policy: HPTPolicy, embodiment: Embodiment, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    rename = Path.rename

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupted_rename(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    if moment == "while writing":
        monkeypatch.setattr(checkpoint_module, "save", interrupt)
    else:
        monkeypatch.setattr(Path, "rename", interrupted_rename)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, policy, embodiment, {"seed": 4})
    assert load_checkpoint(saved).provenance == {"seed": 3}
    assert [path.name for path in saved.parent.iterdir()] == ["last"]


def test_missing_left_over_and_misshapen_tensors_are_all_named(saved: Path) -> None:
    def edit(tensors: dict[str, torch.Tensor]) -> None:
        tensors["heads.other.net.0.bias"] = tensors.pop("heads.sim_panda.net.0.bias")
        tensors["stems.sim_panda_state.tokens"] = torch.zeros(1, 3, 32)

    edit_tensors(saved, edit)
    with pytest.raises(DataError) as refusal:
        load_checkpoint(saved)
    assert "missing: heads.sim_panda.net.0.bias" in refusal.value.message
    assert "unexpected: heads.other.net.0.bias" in refusal.value.message
    assert "stems.sim_panda_state.tokens: found (1, 3, 32), expected (1, 16, 32)" in refusal.value.message


def test_weights_that_are_not_finite_are_refused_by_name(saved: Path) -> None:
    edit_tensors(saved, lambda tensors: tensors["heads.sim_panda.net.0.bias"].fill_(float("nan")))
    with pytest.raises(DataError, match=r"heads\.sim_panda\.net\.0\.bias holds NaN"):
        load_checkpoint(saved)


def test_weights_of_another_checkpoint_are_refused(saved: Path) -> None:
    edit_tensors(saved, lambda tensors: tensors["heads.sim_panda.net.0.bias"].add_(1))
    with pytest.raises(DataError, match="not the weights"):
        load_checkpoint(saved)


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_truncated_weights_are_refused(saved: Path, keep: int) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"model\.safetensors: not a readable weight file"):
        load_checkpoint(saved)


def test_damaged_description_is_refused(saved: Path) -> None:
    (saved / "checkpoint.json").write_text('{"format": 1')
    with pytest.raises(DataError, match=r"checkpoint\.json"):
        load_checkpoint(saved)


def test_newer_format_is_refused(saved: Path) -> None:
    edit_description(saved, format=2)
    with pytest.raises(DataError, match="format 2"):
        load_checkpoint(saved)


def test_fingerprint_of_another_embodiment_is_refused(saved: Path) -> None:
    edit_description(saved, fingerprint="0" * 16)
    with pytest.raises(DataError, match="disagree"):
        load_checkpoint(saved)


def test_unknown_setting_is_refused_with_its_path(saved: Path) -> None:
    edit_description(saved, policy={"emded_dim": 32})
    with pytest.raises(ConfigError, match=r"policy\.emded_dim"):
        load_checkpoint(saved)


def test_folder_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no checkpoint at"):
        load_checkpoint(tmp_path)
