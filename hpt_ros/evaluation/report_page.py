"""A report as one HTML file that needs nothing else: tables, plots, what is shown and what is not, videos of the trials."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from hpt_ros.evaluation.report import Group
from hpt_ros.evaluation.report_plots import success_png, time_png
from hpt_ros.evaluation.trials import Trial

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; } th { text-align: left; }
td, th { padding: .3em .7em; border-bottom: 1px solid #ddd; vertical-align: top; }
img { max-width: 100%; } video { height: 160px; } .shown { color: #0a6b2d; font-weight: bold; }
.s1 { background: #dff3e4; } .s05 { background: #fdf3d7; } .s0 { background: #fbe3e4; }
"""


def report_page(groups: Sequence[Group], videos: bool = True) -> str:
    """A whole document; every text that comes from a file is escaped. `videos` embeds those that are there."""
    body = ["<h1>Trials</h1>"]
    for group in groups:
        body += _group(group, videos)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Trials</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _group(group: Group, videos: bool) -> Iterator[str]:
    conditions = ", ".join(f"{key}: {value}" for key, value in group.conditions.items())
    candidates = group.candidates()
    yield f"<h2>{escape(str(group.conditions.get('task')))}</h2><p>{escape(conditions)}</p>"
    yield table(HEADINGS, (figures(candidate) for candidate in candidates))
    if group.trials:
        yield f"<p>{_image(success_png(candidates), 'success and score')}</p>"
        yield f"<p>{_image(time_png(group.trials, group.names), 'time to success, latency')}</p>"
    for comparison in group.comparisons():
        yield f"<h3>{escape(comparison.second)} against {escape(comparison.first)}</h3><ul>"
        for finding in comparison.findings():
            mark = ' class="shown"' if finding.startswith("Shown") else ""
            yield f"<li{mark}>{escape(finding)}</li>"
        yield "</ul>"
    yield "<h3>Trials</h3>"
    yield from _trials(group.trials, group.names, videos)


HEADINGS = (
    *("checkpoint", "trials", "success (95 % Wilson)", "mean score (95 % bootstrap)", "median time to success"),
    *("interventions", "faults", "other ends", "policy step p50 / p99 [ms]", "command lateness p99 [ms]"),
)


def figures(candidate: Mapping[str, Any]) -> list[str]:
    """A candidate's row under HEADINGS."""
    low, high = candidate["interval_95"]
    score_low, score_high = candidate["mean_score_interval_95"]
    seconds = candidate["time_to_success_s"]
    ends = candidate["terminations"]
    others = ", ".join(f"{count} {name}" for name, count in ends.items() if name not in ("success", "fault"))
    return [
        candidate["checkpoint"],
        str(candidate["trials"]),
        f"{candidate['successes']} ({candidate['success_rate']:.0%}; {low:.0%} to {high:.0%})",
        f"{candidate['mean_score']:.2f} ({score_low:.2f} to {score_high:.2f})",
        "-" if seconds is None else f"{seconds:.1f} s",
        str(candidate["interventions"]),
        str(ends.get("fault", 0)),
        others or "-",
        f"{_median(candidate, 'policy_latency_p50_ms')} / {_median(candidate, 'policy_latency_p99_ms')}",
        _median(candidate, "command_lateness_p99_ms"),
    ]


def _median(candidate: Mapping[str, Any], key: str) -> str:
    found = candidate[key].get("median")
    return "-" if found is None else f"{found:.1f}"


def _trials(trials: Sequence[Trial], names: Mapping[str, str], videos: bool) -> Iterator[str]:
    yield "<table><tr><th>trial</th><th>start</th><th>checkpoint</th><th>score</th><th>end</th><th>time</th><th>note</th><th>video</th></tr>"
    for trial in sorted(trials, key=lambda t: (t.block, t.checkpoint)):
        style = {1.0: "s1", 0.5: "s05", 0.0: "s0"}[trial.score]
        end = f"{trial.termination}: {trial.reason}" if trial.reason else trial.termination
        helped = f"{trial.interventions} interventions" if trial.interventions else ""
        cells = (
            *(str(trial.index + 1), str(trial.block), names[trial.checkpoint], f"{trial.score:g}", end),
            *(f"{trial.duration_s:.1f} s", "; ".join(text for text in (trial.note, helped) if text)),
        )
        yield f'<tr class="{style}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        yield f"<td>{_video(Path(trial.video)) if videos and trial.video else ''}</td></tr>"
    yield "</table>"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table of plain texts."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _video(path: Path) -> str:
    if not path.is_file():
        return escape(f"{path.name} is gone")
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<details><summary>show</summary><video controls preload="none" src="data:video/webm;base64,{data}"></video></details>'


def _image(png: bytes, alternative: str) -> str:
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
