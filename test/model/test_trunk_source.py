from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError
from hpt_ros.model import HPTPolicy, initialised_trunk, load_trunk, save_checkpoint
from hpt_ros.model.trunk import Trunk
from hpt_ros.model.weights import record


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
    assert report.tensors == {key: record(tensor, "loaded") for key, tensor in file.items()}
    assert len(report.tensors) == 28
    assert len({entry.hash for key, entry in report.tensors.items() if key.endswith("weight")}) > 4
    assert report.source == str(published / "trunk.pth")


def test_report_tells_a_loaded_trunk_from_an_initialised_one(published: Path, policy: HPTPolicy) -> None:
    before = initialised_trunk(policy)
    after = load_trunk(policy, published)
    assert {entry.status for entry in before.tensors.values()} == {"initialised"}
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


def test_tensors_named_by_a_glob_may_be_missing_or_left_over(published: Path, policy: HPTPolicy) -> None:
    rewrite(published, trunk__blocks__1__norm_2__bias=None, trunk__blocks__1__norm_2__weight=None, extra=torch.ones(2))
    with pytest.raises(DataError, match=r"missing: trunk\.blocks\.1\.norm_2\.weight"):
        load_trunk(policy, published, allow_missing=["*.norm_2.bias"], allow_unused=["extra"])
    with pytest.raises(DataError, match="unexpected: extra"):
        load_trunk(policy, published, allow_missing=["*.1.norm_2.*"])
    report = load_trunk(policy, published, ["*.1.norm_2.*"], ["extra"])
    statuses = {name: entry.status for name, entry in report.tensors.items() if entry.status != "loaded"}
    assert statuses == {
        "trunk.blocks.1.norm_2.bias": "initialised",
        "trunk.blocks.1.norm_2.weight": "initialised",
        "extra": "skipped",
    }
    assert len(report.tensors) == 29


def test_trunk_of_a_checkpoint_and_of_a_whole_policy(tmp_path: Path, policy: HPTPolicy, embodiment: Embodiment) -> None:
    save_checkpoint(tmp_path / "last", policy, embodiment, {})
    torch.save(policy.state_dict(), tmp_path / "model.pth")
    for source in (tmp_path / "last", tmp_path / "model.pth"):
        torch.manual_seed(9)
        other = HPTPolicy(policy.config, embodiment)
        report = load_trunk(other, source)
        assert all(torch.equal(a, b) for a, b in zip(other.trunk.parameters(), policy.trunk.parameters(), strict=True))
        assert {entry.status for entry in report.tensors.values()} == {"loaded"}


def test_sizes_of_a_checkpoint_are_compared(tmp_path: Path, policy: HPTPolicy, embodiment: Embodiment) -> None:
    save_checkpoint(tmp_path / "last", policy, embodiment, {})
    with pytest.raises(DataError, match="num_heads: the file has 4, the policy 8"):
        load_trunk(HPTPolicy(replace(policy.config, num_heads=8), embodiment), tmp_path / "last")


def test_folder_with_two_candidates_is_refused(published: Path, policy: HPTPolicy) -> None:
    torch.save(policy.state_dict(), published / "model.pth")
    with pytest.raises(DataError, match=r"trunk\.pth and model\.pth"):
        load_trunk(policy, published)


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
    with pytest.raises(DataError, match=r"trunk\.pth: not loaded: besides tensors it holds pickled Python objects"):
        load_trunk(policy, published)
    assert not (published / "executed").exists()
