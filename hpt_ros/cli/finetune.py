"""`hpt-ros finetune`: demonstrations -> run folder with checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hpt_ros.cli.output import ProgressBar, console, progress_bar

if TYPE_CHECKING:
    from hpt_ros.model.parameters import ParameterCount
    from hpt_ros.training import RunReport, StepReport
    from hpt_ros.training.finetuning import Plan


def finetune(
    demos: Annotated[list[Path], typer.Argument(help="Folders that `hpt-ros convert` wrote, of one embodiment.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; holds initial/, best/ and last/ afterwards.")],
    preset: Annotated[str, typer.Option(help="sim, quick, real_robot, diffusion, or a YAML file of settings.")] = "sim",
    trunk: Annotated[
        str, typer.Option(help="Pre-trained trunk: hf://OWNER/NAME, a published folder or file, a checkpoint; or none.")
    ] = "none",
    freeze: Annotated[str, typer.Option(help="Keep the trunk: none or all of it, or its first N blocks.")] = "",
    lora_rank: Annotated[int | None, typer.Option(min=1, help="Freeze the trunk and train LoRA factors.")] = None,
    allow_missing: Annotated[list[str] | None, typer.Option(help="Glob of tensors that the trunk may lack.")] = None,
    allow_unused: Annotated[
        list[str] | None, typer.Option(help="Glob of tensors that the trunk may hold in vain.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps instead of the preset's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of initialisation, dropout, batches and split.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of torch.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: cuda if there is one.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, or bf16: mixed precision.")] = "",
    compile_network: Annotated[bool, typer.Option("--compile", help="torch.compile; needs a C++ compiler.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write event files into the run.")] = False,
    wandb: Annotated[str, typer.Option(help="Also log to this project of Weights & Biases.")] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing run; discard an interrupted one.")
    ] = False,
) -> None:
    """Fine-tune an HPT policy on demonstrations; the same command goes on with an interrupted run, to the same weights."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    import torch

    from hpt_ros.demos import Demos
    from hpt_ros.heap import keep_all_blocks
    from hpt_ros.model import LoraConfig
    from hpt_ros.training import finetune as run
    from hpt_ros.training import load_finetune_config
    from hpt_ros.training.page import write_page
    from hpt_ros.training.trackers import Tracking

    config = load_finetune_config(preset)
    if steps is not None:
        config = replace(config, steps=steps)
    if freeze:
        kept: Any = int(freeze) if freeze.lstrip("-").isdigit() else freeze
        config = replace(config, freeze=kept)
    if lora_rank is not None:
        config = replace(config, policy=replace(config.policy, lora=LoraConfig(lora_rank, alpha=2 * lora_rank)))
    if precision:
        chosen: Any = precision
        config = replace(config, compute=replace(config.compute, precision=chosen))
    if compile_network:
        config = replace(config, compute=replace(config.compute, compile=True))
    keep_all_blocks()
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    warnings: list[str] = []
    with progress_bar() as bar:
        shown = _Shown(bar, config.steps, out, warnings)
        report = run(
            config,
            demos,
            out,
            trunk=None if trunk == "none" else trunk,
            allow_missing=allow_missing or (),
            allow_unused=allow_unused or (),
            seed=seed,
            device=device,
            overwrite=overwrite,
            tracking=Tracking(tensorboard, wandb),
            planned=shown.plan,
            progress=shown.step,
            caching=shown.cache,
        )
    body = Demos.open(demos[0]).embodiment
    deploy = f"hpt-ros up policy checkpoint:={out / 'last'} embodiment:={body.name}"
    page = write_page(out, demos, deploy=deploy, warnings=warnings)
    console.print(_ending(report), markup=False)
    if report.outcome.val_error:
        console.print(_errors(report.outcome.val_error, {c.name: c.unit for c in body.action_columns}))
    console.print(f"report: {page}", markup=False)
    console.print(f"deploy with: {deploy}", markup=False)


class _Shown:
    """What a person sees of a run: the plan, progress of the image features, then of the steps, warnings at once."""

    def __init__(self, bar: ProgressBar, steps: int, out: Path, warnings: list[str]) -> None:
        from hpt_ros.training.remarks import OverfitWatch

        self._bar, self._steps, self._out, self._warnings = bar, steps, out, warnings
        self._overfit = OverfitWatch()
        self._features: Any = None
        self._training: Any = None

    def plan(self, plan: Plan) -> None:
        from hpt_ros.model.provenance import trunk_line

        console.print(_parameters(plan.parameters, f"run {self._out}"))
        console.print(
            f"{plan.windows} windows of {plan.episodes} episodes, {plan.held_out_episodes} held out", markup=False
        )
        console.print(f"about {plan.memory.total / 1e9:.2f} GB of memory besides the weights", markup=False)
        console.print(trunk_line({"trunk": asdict(plan.trunk)}), markup=False)
        for remark in plan.remarks:
            self._warn(remark)
        if plan.done:
            console.print(f"going on after step {plan.done} of an interrupted run")

    def cache(self, done: int, total: int) -> None:
        if self._features is None:
            self._features = self._bar.add_task("image features", total=total)
        self._bar.update(self._features, completed=done, note="" if done < total else "all there")

    def step(self, report: StepReport) -> None:
        if self._training is None:
            self._training = self._bar.add_task("finetune", total=self._steps, completed=report.step - 1)
        self._bar.update(self._training, completed=report.step, note=_figures(report))
        remark = self._overfit(report)
        if remark:
            self._warn(remark)

    def _warn(self, remark: str) -> None:
        self._warnings.append(remark)
        console.print(f"warning: {remark}", markup=False)


def _figures(step: StepReport) -> str:
    val = "" if step.val_loss is None else f"  val {step.val_loss:.4f}"
    phases = " ".join(f"{phase} {share:.0%}" for phase, share in step.phases.items())
    eta = f"  eta {timedelta(seconds=round(step.eta_s))}"
    return f"loss {step.loss:.4f}{val}  lr {step.lr:.1e}  {step.samples_per_s:.0f} samples/s  {phases}{eta}"


def _parameters(counts: dict[str, ParameterCount], title: str) -> Table:
    from hpt_ros.model.parameters import all_parameters

    table = Table(title=title, title_justify="left")
    table.add_column("part")
    table.add_column("parameters", justify="right")
    table.add_column("trained", justify="right")
    for part, count in counts.items():
        table.add_row(part, f"{count['total']:,}", f"{count['trained']:,}")
    everything = all_parameters(counts)
    table.add_row("all", f"{everything['total']:,}", f"{everything['trained']:,}", end_section=True)
    return table


def _ending(report: RunReport) -> str:
    outcome = report.outcome
    ended = f"{outcome.steps} steps in {outcome.duration_s:.0f} s, final loss {outcome.loss:.4f}"
    if outcome.best_val_loss is not None:
        ended += f", best validation loss {outcome.best_val_loss:.4f} at step {outcome.best_step}"
    return ended + ("; ended early: no gain on held-out episodes" if outcome.stopped_early else "")


def _errors(by_action: Mapping[str, float], units: Mapping[str, str]) -> Table:
    table = Table(title="mean error on held-out episodes", title_justify="left")
    table.add_column("action")
    table.add_column("error", justify="right")
    for name, error in by_action.items():
        table.add_row(name, f"{error:.4f} {units[name]}")
    return table
