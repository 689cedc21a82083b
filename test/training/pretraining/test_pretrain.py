"""Pre-training in one process: what it changes, what it leaves alone, what comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import BusyError, ConfigError, DataError, FingerprintError
from hpt_ros.model import EncoderConfig, PolicyConfig, load_checkpoint
from hpt_ros.model.multi_policy import MultiPolicy
from hpt_ros.training import DivergedError
from hpt_ros.training.config import ValidationConfig
from hpt_ros.training.pretraining import PretrainConfig, pretrain
from hpt_ros.training.state_file import ResumeError


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_a_step_leaves_what_it_did_not_draw_untouched(learner: Any) -> None:
    trained, policy = learner(draws=1)
    sets = ("panda", "panda", "bare_arm")
    drawn = [sets[trained.sampler.draws(step)[0].source] for step in range(12)]
    assert {"panda", "bare_arm"} <= set(drawn[:6])  # both have moments when they are left out later
    for domain in drawn:
        tensors, state = copies(policy.tensors()), copies(trained.optimization.state())
        trained.step()
        kept = changed(state, trained.optimization.state())
        moved = changed(tensors, policy.tensors()) | {name.partition("/")[2] for name in kept}
        for part in ("trunk.", f"stems.{domain}_image.", f"stems.{domain}_state.", f"heads.{domain}."):
            assert any(name.startswith(part) for name in moved)
        (other,) = {"panda", "bare_arm"} - {domain}
        assert not [name for name in moved if f".{other}" in name]


def test_domains_share_one_trunk_and_one_frozen_encoder(settings: PretrainConfig, embodiment: Embodiment) -> None:
    frozen = replace(settings.policy, encoder=EncoderConfig("resnet18", "random"))
    policy = MultiPolicy(frozen, {"a": embodiment, "b": embodiment})
    assert policy["a"].trunk is policy["b"].trunk
    assert policy["a"].encoder("image").net is policy["b"].encoder("image").net
    trained = MultiPolicy(settings.policy, {"a": embodiment, "b": embodiment})
    assert trained["a"].encoder("image").views is not trained["b"].encoder("image").views
    assert len(trained.named()) == len(set(map(id, trained.parameters())))


def test_finetuning_takes_the_trunk_with_every_tensor(
    settings: PretrainConfig, settings_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tuned = tmp_path / "pre", tmp_path / "tuned"
    assert main(["pretrain", str(settings_file(steps=3)), "--out", str(out), "--device", "cpu"]) == 0
    assert f"--trunk {out / 'last'}" in capsys.readouterr().err.replace("\n", "")
    preset = tmp_path / "finetune.yaml"
    preset.write_text(
        "policy: {embed_dim: 32, num_blocks: 2, num_heads: 4}\nsteps: 2\nbatch_size: 4\n"
        "optimizer: {lr: 0.001, warmup_steps: 1, weight_decay: 0, grad_clip: 1}\nvalidation: {fraction: 0.0}\n"
    )
    demos = settings.domains["bare_arm"][0]
    for trunk in (out / "best" / "trunk.pth", out / "domains" / "panda", out / "last"):
        command = ["finetune", demos, "--preset", str(preset), "--trunk", str(trunk), "--device", "cpu"]
        assert main([*command, "--out", str(tuned), "--overwrite"]) == 0
        assert "28 of 28 tensors loaded from" in capsys.readouterr().err.replace("\n", "")
    assert main(["inspect", str(tuned / "last"), "--json", "-"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in shown["tensors"]] == ["loaded"] * 28
    assert str(out / "last" / "trunk.pth") in shown["trunk"]
    assert main(["inspect", str(tuned / "initial"), "--against", str(out / "domains" / "panda")]) == 0
    assert "28 of 28 tensors equal" in capsys.readouterr().err
    assert main(["inspect", str(out / "last")]) == 0
    assert "embed_dim 32, num_blocks 2, num_heads 4" in capsys.readouterr().err


def test_run_folder_says_what_was_drawn_and_how_each_domain_learns(settings: PretrainConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    report = pretrain(settings, out)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20]
    assert all(row["losses"].keys() == row["val_losses"].keys() == {"panda", "bare_arm"} for row in rows)
    assert rows[-1]["val_loss"] == pytest.approx(sum(rows[-1]["val_losses"].values()) / 2)
    roots = [source.windows**0.5 for source in report.sources]
    assert [source.chance for source in report.sources] == pytest.approx([root / sum(roots) for root in roots])
    assert json.loads((out / "report.json").read_text())["sources"][2]["domain"] == "bare_arm"
    assert (out / "curves.png").stat().st_size > 5000
    notes = json.loads((out / "last" / "pretraining.json").read_text())
    assert notes["data"]["hash"].keys() == {path for paths in settings.domains.values() for path in paths}
    assert sorted(path.name for path in (out / "domains").iterdir()) == ["bare_arm", "panda"]
    assert not (out / "state.safetensors").exists()


def test_interrupted_run_goes_on_as_if_nothing_had_happened(settings: PretrainConfig, tmp_path: Path) -> None:
    config = replace(settings, steps=8, state_every_s=0.0, validation=ValidationConfig(fraction=0.2, every_steps=4))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    pretrain(config, whole)

    def interrupt(report: Any) -> None:
        if report.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(config, cut, progress=interrupt)
    with pytest.raises(ResumeError, match="batch_size: then 8, now 4"):
        pretrain(replace(config, batch_size=4), cut)
    steps: list[int] = []
    pretrain(config, cut, progress=lambda report: steps.append(report.step))
    assert steps[0] == 5  # the state of a step is written after its report
    for name in ("panda", "bare_arm"):
        a, b = (load_checkpoint(run / "domains" / name).policy.state_dict() for run in (whole, cut))
        assert not changed(a, b)
    curves = [[json.loads(line) for line in (run / "metrics.jsonl").open()] for run in (whole, cut)]
    for a, b in zip(*curves, strict=True):
        assert all(a[key] == b[key] for key in ("step", "loss", "losses", "val_losses"))


def test_diverging_names_the_sets_and_changes_nothing(learner: Any) -> None:
    trained, policy = learner(draws=2)
    with torch.no_grad():
        next(policy.trunk.parameters()).fill_(float("nan"))
    before = copies(policy.tensors())
    with pytest.raises(DivergedError, match=r"(?s)step 1: .*(large|small|bare): loss nan"):
        trained.step()
    assert all(torch.equal(before[name], t) or t.isnan().all() for name, t in policy.tensors().items())


def test_bad_input_is_refused_before_training(
    settings: PretrainConfig, store: Any, embodiment: Embodiment, tmp_path: Path
) -> None:
    out, (large, small), (bare,) = tmp_path / "run", settings.domains["panda"], settings.domains["bare_arm"]
    empty, alone = str(store("empty", embodiment, 0)), str(store("alone", embodiment, 1))
    refusals: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ConfigError, "at least one demonstration set", {}),
        (ConfigError, "each only once", {"a": (large,), "b": (small, large)}),
        (DataError, "absent: no demos.json", {"a": (large,), "b": ("absent",)}),
        (DataError, "no episodes in .*empty", {"a": (large, empty)}),
        (DataError, "too few to hold out", {"a": (alone,)}),
        (FingerprintError, "b: .*bare .*does not match b: .*large ", {"b": (large, bare)}),
    ]
    for kind, message, domains in refusals:
        with pytest.raises(kind, match=f"(?s){message}"):
            pretrain(replace(settings, domains=domains), out)
    smaller = replace(settings, policy=replace(settings.policy, num_blocks=1), steps=1)
    pretrain(smaller, tmp_path / "smaller")
    with pytest.raises(DataError, match="num_blocks: the file has 1, the policy 2"):
        pretrain(settings, out, trunk=tmp_path / "smaller" / "last")
    assert not list(tmp_path.glob("run*"))
    with pytest.raises(BusyError, match="exists"):
        pretrain(smaller, tmp_path / "smaller")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": PolicyConfig(num_blocks=0)}, "policy.num_blocks"),
        ({"draws": 0}, "draws"),
        ({"exponent": 1.5}, "exponent"),
        ({"domains": {"a-b": ("x",)}}, "domains.a-b"),
        ({"domains": {"a": ()}}, "domains.a"),
    ],
)
def test_settings_are_checked(settings: PretrainConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(settings, **changes)


def test_unknown_presets_and_sizes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "gigantic", "--out", str(tmp_path / "run")]) == 2
    assert "one of base, quick, sim" in capsys.readouterr().err
    assert main(["pretrain", "quick", "--size", "gigantic", "--out", str(tmp_path / "run")]) == 2
    assert "small, base, large, xlarge, huge" in capsys.readouterr().err
