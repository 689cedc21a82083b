"""`hpt-ros pretrain`: demonstrations of many embodiments -> a trunk for `hpt-ros finetune --trunk`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hpt_ros.cli.output import console, progress_bar

if TYPE_CHECKING:
    from hpt_ros.training import StepReport
    from hpt_ros.training.pretraining import PretrainReport


def pretrain(
    preset: Annotated[str, typer.Argument(help="base, sim, quick, or a YAML file of settings (config/pretrain).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; --trunk takes its last/ or best/ afterwards.")],
    demos: Annotated[
        list[str] | None,
        typer.Argument(help="Further sets: FOLDER, of a domain named like its embodiment, or DOMAIN=FOLDER."),
    ] = None,
    size: Annotated[str, typer.Option(help="Trunk instead of the preset's: small, base, large, xlarge, huge.")] = "",
    trunk: Annotated[str, typer.Option(help="Go on with this trunk, as `hpt-ros finetune --trunk`; or none.")] = "none",
    steps: Annotated[int | None, typer.Option(help="Training steps instead of the preset's.")] = None,
    draws: Annotated[int | None, typer.Option(help="Sets drawn for a step, over all processes.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows of each draw.")] = None,
    exponent: Annotated[float | None, typer.Option(help="Sets are drawn in proportion to their size to it.")] = None,
    parallel: Annotated[
        str | None, typer.Option(help="With several processes: ddp, or fsdp: the trunk in shards, for large and huge.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of initialisation, draws, dropout and split.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of torch.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: cuda if there is one.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing or interrupted run.")] = False,
) -> None:
    """Pre-train a trunk on many embodiments; with `torchrun --no-python hpt-ros pretrain ...` on several processes or machines."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    import torch

    from hpt_ros.heap import keep_all_blocks
    from hpt_ros.training.pretraining import load_pretrain_config
    from hpt_ros.training.pretraining import pretrain as run

    given: dict[str, Any] = {"steps": steps, "draws": draws, "batch_size": batch_size, "exponent": exponent}
    given |= {"parallel": parallel}
    config = load_pretrain_config(preset).with_sets([_set(text) for text in demos or []])
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    config = config.sized(size) if size else config
    keep_all_blocks()
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    leads = os.environ.get("RANK", "0") == "0"
    with progress_bar() as bar:
        row = bar.add_task("pretrain", total=config.steps, note="") if leads else None

        def show(step: StepReport) -> None:
            if leads:
                bar.update(row, completed=step.step, note=_figures(step))

        features = None

        def cache(done: int, total: int) -> None:
            nonlocal features
            if leads and features is None:
                features = bar.add_task("image features", total=total)
            if leads and features is not None:
                bar.update(features, completed=done, total=total)

        source = None if trunk == "none" else trunk
        options: dict[str, Any] = {"seed": seed, "device": device, "overwrite": overwrite}
        report = run(config, out, trunk=source, progress=show, caching=cache, **options)
    if leads:
        console.print(_summary(report))
        console.print(
            f"fine-tune with: hpt-ros finetune DEMOS --preset FILE --trunk {out / 'last'} --out runs/NAME", markup=False
        )


def _set(text: str) -> tuple[str, Path]:
    """DOMAIN=FOLDER, or a folder whose domain is the name of its embodiment."""
    domain, found, folder = text.partition("=")
    if found:
        return domain, Path(folder)
    from hpt_ros.demos import Demos

    return Demos.open(text).embodiment.name, Path(text)


def _figures(step: StepReport) -> str:
    val = "" if step.val_loss is None else f"  val {step.val_loss:.4f}"
    return f"loss {step.loss:.4f}{val}  lr {step.lr:.1e}  {step.samples_per_s:.0f} samples/s"


def _summary(report: PretrainReport) -> Table:
    table = Table(title=f"run {report.out}", title_justify="left")
    for name in ("domain", "set", "episodes", "windows", "chance", "loss", "held-out"):
        table.add_column(name, justify="left" if name in ("domain", "set") else "right")
    for s in report.sources:
        losses = ("" if loss is None else f"{loss:.4f}" for loss in (s.loss, s.val_loss))
        table.add_row(s.domain, s.path, str(s.episodes), str(s.windows), f"{s.chance:.1%}", *losses)
    numbers = next(iter(report.parameters.values()))["trunk"]["total"]
    table.caption = (
        f"trunk of {numbers:,} parameters, {report.outcome.steps} steps on {report.workers} process(es) "
        f"in {report.outcome.duration_s:.0f} s, final loss {report.outcome.loss:.4f}"
    )
    table.caption_justify = "left"
    return table
