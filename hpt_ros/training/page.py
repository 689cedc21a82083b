"""One page on a finished run: curves, errors, an open-loop replay, and how to deploy. It needs nothing but itself."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from hpt_ros.demos import Demos
from hpt_ros.evaluation.replay import ColumnErrors, EpisodeReplay, column_errors, replay_episodes
from hpt_ros.evaluation.replay_plot import replay_plot
from hpt_ros.model import Checkpoint, PolicyRunner, load_checkpoint

PAGE = "report.html"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; } th { text-align: left; }
td, th { padding: .3em .7em; border-bottom: 1px solid #ddd; } td + td { text-align: right; }
.warning { color: #9a6200; } img { max-width: 100%; } pre { background: #f4f4f4; padding: .7em; }
"""


def write_page(run: Path, sets: Sequence[Path], *, deploy: str, warnings: Sequence[str] = ()) -> Path:
    """Write `report.html` into a complete run; `deploy` is the command that serves it.

    One held-out episode is replayed with `best`, or the first episode of training with `last` where none was held out.
    """
    report = json.loads((run / "report.json").read_text())
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    name = "best" if report["held_out_episodes"] else "last"
    checkpoint = load_checkpoint(run / name)
    demos, episode, which = _episode(checkpoint, [Demos.open(path) for path in sets])
    replays, columns = _replayed(checkpoint, demos, episode)
    body = [
        f"<h1>{escape(str(run))}</h1>",
        *(f'<p class="warning">{escape(w)}</p>' for w in warnings),
        f"<p>Deploy:</p><pre>{escape(deploy)}</pre>",
        _facts(report, checkpoint.provenance),
        f"<h2>Curves</h2>{_image(_curves(metrics))}",
        f"<h2>Error by action</h2><p>Open loop, over the rows that are executed, of {escape(which)}.</p>{_errors(columns)}",
        _image(_replay_png(replays[0], columns, demos.embodiment.policy.period_ns / 1e9)),
        _parameters(report["parameters"]),
        f"<h2>Settings</h2><pre>{escape(json.dumps(checkpoint.provenance['settings'], indent=1))}</pre>",
    ]
    path = run / PAGE
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(str(run))}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n",
        encoding="utf-8",
    )
    return path


def _episode(checkpoint: Checkpoint, sets: Sequence[Demos]) -> tuple[Demos, int, str]:
    """Set and number of the episode to replay, and which one it is."""
    held_out = checkpoint.provenance["data"]["held_out"]
    of_set, episode = held_out[0] if held_out else (0, 0)
    kind = "a held-out episode" if held_out else "an episode that was trained on"
    return sets[of_set], episode, f"episode {episode} of {sets[of_set].path}, {kind}"


def _replayed(checkpoint: Checkpoint, demos: Demos, episode: int) -> tuple[list[EpisodeReplay], list[ColumnErrors]]:
    follows = checkpoint.policy.config.language is not None

    def actor(instruction: str) -> PolicyRunner:
        return PolicyRunner(checkpoint, threads=1, instruction=instruction if follows else "")

    replays = replay_episodes(actor, demos, [episode], lambda _: None)
    return replays, column_errors(replays, demos.embodiment)


def _facts(report: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    outcome = report["outcome"]
    best = outcome["best_val_loss"]
    rows = {
        "demonstrations": ", ".join(provenance["data"]["sets"]),
        "episodes": f"{report['episodes']} trained on, {report['held_out_episodes']} held out, {report['windows']} windows",
        "trunk": provenance["trunk"]["source"],
        "weights that are saved": provenance.get("served_weights", "as trained"),
        "steps": f"{outcome['steps']} in {outcome['duration_s']:.0f} s, {outcome['samples_per_s']:.0f} samples/s",
        "time": ", ".join(f"{phase} {share:.0%}" for phase, share in outcome["phases"].items()),
        "loss": f"{outcome['loss']:.4f} in training"
        + ("" if best is None else f", {best:.4f} at best on held-out episodes, at step {outcome['best_step']}"),
    }
    lines = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f"<table>{lines}</table>"


def _errors(columns: Sequence[ColumnErrors]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("action", "unit", "mean", "p95", "max", "standing still"))
    rows = "".join(
        f"<tr><td>{escape(c.name)}</td><td>{c.unit}</td>"
        + "".join(f"<td>{x:.4f}</td>" for x in (c.mean, c.p95, c.max, c.standing_still))
        + "</tr>"
        for c in columns
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _parameters(counts: Mapping[str, Mapping[str, int]]) -> str:
    rows = "".join(f"<tr><td>{p}</td><td>{c['total']:,}</td><td>{c['trained']:,}</td></tr>" for p, c in counts.items())
    return f"<h2>Parameters</h2><table><tr><th>part</th><th>total</th><th>trained</th></tr>{rows}</table>"


def _curves(metrics: Sequence[Mapping[str, Any]]) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (loss, error, rate) = pyplot.subplots(1, 3, figsize=(13, 3.4), layout="constrained")
    for key, label in (("loss", "training"), ("val_loss", "held-out episodes")):
        points = [(row["step"], row[key]) for row in metrics if row.get(key) is not None]
        if points:
            loss.semilogy(*zip(*points, strict=True), label=label)
    loss.set(title="loss, normalised units", xlabel="step")
    loss.legend()
    measured = [row for row in metrics if row.get("val_error")]
    for name in measured[0]["val_error"] if measured else ():
        error.plot([row["step"] for row in measured], [row["val_error"][name] for row in measured], label=name)
    error.set(title="held-out error by action [rad or m]", xlabel="step")
    if measured:
        error.legend(fontsize="x-small")
    rate.plot([row["step"] for row in metrics], [row["lr"] for row in metrics])
    rate.set(title="learning rate", xlabel="step")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    pyplot.close(figure)
    return buffer.getvalue()


def _replay_png(replay: EpisodeReplay, columns: Sequence[ColumnErrors], period_s: float) -> bytes:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "replay.png"
        replay_plot(path, replay, columns, period_s)
        return path.read_bytes()


def _image(png: bytes) -> str:
    return f'<p><img alt="plot" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'
