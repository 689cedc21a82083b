from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment, fingerprint, load_embodiment
from hpt_ros.model import HPTPolicy, LoraConfig, PolicyConfig, load_trunk, save_checkpoint
from hpt_ros.model.parameters import count_parameters
from hpt_ros.model.provenance import trunk_line
from hpt_ros.model.trunk import Trunk


@pytest.fixture
def embodiment() -> Embodiment:
    full = load_embodiment("sim_panda")
    return replace(full, cameras=tuple(replace(camera, size_px=(16, 16)) for camera in full.cameras))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    torch.manual_seed(5)
    torch.save(Trunk(32, 2, 4, 0.1).state_dict(), folder / "trunk.pth")
    network = {"embed_dim": 32, "num_blocks": 2, "num_heads": 4}
    (folder / "config.yaml").write_text(yaml.safe_dump({"network": network}))
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path, published: Path, embodiment: Embodiment) -> Path:
    """A policy on the published trunk, one tensor of which training has changed."""
    policy = HPTPolicy(PolicyConfig(embed_dim=32, num_blocks=2, num_heads=4, lora=LoraConfig(2)), embodiment)
    report = load_trunk(policy, published)
    with torch.no_grad():
        policy.trunk.state_dict()["trunk.blocks.1.mlp.fc1.bias"].add_(0.5)
    provenance = {
        "trunk": asdict(report),
        "parameters": count_parameters(policy),
        "data": {"sets": ["demos/pick"], "hash": "0123"},
        "metrics": {"step": 40, "val_loss": 0.125},
        "seed": 1,
    }
    save_checkpoint(tmp_path / "last", policy, embodiment, provenance)
    return tmp_path / "last"


def test_checkpoint_is_summed_up_with_its_table(
    checkpoint: Path, embodiment: Embodiment, capsys: pytest.CaptureFixture[str], published: Path
) -> None:
    assert main(["inspect", str(checkpoint)]) == 0
    shown = capsys.readouterr().err
    for expected in (
        f"fingerprint {fingerprint(embodiment)}",
        f"28 of 28 tensors loaded from {published / 'trunk.pth'}",
        "demos/pick",
        '"val_loss": 0.125',
        "32 x 2 blocks x 4 heads",
        "smooth L1",
        "trunk.blocks.1.mlp.fc1.bias",
    ):
        assert expected in shown


def test_json_says_which_tensors_training_changed(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(checkpoint), "--json", "-"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in report["tensors"] if not row["unchanged"]] == ["trunk.blocks.1.mlp.fc1.bias"]
    assert report["parameters"]["trunk"]["trained"] < report["parameters"]["trunk"]["total"]
    loaded = [row for row in report["tensors"] if row["status"] == "loaded"]
    assert (len(loaded), len(report["tensors"])) == (28, 28 + 2 * 4 * 2)
    assert all(len(row["hash"]) == 16 for row in loaded)


def test_trunk_is_compared_with_its_source(
    checkpoint: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(checkpoint), "--against", str(published), "--json", "-"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)["against"]
    numbers = sum(t.numel() for t in Trunk(32, 2, 4, 0.1).state_dict().values())
    assert (found["equal"], found["compared"]) == (27, 28)
    assert found["mean_change"] == pytest.approx(0.5 * 128 / numbers)
    assert "27 of 28 tensors equal" in output.err


def test_one_changed_number_is_found(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    assert main(["inspect", str(checkpoint)]) == 5
    assert "not the weights that checkpoint.json was written with" in capsys.readouterr().err


def test_published_folder_shows_sizes_and_hashes(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(published), "--json", "-"]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["sizes"] == {"embed_dim": 32, "num_blocks": 2, "num_heads": 4}
    assert report["kind"] == "trunk"
    assert len(report["tensors"]) == 28
    assert "embed_dim 32" in output.err


def test_model_card_is_written(checkpoint: Path, tmp_path: Path) -> None:
    assert main(["inspect", str(checkpoint), "--model-card", str(tmp_path / "README.md")]) == 0
    card = (tmp_path / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["library_name"] == "hpt_ros"
    assert "28 of 28 tensors loaded" in card
    assert card.count("| loaded |") == 28


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent"], 5, "no trunk at absent"),
        (["hf://nowhere"], 2, "hf://owner/name"),
        (["absent.npz"], 5, "absent.npz"),
    ],
)
def test_nothing_to_inspect_is_refused(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", *arguments]) == code
    assert message in capsys.readouterr().err


def test_deployment_line_tells_a_loaded_trunk_from_a_random_one() -> None:
    records = {"a": {"status": "loaded"}, "b": {"status": "initialised"}, "c.lora_a": {"status": "initialised"}}
    loaded = {"trunk": {"source": "trunk.pth", "content": "12ab", "tensors": records}}
    assert trunk_line(loaded) == "trunk: 1 of 2 tensors loaded from trunk.pth, content 12ab"
    assert "none of 1 tensors loaded" in trunk_line({"trunk": loaded["trunk"] | {"tensors": {"b": records["b"]}}})
    assert "1 of 1 tensors loaded" in trunk_line({"trunk": loaded["trunk"] | {"tensors": {"a": "loaded"}}})
    assert "no record" in trunk_line({})


def test_offline_machine_is_told_what_to_download(tmp_path: Path) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hpt_ros.cli.main", "inspect", "hf://liruiw/hpt-base"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 5
    assert "hf download liruiw/hpt-base" in done.stderr
    assert str(tmp_path) in done.stderr
