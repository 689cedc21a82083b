"""`hpt-ros finetune`: demonstrations -> run folder with checkpoints."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hpt_ros.cli.output import console, progress_bar

if TYPE_CHECKING:
    from hpt_ros.training import RunReport, StepReport


def finetune(
    demos: Annotated[list[Path], typer.Argument(help="Folders that `hpt-ros convert` wrote, of one embodiment.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; holds initial/, best/ and last/ afterwards.")],
    preset: Annotated[str, typer.Option(help="sim, quick, real_robot, or a YAML file of settings.")] = "sim",
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False,
) -> None:
    """Fine-tune an HPT policy on demonstrations."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    import torch

    from hpt_ros.model import LoraConfig
    from hpt_ros.training import finetune as run
    from hpt_ros.training import load_finetune_config

    config = load_finetune_config(preset)
    if steps is not None:
        config = replace(config, steps=steps)
    if freeze:
        kept: Any = int(freeze) if freeze.lstrip("-").isdigit() else freeze
        config = replace(config, freeze=kept)
    if lora_rank is not None:
        config = replace(config, policy=replace(config.policy, lora=LoraConfig(lora_rank, alpha=2 * lora_rank)))
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with progress_bar() as bar:
        row = bar.add_task("finetune", total=config.steps, note="")
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
            progress=lambda step: bar.update(row, completed=step.step, note=_figures(step)),
        )
    console.print(_summary(report))
    console.print(f"deploy with: hpt-ros up policy checkpoint:={out / 'last'}")


def _figures(step: StepReport) -> str:
    val = "" if step.val_loss is None else f"  val {step.val_loss:.4f}"
    return f"loss {step.loss:.4f}{val}  lr {step.lr:.1e}  {step.samples_per_s:.0f} samples/s"


def _summary(report: RunReport) -> Table:
    from hpt_ros.model.parameters import all_parameters
    from hpt_ros.model.provenance import trunk_line

    table = Table(title=f"run {report.out}", title_justify="left")
    table.add_column("part")
    table.add_column("parameters", justify="right")
    table.add_column("trained", justify="right")
    for part, count in report.parameters.items():
        table.add_row(part, f"{count['total']:,}", f"{count['trained']:,}")
    everything = all_parameters(report.parameters)
    table.add_row("all", f"{everything['total']:,}", f"{everything['trained']:,}", end_section=True)
    outcome = report.outcome
    table.caption = (
        f"{report.windows} windows of {report.episodes} episodes ({report.held_out_episodes} held out), "
        f"{trunk_line({'trunk': asdict(report.trunk)})}\n{outcome.steps} steps in {outcome.duration_s:.0f} s, final loss {outcome.loss:.4f}"
    )
    if outcome.best_val_loss is not None:
        table.caption += f", best validation loss {outcome.best_val_loss:.4f} at step {outcome.best_step}"
    table.caption_justify = "left"
    return table
