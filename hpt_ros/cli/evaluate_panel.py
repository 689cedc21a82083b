"""What a person sees during trials: where they stand, which keys mean something, what the commander says. Never which policy runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from hpt_ros.evaluation.protocol import State

_STATE_STYLES = {
    State.PREPARING: "bold black on white",
    State.READY: "bold white on blue",
    State.RUNNING: "bold white on red",
    State.SCORING: "bold black on yellow",
    State.BLOCKED: "bold white on red",
}


@dataclass(frozen=True)
class TrialView:
    """All that is on the screen. `number` of `total` is the trial at hand; `elapsed_s` None: the arm does not run."""

    task: str
    person: str
    state: State
    number: int
    total: int
    done: int
    keys: Sequence[tuple[str, str]]
    commander: str
    scene: str
    waiting: str = ""
    termination: str = ""
    note: str = ""
    alert: str = ""
    elapsed_s: int | None = None
    timeout_s: float = 0.0


def trial_line(view: TrialView) -> str:
    """Where the trials stand, in one line."""
    parts = [f"trial {view.number} of {view.total}", f"{view.done} done"]
    if view.elapsed_s is not None:
        parts.append(f"{view.elapsed_s} of {view.timeout_s:g} s")
    if view.state is State.SCORING:
        parts.append(f"ended: {view.termination}; what is its score?")
    if view.state is State.READY:
        parts.append(f"restore the scene: {view.scene}")
    return ", ".join(parts)


def trial_screen(view: TrialView) -> RenderableType:
    """The live view."""
    lines: list[RenderableType] = [
        Text.assemble(
            (f" {view.state.value} ", _STATE_STYLES.get(view.state, "bold")),
            "  ",
            (trial_line(view), "bold"),
            f"  {view.waiting} ..." if view.waiting else "",
        ),
        Text("   ").join([Text.assemble((keys, "bold cyan"), f" {label}") for keys, label in view.keys]),
    ]
    if view.note:
        lines.append(Text(f"note: {view.note}", style="italic"))
    if view.alert:
        lines.append(Text(view.alert, style="bold red"))
    lines.append(Text(f"commander: {view.commander}", style="dim"))
    return Panel(
        Group(*lines), title=escape(view.task), subtitle=escape(view.person), title_align="left", subtitle_align="left"
    )
