"""The audit as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from hpt_ros.demos.audit.audit import AuditReport
from hpt_ros.demos.audit.findings import Finding, Group
from hpt_ros.demos.audit.plots import coverage_png, joints_png, lengths_png, picture_png
from hpt_ros.demos.audit.view import EpisodeView

_MAX_EPISODES = 12  # with pictures; those with a finding about a camera come on top
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; } th { text-align: left; }
td, th { padding: .3em .7em; border-bottom: 1px solid #ddd; vertical-align: top; }
.harmful { color: #b00020; font-weight: bold; } .suspect { color: #9a6200; font-weight: bold; } .note { color: #555; }
figure { display: inline-block; margin: .3em; } figcaption { font-size: 80%; color: #555; } img { max-width: 100%; }
figure img { height: 110px; margin-right: 3px; image-rendering: pixelated; }
"""


def html_page(report: AuditReport, title: str) -> str:
    """A whole document; every text that comes from a bag is escaped."""
    body = [f"<h1>{escape(title)}</h1>", *_findings(report.groups)]
    if report.views:
        body += [*_summary(report.facts), *_plots(report), *_pictures(report.views, report.findings)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _findings(groups: Sequence[Group]) -> Iterator[str]:
    if not groups:
        yield "<p>Nothing was found.</p>"
        return
    yield "<table><tr><th>harm</th><th>finding</th><th>where</th><th>worst</th><th>expected</th><th>what to do</th></tr>"
    for group in groups:
        worst = group.worst
        cells = (worst.seen, worst.expected, worst.remedy)
        yield (
            f'<tr><td class="{worst.severity}">{worst.severity}</td><td>{escape(group.kind)}</td><td>{_where(group)}</td>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + "</tr>"
        )
    yield "</table>"


def _where(group: Group) -> str:
    rows = "".join(
        f"<tr><td>{escape(f.episode)}</td><td>{escape(f.subject)}</td><td>{escape(f.seen)}</td></tr>"
        for f in group.findings
    )
    return f"<details><summary>{escape(group.summary())}</summary><table>{rows}</table></details>"


def _summary(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Figures</h2><table>"
    for key, value in facts.items():
        if key not in ("joints", "streams"):
            yield f"<tr><th>{escape(key)}</th><td>{escape(_text(value))}</td></tr>"
    yield "</table>"
    for key in ("streams", "joints"):
        if facts[key]:
            columns = list(next(iter(facts[key].values())))
            yield _table([key, *columns], ([name, *row.values()] for name, row in facts[key].items()))


def _plots(report: AuditReport) -> Iterator[str]:
    yield "<h2>Plots</h2>"
    for png in (
        coverage_png(report.views),
        lengths_png(report.views),
        joints_png(report.views, report.facts["joints"]),
    ):
        yield f"<p>{_image(png, 'plot')}</p>"


def _pictures(views: Sequence[EpisodeView], findings: Sequence[Finding]) -> Iterator[str]:
    yield "<h2>Pictures</h2>"
    named = {finding.episode for finding in findings if finding.subject.startswith("camera.")}
    shown = [view for i, view in enumerate(views) if i < _MAX_EPISODES or view.name in named]
    for view in shown:
        for camera, frames in view.cameras.items():
            images = "".join(_image(picture_png(pixels), camera) for pixels in frames.thumbnails)
            yield f"<figure>{images}<figcaption>{escape(view.name)}, {escape(camera)}</figcaption></figure>"
    if len(shown) < len(views):
        yield f"<p>{len(views) - len(shown)} more episodes are not shown.</p>"


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = ("<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " to ".join(_text(item) for item in value)
    return "not known" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _image(png: bytes, alternative: str) -> str:
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
