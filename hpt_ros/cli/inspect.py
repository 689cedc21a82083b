"""`hpt-ros inspect` and `hpt-ros push`: what a checkpoint is made of, and the way to the hub."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from hpt_ros.cli.output import console


def inspect(
    source: Annotated[
        str, typer.Argument(help="Checkpoint, published folder or file, hf://OWNER/NAME, or reference.npz.")
    ],
    against: Annotated[str, typer.Option(help="Compare the trunk's tensors with those of another source.")] = "",
    num_heads: Annotated[int | None, typer.Option(min=1, help="Attention heads of reference.npz's trunk.")] = None,
    model_card: Annotated[str, typer.Option(help="Write the README.md that push uploads there; - for output.")] = "",
    json_out: Annotated[str, typer.Option("--json", help="Also write everything there; - for standard output.")] = "",
) -> None:
    """Verify weights and show where every tensor comes from; every number of a checkpoint is hashed again."""
    report = _reference(source, num_heads) if source.endswith(".npz") else _weights(source, against, model_card)
    if json_out:
        _write(json.dumps(report, indent=1, default=str) + "\n", json_out)
    for line in report.pop("summary", []):
        console.print(line, markup=False)
    _show_table(report)


def push(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face hub; created if need be.")],
    licence: Annotated[str, typer.Option("--license", help="The hub's identifier, such as apache-2.0.")] = "other",
    public: Annotated[bool, typer.Option("--public", help="Let everybody see a repository that is created.")] = False,
    revision: Annotated[str, typer.Option(help="Branch to write to.")] = "",
) -> None:
    """Upload a checkpoint with a model card to the Hugging Face hub."""
    from hpt_ros.model.from_pretrained import push_checkpoint

    address = push_checkpoint(checkpoint, repo, private=not public, revision=revision, licence=licence)
    console.print(f"pushed: {address}\nload with: HPTPolicy.from_pretrained('hf://{repo}')", markup=False)


def _weights(source: str, against: str, card: str) -> dict[str, Any]:
    from hpt_ros.model import load_checkpoint
    from hpt_ros.model import provenance as known
    from hpt_ros.model.checkpoint import DESCRIPTION
    from hpt_ros.model.hub import resolve
    from hpt_ros.model.model_card import model_card
    from hpt_ros.model.published import open_published

    place = resolve(source)
    if not (place.path / DESCRIPTION).is_file():
        if against or card:
            raise typer.BadParameter(f"{source} is no checkpoint: --against and --model-card need one")
        report = known.describe_file(open_published(place))
        return report | {"summary": _file_lines(report)}
    checkpoint = load_checkpoint(place.path)
    report = known.describe(checkpoint) | {"path": place.origin}
    lines = _checkpoint_lines(report)
    if against:
        compared = known.compare_trunk(checkpoint.policy, against)
        report["against"] = asdict(compared)
        lines.append(
            f"trunk against {compared.source}: {compared.equal} of {compared.compared} tensors equal, "
            f"mean absolute change {compared.mean_change:.3g}"
        )
    if card:
        _write(model_card(checkpoint.policy), card)
    return report | {"summary": lines}


def _reference(source: str, num_heads: int | None) -> dict[str, Any]:
    from hpt_ros.model.reference import compare_with_reference

    found = compare_with_reference(source, num_heads)
    worst = max(found.values())
    lines = [f"{name}: largest absolute difference {value:.3g}" for name, value in found.items()]
    return {"kind": "reference", "path": source, "outputs": found, "summary": [*lines, f"worst: {worst:.3g}"]}


def _checkpoint_lines(report: dict[str, Any]) -> list[str]:
    policy, head, contract = report["policy"], report["head"], report["contract"]
    cameras = ", ".join(f"{c['name']} {c['size_px'][1]}x{c['size_px'][0]}" for c in contract["cameras"])
    encoder = report["encoder"]
    changed = [row for row in report["tensors"] if not row["unchanged"]]
    lines = [
        f"checkpoint {report['path']}: every tensor has the hash it was saved with ({report['weights']})",
        f"embodiment: {report['embodiment']}, fingerprint {report['fingerprint']}",
        f"  state {len(contract['state'])} values; cameras {cameras}; "
        f"action {contract['action']['kind']} x {len(contract['action']['names'])}",
        f"  {contract['policy']['action_horizon']} rows at {contract['policy']['rate_hz']:g} Hz",
        f"network: {policy['embed_dim']} x {policy['num_blocks']} blocks x {policy['num_heads']} heads, "
        f"pooling {policy['pooling']}, modalities {', '.join(report['modalities'])}",
        f"head: {policy['head']['kind']}: {head['loss']}; {head['network_calls']} network call(s); {head['guarantees']}",
        f"encoder: {encoder['kind']} {encoder.get('weights') or 'trained with the policy'}, content {encoder['content']}",
        report["trunk"] + (f"; {len(changed)} of them changed in training" if report["tensors"] else ""),
    ]
    if policy.get("lora"):
        lines.append(f"lora: rank {policy['lora']['rank']}, alpha {policy['lora']['alpha']:g}")
    lines += [f"{key}: {json.dumps(report[key])}" for key in ("data", "metrics", "instructions") if report[key]]
    return lines


def _file_lines(report: dict[str, Any]) -> list[str]:
    sizes = ", ".join(f"{name} {value}" for name, value in report["sizes"].items())
    domains = "; ".join(f"{name} ({', '.join(found)})" for name, found in report["domains"].items())
    return [
        f"{report['kind']} {report['source']}: {len(report['tensors'])} tensors, {report['parameters']:,} parameters",
        f"sizes: {sizes}",
        f"trunk content {report['content']}",
        *([f"embodiments: {domains}"] if domains else []),
    ]


def _show_table(report: dict[str, Any]) -> None:
    if isinstance(counts := report.get("parameters"), dict):
        console.print(_parameters(counts))
    rows = report.get("tensors", [])
    if not rows:
        return
    lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:  # no table of rich: it cuts names where the terminal is narrow
        console.print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), markup=False
        )


def _parameters(counts: dict[str, Any]) -> Table:
    from hpt_ros.model.parameters import all_parameters

    table = Table()
    table.add_column("part")
    table.add_column("parameters", justify="right")
    table.add_column("trained", justify="right")
    for part, count in (counts | {"all": all_parameters(counts)}).items():
        table.add_row(part, f"{count['total']:,}", f"{count['trained']:,}")
    return table


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _write(text: str, to: str) -> None:
    if to == "-":
        sys.stdout.write(text)
    else:
        Path(to).write_text(text)
