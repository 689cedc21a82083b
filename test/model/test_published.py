"""`HPTPolicy.from_pretrained` on the layouts of the published code and on checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import ConfigError, DataError, FingerprintError
from hpt_ros.model import Batch, EncoderConfig, HeadConfig, HPTPolicy, PolicyConfig, save_checkpoint
from hpt_ros.model.weights import content_hash

SIZES = {"embed_dim": 32, "num_blocks": 2, "num_heads": 4}
RANDOM = EncoderConfig("resnet18", "random")
CONFIG = PolicyConfig(**SIZES, image_tokens=6, stem_hidden=40, head=HeadConfig(widths=(48, 24)), encoder=RANDOM)  # type: ignore[arg-type]


def save(folder: Path, tensors: dict[str, Tensor], **sections: Any) -> Path:
    """model.pth with a config.yaml that has references, as hydra leaves them."""
    torch.save(tensors, folder / "model.pth")
    network = SIZES | {"token_postprocessing": "mean", "observation_horizon": "${dataset.horizon}"}
    (folder / "config.yaml").write_text(yaml.safe_dump({"network": network, "stem": {"crossattn_heads": 8}} | sections))
    return folder


def published_tensors(
    embodiment: Embodiment, domain: str, config: PolicyConfig = CONFIG, seed: int = 3
) -> dict[str, Tensor]:
    """What the published code saves for a policy: no encoder, and modality tokens that nothing reads."""
    torch.manual_seed(seed)
    policy = HPTPolicy(config, replace(embodiment, name=domain))
    tensors = {name: t for name, t in policy.state_dict().items() if not name.startswith("encoders.")}
    tensors = {name: torch.rand_like(t) * 0.1 + 0.1 for name, t in tensors.items()}
    return tensors | {f"modalities_tokens.{name}": torch.rand(1, 1, 32) for name in ("image", "state")}


def statuses(records: dict[str, Any]) -> dict[str, str]:
    return {name: record["status"] for name, record in records.items()}


def test_whole_policy_arrives_under_the_name_of_the_embodiment(tmp_path: Path, embodiment: Embodiment) -> None:
    tensors = published_tensors(embodiment, "real_robot_image")
    policy = HPTPolicy.from_pretrained(save(tmp_path, tensors), embodiment, domain="real_robot_image", config=CONFIG)
    state = policy.state_dict()
    renamed = {name.replace("real_robot_image", "sim_panda"): t for name, t in tensors.items()}
    used = {name: t for name, t in renamed.items() if not name.startswith("modalities_tokens.")}
    assert all(torch.equal(state[name], tensor) for name, tensor in used.items())
    assert used.keys() == {name for name in state if not name.startswith("encoders.")}
    assert not policy.training
    assert set(statuses(policy.provenance["trunk"]["tensors"]).values()) == {"loaded"}
    assert len(policy.provenance["trunk"]["tensors"]) == 28
    assert policy.provenance["trunk"]["source"] == str(tmp_path / "model.pth")
    skipped = [n for n, status in statuses(policy.provenance["tensors"]).items() if status == "skipped"]
    assert skipped == ["modalities_tokens.image", "modalities_tokens.state"]


def test_sizes_come_from_the_tensors(tmp_path: Path, embodiment: Embodiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path, published_tensors(embodiment, "sim_panda"))
    with pytest.raises(DataError, match=r"resnet18-f37072fd\.pth"):  # the paper's encoder is a file of its own
        HPTPolicy.from_pretrained(folder, embodiment)
    torch.save(HPTPolicy(CONFIG, embodiment).encoders["sim_panda_image"].net.state_dict(), tmp_path / "resnet.pth")
    monkeypatch.setattr("hpt_ros.model.published_sizes.RESNET_WEIGHTS", "resnet.pth")
    found = HPTPolicy.from_pretrained(folder, embodiment).config
    assert replace(found, encoder=RANDOM) == CONFIG
    assert (found.encoder.kind, found.encoder.weights) == ("resnet18", "resnet.pth")


def test_policy_that_brings_its_encoder_is_read_without_any_other_file(
    tmp_path: Path, policy: HPTPolicy, embodiment: Embodiment, batch: Batch
) -> None:
    again = HPTPolicy.from_pretrained(save(tmp_path, policy.state_dict()), embodiment)
    assert torch.equal(again.predict(batch), policy.predict(batch))


@pytest.mark.parametrize("kind", ["gmm", "diffusion", "transformer_decoder"])
def test_other_published_heads_are_recognised(tmp_path: Path, embodiment: Embodiment, kind: Any) -> None:
    head = HeadConfig(kind, widths=(16,), modes=3, down_dims=(16, 24, 32), denoise_steps=100)
    pooling = "no-op" if kind == "transformer_decoder" else "mean"
    ours = PolicyConfig(**SIZES, head=head, pooling="none" if pooling == "no-op" else "mean")  # type: ignore[arg-type]
    tensors = HPTPolicy(ours, embodiment).state_dict()
    folder = save(tmp_path, tensors, network=SIZES | {"token_postprocessing": pooling})
    found = HPTPolicy.from_pretrained(folder, embodiment).config
    assert found.head.kind == kind
    assert found.pooling == ours.pooling


def test_trunk_alone_leaves_the_rest_initialised(tmp_path: Path, policy: HPTPolicy, embodiment: Embodiment) -> None:
    torch.save(policy.trunk.state_dict(), tmp_path / "trunk.pth")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"network": SIZES}))
    again = HPTPolicy.from_pretrained(str(tmp_path), embodiment)
    assert again.provenance["trunk"]["content"] == content_hash(policy.trunk.state_dict().items())
    assert set(statuses(again.provenance["trunk"]["tensors"]).values()) == {"loaded"}
    assert set(statuses(again.provenance["tensors"]).values()) == {"initialised"}
    assert not any(name.startswith("trunk.") for name in again.provenance["tensors"])


def test_one_of_several_domains_must_be_chosen(tmp_path: Path, embodiment: Embodiment) -> None:
    both = published_tensors(embodiment, "kitchen_left", seed=4) | published_tensors(embodiment, "kitchen")
    folder = save(tmp_path, both)
    with pytest.raises(
        DataError, match="holds the embodiments kitchen_left, kitchen; the embodiment here is sim_panda"
    ):
        HPTPolicy.from_pretrained(folder, embodiment, config=CONFIG)
    with pytest.raises(ConfigError, match="kitchen_left, kitchen"):
        HPTPolicy.from_pretrained(folder, embodiment, config=CONFIG, domain="garage")
    for domain in ("kitchen", "kitchen_left"):
        policy = HPTPolicy.from_pretrained(folder, embodiment, config=CONFIG, domain=domain)
        assert torch.equal(policy.stems["sim_panda_image"].tokens, both[f"stems.{domain}_image.tokens"])
        other = "kitchen_left" if domain == "kitchen" else "kitchen"
        assert policy.provenance["tensors"][f"heads.{other}.net.0.bias"]["status"] == "skipped"


def test_another_name_of_the_embodiment_is_never_taken_in_silence(tmp_path: Path, embodiment: Embodiment) -> None:
    folder = save(tmp_path, published_tensors(embodiment, "sim_panda"))
    with pytest.raises(DataError, match="holds the embodiments sim_panda; the embodiment here is renamed"):
        HPTPolicy.from_pretrained(folder, replace(embodiment, name="renamed"), config=CONFIG)


def drop(name: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.__delitem__(name)


def put(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.__setitem__(name, tensor)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("stems.sim_panda_state.net.0.bias"), "missing: stems.sim_panda_state.net.0.bias"),
        (drop("normalizer.sim_panda.params_dict.state.scale"), "missing: normalizer.sim_panda.params_dict.state.scale"),
        (
            put("heads.sim_panda.net.0.bias", torch.ones(3)),
            "shape of heads.sim_panda.net.0.bias: found (3,), expected (48,)",
        ),
        (put("stems.sim_panda_touch.tokens", torch.ones(1, 2, 32)), "unexpected: stems.sim_panda_touch.tokens"),
        (put("encoders.image.net.0.weight", torch.ones(2)), "unexpected: encoders.image.net.0.weight"),
        (
            put("heads.sim_panda.net.0.bias", torch.full((48,), torch.inf)),
            "heads.sim_panda.net.0.bias holds NaN or inf",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_with_the_file(
    tmp_path: Path, embodiment: Embodiment, edit: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    tensors = published_tensors(embodiment, "sim_panda")
    edit(tensors)
    with pytest.raises(DataError) as refusal:
        HPTPolicy.from_pretrained(save(tmp_path, tensors), embodiment, config=CONFIG)
    assert message in refusal.value.message
    assert str(tmp_path / "model.pth") in refusal.value.message


def test_unknown_modality_is_named_when_the_sizes_are_read_from_the_file(
    tmp_path: Path, embodiment: Embodiment
) -> None:
    tensors = published_tensors(embodiment, "sim_panda")
    tensors |= {n.replace("_state", "_touch"): t for n, t in tensors.items() if n.startswith("stems.sim_panda_state")}
    with pytest.raises(DataError, match=r"stems\.sim_panda_touch is of an unknown modality; known: image, state"):
        HPTPolicy.from_pretrained(save(tmp_path, tensors), embodiment)


def test_globs_allow_what_they_name(tmp_path: Path, embodiment: Embodiment) -> None:
    tensors = published_tensors(embodiment, "sim_panda") | {"encoders.image.proj.bias": torch.ones(2)}
    for name in [name for name in tensors if name.startswith("normalizer.")]:
        del tensors[name]
    policy = HPTPolicy.from_pretrained(
        save(tmp_path, tensors), embodiment, config=CONFIG, allow_missing=["normalizer.*"], allow_unused=["encoders.*"]
    )
    found = statuses(policy.provenance["tensors"])
    assert found["encoders.image.proj.bias"] == "skipped"
    assert {status for name, status in found.items() if name.startswith("normalizer.")} == {"initialised"}


def test_heads_that_leave_no_trace_must_be_told(tmp_path: Path, embodiment: Embodiment) -> None:
    torch.save(published_tensors(embodiment, "sim_panda"), tmp_path / "policy.pth")
    with pytest.raises(DataError, match="number of attention heads is not known"):
        HPTPolicy.from_pretrained(tmp_path / "policy.pth", embodiment)
    assert HPTPolicy.from_pretrained(tmp_path / "policy.pth", embodiment, config=CONFIG).config == CONFIG


@pytest.mark.parametrize("keep", [0, 20, 3000])
def test_file_that_is_cut_short_is_refused(tmp_path: Path, embodiment: Embodiment, keep: int) -> None:
    file = save(tmp_path, published_tensors(embodiment, "sim_panda")) / "model.pth"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"model\.pth: not a readable weight file"):
        HPTPolicy.from_pretrained(tmp_path, embodiment, config=CONFIG)


class Payload:
    """A class of its own: nothing but tensors may come out of a file."""


def test_pickled_objects_are_refused_by_file(tmp_path: Path, embodiment: Embodiment) -> None:
    torch.save({"trunk.trunk.blocks.0.norm_1.weight": Payload()}, tmp_path / "model.pth")
    with pytest.raises(DataError, match=r"model\.pth: not loaded: besides tensors it holds pickled Python objects"):
        HPTPolicy.from_pretrained(tmp_path, embodiment)


def test_checkpoint_needs_no_embodiment_and_refuses_another(
    tmp_path: Path, policy: HPTPolicy, embodiment: Embodiment, batch: Batch
) -> None:
    save_checkpoint(tmp_path / "last", policy, embodiment, {"seed": 1})
    again = HPTPolicy.from_pretrained(tmp_path / "last")
    assert torch.equal(again.predict(batch), policy.predict(batch))
    assert (again.provenance, again.embodiment) == ({"seed": 1}, embodiment)
    longer = replace(embodiment, policy=replace(embodiment.policy, action_horizon=embodiment.policy.action_horizon + 1))
    with pytest.raises(FingerprintError, match=r"policy\.action_horizon: expected \d+, found \d+"):
        HPTPolicy.from_pretrained(tmp_path / "last", longer)
    with pytest.raises(ConfigError, match="domain"):
        HPTPolicy.from_pretrained(tmp_path / "last", domain="other")


def test_published_files_need_an_embodiment(tmp_path: Path, embodiment: Embodiment) -> None:
    folder = save(tmp_path, published_tensors(embodiment, "sim_panda"))
    with pytest.raises(ConfigError, match="embodiment"):
        HPTPolicy.from_pretrained(folder)


def test_other_sizes_than_the_configuration_are_refused(tmp_path: Path, embodiment: Embodiment) -> None:
    folder = save(tmp_path, published_tensors(embodiment, "sim_panda"))
    with pytest.raises(DataError, match="num_heads: the file has 4, the policy 8"):
        HPTPolicy.from_pretrained(folder, embodiment, config=replace(CONFIG, num_heads=8))
