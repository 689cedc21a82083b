"""Downloads and uploads against a hub on loopback (fake_hub.py), through the real huggingface_hub."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from fake_hub import COMMIT, FakeHub, serving
from huggingface_hub import constants

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model import Batch, HPTPolicy, load_trunk, save_checkpoint
from hpt_ros.model.from_pretrained import push_checkpoint
from hpt_ros.model.hub import HubAddress, resolve
from hpt_ros.model.trunk import Trunk


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving() as hub:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # HF_ENDPOINT is read at import
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants._HF_DEFAULT_ENDPOINT, hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield hub


def trunk_files(seed: int = 5) -> dict[str, bytes]:
    torch.manual_seed(seed)
    buffer = io.BytesIO()
    torch.save(Trunk(32, 2, 4, 0.1).state_dict(), buffer)
    network = {"embed_dim": 32, "num_blocks": 2, "num_heads": 4}
    return {"trunk.pth": buffer.getvalue(), "config.yaml": yaml.safe_dump({"network": network}).encode()}


def test_trunk_from_the_hub_is_loaded_and_its_commit_recorded(hub: FakeHub, policy: HPTPolicy) -> None:
    hub.repos["liruiw/hpt-tiny"] = trunk_files() | {"optimizer.pth": b"pickle", "evil.pkl": b"pickle"}
    report = load_trunk(policy, "hf://liruiw/hpt-tiny")
    assert report.source == f"hf://liruiw/hpt-tiny@{COMMIT}/trunk.pth"
    assert {r.status for r in report.tensors.values()} == {"loaded"}
    assert not any("optimizer" in r or "evil" in r for r in hub.requests)


@pytest.mark.parametrize("tail", ["@v1", "/deep/er", "@v1/deep/er", "/deep/er/trunk.pth"])
def test_revision_and_folder_inside(hub: FakeHub, policy: HPTPolicy, tail: str) -> None:
    prefix = "deep/er/" if "deep" in tail else ""
    hub.repos["a/b"] = {prefix + name: content for name, content in trunk_files().items()}
    assert len(load_trunk(policy, f"hf://a/b{tail}").tensors) == 28


def test_what_was_downloaded_is_there_without_a_network(hub: FakeHub, policy: HPTPolicy, tmp_path: Path) -> None:
    hub.repos["a/b"] = trunk_files()
    first = load_trunk(policy, "hf://a/b")
    hub.repos.clear()
    assert load_trunk(policy, "hf://a/b") == first


def test_missing_repository_names_the_files_the_cache_and_the_command(
    hub: FakeHub, policy: HPTPolicy, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as refusal:
        load_trunk(policy, "hf://a/absent@v2")
    text = str(refusal.value)
    assert "hf://a/absent: not downloaded" in text
    assert "trunk.pth" in text
    assert str(tmp_path / "cache") in text
    assert "hf download a/absent --revision v2 --include" in text


def test_machine_without_network_gets_the_same_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: HPTPolicy
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"hf download liruiw/hpt-base --include"):
        load_trunk(policy, "hf://liruiw/hpt-base")


def test_repository_without_weights_is_refused(hub: FakeHub, policy: HPTPolicy) -> None:
    hub.repos["a/b"] = {"README.md": b"nothing"}
    with pytest.raises(DataError, match=r"has none of config\.yaml"):
        load_trunk(policy, "hf://a/b")


@pytest.mark.parametrize("text", ["hf://", "hf://owner", "hf:/a/b", "hf://a/b/../c", "hf://a b/c"])
def test_address_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="hf://owner/name"):
        HubAddress.parse(text)


def test_local_path_stays_as_it_is(tmp_path: Path) -> None:
    assert resolve(tmp_path).path == tmp_path


def test_checkpoint_goes_to_the_hub_and_comes_back(
    hub: FakeHub, policy: HPTPolicy, embodiment: Embodiment, batch: Batch, tmp_path: Path
) -> None:
    provenance: dict[str, Any] = {"data": {"sets": ["demos/pick"], "hash": "12ab"}, "metrics": {"step": 7}, "seed": 3}
    save_checkpoint(tmp_path / "last", policy, embodiment, provenance)
    address = push_checkpoint(tmp_path / "last", "me/pick", licence="apache-2.0")
    assert address.endswith(f"me/pick/commit/{COMMIT}")
    card = hub.repos["me/pick"]["README.md"].decode()
    assert "license: apache-2.0" in card
    assert "demos/pick" in card
    assert "| step | 7 |" in card
    assert 'from_pretrained("hf://me/pick")' in card
    again = HPTPolicy.from_pretrained("hf://me/pick")
    assert torch.equal(again.predict(batch), policy.predict(batch))
    assert again.provenance == provenance


def test_policy_pushes_itself(hub: FakeHub, policy: HPTPolicy) -> None:
    policy.push_to_hub("me/own")
    assert {"README.md", "checkpoint.json", "model.safetensors"} <= hub.repos["me/own"].keys()


def test_refused_upload_says_how_to_log_in(hub: FakeHub, policy: HPTPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def create_repo(self, *_: object, **__: object) -> None:
            raise OSError("401: not allowed")

    monkeypatch.setattr(huggingface_hub, "HfApi", Refusing)
    with pytest.raises(DataError, match=r"401: not allowed(.|\n)*hf auth login"):
        policy.push_to_hub("me/own")
    with pytest.raises(ConfigError, match="owner/name"):
        policy.push_to_hub("own")
