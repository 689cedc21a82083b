from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import yaml

from hpt_ros.errors import DataError
from hpt_ros.model import HPTPolicy, initialised_trunk, load_trunk
from hpt_ros.model.trunk import Trunk


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as the authors publish them, with the sizes of the `policy` fixture."""
    torch.manual_seed(5)
    torch.save(Trunk(32, 2, 4, 0.1).state_dict(), tmp_path / "trunk.pth")
    network = {"embed_dim": 32, "num_blocks": 2, "num_heads": 4, "drop_path": 0.1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"network": network, "other": 1}))
    return tmp_path


def rewrite(published: Path, **tensors: torch.Tensor | None) -> None:
    path = published / "trunk.pth"
    state = torch.load(path, weights_only=True) | {name.replace("__", "."): t for name, t in tensors.items()}
    torch.save({name: t for name, t in state.items() if t is not None}, path)


@pytest.mark.parametrize("name", ["", "trunk.pth"])
def test_every_tensor_of_the_trunk_equals_the_file(published: Path, policy: HPTPolicy, name: str) -> None:
    file = torch.load(published / "trunk.pth", weights_only=True)
    assert not torch.equal(policy.trunk.state_dict()["trunk.blocks.0.attn.bias_k"], file["trunk.blocks.0.attn.bias_k"])
    report = load_trunk(policy, published / name)
    assert all(torch.equal(tensor, file[key]) for key, tensor in policy.trunk.state_dict().items())
    assert report.tensors == dict.fromkeys(file, "loaded")
    assert len(report.tensors) == 28
    assert report.source == str(published / "trunk.pth")


def test_report_tells_a_loaded_trunk_from_an_initialised_one(published: Path, policy: HPTPolicy) -> None:
    before = initialised_trunk(policy)
    after = load_trunk(policy, published)
    assert set(before.tensors.values()) == {"initialised"}
    assert before.content != after.content == initialised_trunk(policy).content


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"trunk__blocks__1__norm_2__bias": None}, "missing: trunk.blocks.1.norm_2.bias"),
        ({"trunk__blocks__2__norm_1__bias": torch.zeros(32)}, "unexpected: trunk.blocks.2.norm_1.bias"),
        ({"trunk__blocks__1__norm_2__bias": torch.zeros(16)}, "shape of trunk.blocks.1.norm_2.bias"),
        ({"trunk__blocks__1__norm_2__bias": torch.full((32,), torch.nan)}, "trunk.blocks.1.norm_2.bias holds NaN"),
        ({"trunk__blocks__1__norm_2__bias": torch.zeros(32, dtype=torch.float64)}, "differs from the file"),
    ],
)
def test_trunk_that_does_not_fit_exactly_is_refused(
    published: Path, policy: HPTPolicy, tensors: dict[str, torch.Tensor | None], message: str
) -> None:
    rewrite(published, **tensors)
    with pytest.raises(DataError) as refusal:
        load_trunk(policy, published)
    assert message in refusal.value.message


def test_number_of_heads_is_compared_though_no_tensor_shows_it(published: Path, policy: HPTPolicy) -> None:
    (published / "config.yaml").write_text(yaml.safe_dump({"network": {"num_heads": 8}}))
    with pytest.raises(DataError, match="num_heads: the file has 8, the policy 4"):
        load_trunk(policy, published)


def test_folder_without_trunk_is_refused(tmp_path: Path, policy: HPTPolicy) -> None:
    with pytest.raises(DataError, match="no trunk at"):
        load_trunk(policy, tmp_path)


class Payload:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


def test_code_in_a_weight_file_is_refused_and_not_run(
    published: Path, policy: HPTPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(published)
    torch.save({"trunk.blocks.0.attn.bias_k": Payload()}, published / "trunk.pth")
    with pytest.raises(DataError, match="not a readable weight file"):
        load_trunk(policy, published)
    assert not (published / "executed").exists()
