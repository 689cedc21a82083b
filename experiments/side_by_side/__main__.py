"""`python -m experiments.side_by_side [--quick]`: HPT, its published recipe, ACT and Diffusion Policy on the same demonstrations.

All train on one set for the wall time that the shipped preset took, and act from the same scenes in the simulator alone,
without latency and limiter. Needs the demonstrations and the run of `experiments.panda_lift`; 2 GB for lerobot's environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from experiments.offline_trials import OfflinePlan, offline_trials, try_offline
from experiments.side_by_side.lerobot import KINDS, Lerobot, Remote
from hpt_ros.cli.output import console
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptRosError
from hpt_ros.evaluation.report import Evaluation, grouped
from hpt_ros.evaluation.report_page import HEADINGS, figures, report_page

_PUBLISHED = Path(__file__).with_name("published_recipe.yaml")
_PACE_STEPS = 10


def main() -> int:
    """Train what is missing, try what is missing, write the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.side_by_side", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="seconds of training, one trial: shows that every piece works"
    )
    parser.add_argument("--demos", type=Path, help="default: out/panda_lift/demos/lift_100, or those of its quick run")
    parser.add_argument("--task", default="lift")
    parser.add_argument("--minutes", type=float, default=10.0, help="training time of each")
    parser.add_argument(
        "--venv", type=Path, default=Path.home() / ".cache" / "hpt_ros_lerobot", help="outside the repository"
    )
    parser.add_argument("--only", default="hpt,published,act,diffusion", help="with commas between")
    parser.add_argument("--out", type=Path, default=Path("out/side_by_side"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args()
    quick: bool = given.quick
    demos = given.demos or Path("out/panda_lift_quick/demos/lift_2" if quick else "out/panda_lift/demos/lift_100")
    out: Path = given.out / "quick" if quick else given.out
    try:
        for name in given.only.split(","):
            console.rule(name, align="left")
            _contend(
                name,
                demos,
                given.venv,
                out,
                OfflinePlan(given.task, 1 if quick else 50, 2_000_000),
                5 if quick else 60 * given.minutes,
            )
        _write(out, out / "docs" if quick else given.docs, given.minutes)
    except (HptRosError, subprocess.CalledProcessError) as error:
        console.print(f"error: {error}", markup=False)
        return getattr(error, "exit_code", 1)
    return 0


def _contend(name: str, demos: Path, venv: Path, out: Path, plan: OfflinePlan, wall_time_s: float) -> None:
    trials = out / "trials" / name
    if name in KINDS:
        exported = out / "lerobot_dataset"
        if not (exported / "meta" / "info.json").exists():
            _hpt("demos", "export", demos, exported, "--overwrite")
        lerobot = Lerobot(venv, exported)
        lerobot.install()
        checkpoint = lerobot.train(name, out / "runs" / name, wall_time_s)
        with Remote(lerobot, checkpoint) as remote:
            try_offline(remote.contender(), _embodiment(demos), trials, plan)
    else:
        preset = "sim" if name == "hpt" else str(_PUBLISHED)
        offline_trials(_hpt_run(demos, out / "runs" / name, preset, wall_time_s) / "last", trials, plan)


def _embodiment(demos: Path) -> Embodiment:
    from hpt_ros.demos import Demos

    return Demos.open(demos).embodiment


def _hpt_run(demos: Path, run: Path, preset: str, wall_time_s: float) -> Path:
    """Train for about the wall time, by the pace of a few steps."""
    if not (run / "last" / "checkpoint.json").exists():
        times = []
        for steps in (1, 1 + _PACE_STEPS):
            began = time.monotonic()
            _hpt(
                "finetune",
                demos,
                "--preset",
                preset,
                "--out",
                run.with_name(f"{run.name}_pace"),
                "--steps",
                steps,
                "--overwrite",
            )
            times.append(time.monotonic() - began)
        step_s = max((times[1] - times[0]) / _PACE_STEPS, 1e-3)
        _hpt(
            "finetune",
            demos,
            "--preset",
            preset,
            "--out",
            run,
            "--steps",
            max(10, round(wall_time_s / step_s)),
            "--overwrite",
        )
    return run


def _hpt(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hpt_ros.cli.main", *map(str, arguments)], check=True)


def _write(out: Path, docs: Path, minutes: float) -> None:
    evaluations = [Evaluation.load(folder.parent) for folder in sorted((out / "trials").glob("*/trials.jsonl"))]
    groups = grouped(evaluations)
    docs.mkdir(parents=True, exist_ok=True)
    (out / "report.html").write_text(report_page(groups))
    lines = [
        "# Side by side\n\nWritten by `python -m experiments.side_by_side`: the same demonstrations, ",
        f"about {minutes:g} minutes of training each on this machine, the same scenes, in the simulator without latency and limiter. ",
        "ACT and Diffusion Policy are those of lerobot 0.4.4 with its own settings, 8 demonstrations' windows a batch, not tuned for so short a training.\n\n",
        "| " + " | ".join(HEADINGS[:5]) + " |\n|" + "---|" * 5 + "\n",
    ]
    for group in groups:
        lines += ["| " + " | ".join(figures(candidate)[:5]) + " |\n" for candidate in group.candidates()]
        lines.append("\n")
        lines += [f"- {finding}\n" for comparison in group.comparisons() for finding in comparison.findings()]
    (docs / "side_by_side.md").write_text("".join(lines))
    (out / "figures.json").write_text(json.dumps([group.candidates() for group in groups], indent=2) + "\n")
    console.print(f"{docs / 'side_by_side.md'}, {out / 'report.html'}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
