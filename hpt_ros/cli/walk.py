"""The plan of the walk: its stages as command lines, what is done, and the report."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from hpt_ros import __version__
from hpt_ros.evaluation.plot import walk_plot
from hpt_ros.evaluation.report import Evaluation, grouped
from hpt_ros.evaluation.report_page import report_page


@dataclass(frozen=True)
class Stage:
    """One command of `hpt-ros`, what is there once it has succeeded, and the stages whose results it reads."""

    name: str
    command: tuple[str, ...]
    result: Path
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Walk:
    """Size of the walk and where it writes."""

    out: Path
    task: str
    episodes: int
    trials: int
    untrained_trials: int
    preset: str
    timeout_s: float
    steps: int | None = None

    @classmethod
    def full(cls, out: Path, task: str) -> Walk:
        """What `make demo` does."""
        return cls(out, task, episodes=50, trials=20, untrained_trials=20, preset="sim", timeout_s=8.0)

    @classmethod
    def quick(cls, out: Path, task: str) -> Walk:
        """The same stages, small enough for a minute; the policy learns next to nothing."""
        return cls(out, task, episodes=3, trials=2, untrained_trials=1, preset="quick", timeout_s=3.0)

    def changed(self, episodes: int | None, trials: int | None, steps: int | None) -> Walk:
        """The walk with the given sizes; None keeps."""
        new: dict[str, Any] = {"episodes": episodes, "trials": trials, "untrained_trials": trials, "steps": steps}
        return dataclasses.replace(self, **{k: v for k, v in new.items() if v is not None})

    @property
    def log_dir(self) -> Path:
        """Where the nodes of every stage log."""
        return self.out / "log"

    @property
    def run(self) -> Path:
        """The training run."""
        return self.out / "runs" / self.task

    def evaluation(self, name: str) -> Path:
        """Folder of the trials of the `trained` or `untrained` network."""
        return self.out / "evaluation" / name

    def is_done(self, stage: Stage) -> bool:
        """Whether this very command has succeeded before and its result is still there."""
        return stage.result.exists() and self._record().get(stage.name, {}).get("key") == self._key(stage)

    def mark_done(self, stage: Stage) -> None:
        """Remember that the stage has succeeded."""
        runs = self._record().get(stage.name, {}).get("runs", 0) + 1
        self._update(stage, key=self._key(stage), runs=runs)

    @contextlib.contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the time inside to the stage's."""
        began = time.monotonic()
        try:
            yield
        finally:
            entry = self._record().get(stage.name, {})
            self._update(stage, seconds=entry.get("seconds", 0.0) + time.monotonic() - began)

    def write_report(self) -> dict[str, Any]:
        """Gather the stages' results into report.json and report.png."""
        tried = {name: Evaluation.load(self.evaluation(name)) for name in ("trained", "untrained")}
        results = {name: json.loads((e.folder / "summary.json").read_text()) for name, e in tried.items()}
        seconds = {stage.name: round(self._record()[stage.name]["seconds"], 1) for stage in stages(self)}
        report = {
            "task": self.task,
            "episodes": self.episodes,
            "version": __version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "trained": results["trained"],
            "untrained": results["untrained"],
            "stage_s": seconds,
            "paths": {
                "bags": str(self.out / "bags" / self.task),
                "demonstrations": str(self.out / "demos" / self.task),
                "checkpoint": str(self.run / "last"),
                "plot": str(self.out / "report.png"),
                "videos": str(self.evaluation("trained") / "videos"),
                "page": str(self.out / "trials.html"),
                "report": str(self.out / "report.json"),
            },
        }
        (self.out / "trials.html").write_text(report_page(grouped(list(tried.values()))))
        walk_plot(self.out / "report.png", self.run / "metrics.jsonl", results, seconds)
        temporary = self.out / "report.json.new"
        temporary.write_text(json.dumps(report, indent=2) + "\n")
        temporary.replace(self.out / "report.json")
        return report

    def screen(self, report: dict[str, Any]) -> Table:
        """The report on one screen."""
        table = Table(
            title=f"{self.task}: {self.episodes} demonstrations, {report['machine']}",
            title_justify="left",
            show_header=False,
        )
        for name in ("trained", "untrained"):
            result = report[name]
            low, high = result["interval_95"]
            ends = ", ".join(f"{count} {end}" for end, count in result["terminations"].items())
            table.add_row(
                f"success, {name}",
                f"{result['successes']} of {result['trials']} ({result['success_rate']:.0%}, 95 % interval {low:.0%} to {high:.0%}): {ends}",
            )
        trained = report["trained"]
        for label, key, unit in (
            ("policy rate", "policy_rate_hz", "Hz"),
            ("policy step p50", "policy_latency_p50_ms", "ms"),
            ("policy step p99", "policy_latency_p99_ms", "ms"),
            ("tick to commander p99", "chunk_latency_p99_ms", "ms"),
            ("command rate", "command_rate_hz", "Hz"),
            ("command lateness p99", "command_lateness_p99_ms", "ms"),
            ("simulator", "real_time_factor", "x real time"),
        ):
            value = trained[key]
            table.add_row(
                label, f"{value['median']:.2f} {unit} (median of the trials; {value['min']:.2f} to {value['max']:.2f})"
            )
        table.add_row("ticks without observation", str(trained["stale_ticks"]))
        table.add_row("time", ", ".join(f"{name} {value:.0f} s" for name, value in report["stage_s"].items()))
        for name, path in report["paths"].items():
            table.add_row(name, path)
        return table

    def _key(self, stage: Stage) -> str:
        """Changes with the command and with every stage before it that was run again."""
        record = self._record()
        before = [record.get(s.name, {}).get("runs", 0) for s in stages(self) if s.name in stage.needs]
        return hashlib.sha256(json.dumps([__version__, *stage.command, *before]).encode()).hexdigest()

    def _record(self) -> dict[str, Any]:
        path = self.out / "stages.json"
        record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return record

    def _update(self, stage: Stage, **values: object) -> None:
        record = self._record()
        record[stage.name] = record.get(stage.name, {}) | values
        temporary = self.out / "stages.json.new"
        temporary.write_text(json.dumps(record, indent=2) + "\n")
        temporary.replace(self.out / "stages.json")


def stages(walk: Walk) -> list[Stage]:
    """The commands of the walk in order."""
    bags, demos = walk.out / "bags", walk.out / "demos" / walk.task
    log = ("--log-dir", str(walk.log_dir))
    record = ("record", "--sim", "--task", walk.task, "--episodes", str(walk.episodes), "--bags", str(bags), *log)
    # a busy machine simulates and renders less often than declared: that is no fault of the walk
    choices = ("--allow-slow", "--overwrite")
    convert = ("convert", str(bags / walk.task), "--embodiment", "sim_panda", "--out", str(demos), *choices)
    steps = ("--steps", str(walk.steps)) if walk.steps else ()
    finetune = ("finetune", str(demos), "--preset", walk.preset, "--out", str(walk.run), "--overwrite", *steps)
    plan = [
        Stage("record", record, bags / walk.task),
        Stage("convert", convert, demos / "demos.json", ("record",)),
        Stage("finetune", finetune, walk.run / "last" / "checkpoint.json", ("record", "convert")),
    ]
    for name, checkpoint, trials in (("trained", "last", walk.trials), ("untrained", "initial", walk.untrained_trials)):
        out = walk.evaluation(name)
        evaluate = (
            "evaluate",
            str(walk.run / checkpoint),
            "--sim",
            "--task",
            walk.task,
            "--trials",
            str(trials),
            "--timeout-s",
            str(walk.timeout_s),
            "--out",
            str(out),
            "--overwrite",
            "--no-bags",
            *log,
        )
        plan.append(Stage(f"evaluate {name}", evaluate, out / "summary.json", ("record", "convert", "finetune")))
    return plan
