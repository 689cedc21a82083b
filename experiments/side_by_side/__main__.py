"""`python -m experiments.side_by_side [--quick]`: HPT, its published recipe, ACT and Diffusion Policy on the same demonstrations.

All train on one set for the same wall time, and act from the same scenes over DDS, through the same commander and its limiter.
Needs the demonstrations of `experiments.panda_lift`; 2 GB for lerobot's environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from experiments.side_by_side.lerobot_training import KINDS, PACE, Lerobot, write_pace
from experiments.side_by_side.trials import Contest, contest
from hpt_ros.cli.output import console
from hpt_ros.demos import Demos
from hpt_ros.errors import HptRosError
from hpt_ros.evaluation.report import Evaluation, grouped
from hpt_ros.evaluation.report_page import HEADINGS, figures, report_page
from hpt_ros.sim.tasks import task_named

_PUBLISHED = Path(__file__).with_name("published_recipe.yaml")
_PACE_STEPS = 40  # a multiple of the steps between two lines of metrics
_COLUMNS = (0, 1, 2, 4, 7, 8)  # of the report's table: what one is chosen by, and how each failed
_SEED = 2_000_000  # of the trials' scenes, as those of the proof run
_NODE, _LEROBOT_NODE = "hpt_ros.nodes.policy_node", "experiments.side_by_side.policy_node"


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
    limit_s = 3.0 if quick else task_named(given.task).time_limit_s
    plan = Contest(given.task, 1 if quick else 50, _SEED, limit_s)
    try:
        for name in given.only.split(","):
            console.rule(name, align="left")
            _contend(name, demos, given.venv, out, plan, 5 if quick else 60 * given.minutes)
        _write(out, out / "docs" if quick else given.docs, given.minutes)
    except (HptRosError, subprocess.CalledProcessError) as error:
        console.print(f"error: {error}", markup=False)
        return getattr(error, "exit_code", 1)
    return 0


def _contend(name: str, demos: Path, venv: Path, out: Path, plan: Contest, wall_time_s: float) -> None:
    trials, robot = out / "trials" / name, Demos.open(demos).embodiment
    trials.mkdir(parents=True, exist_ok=True)
    if name in KINDS:
        exported = out / "lerobot_dataset"
        if not (exported / "meta" / "info.json").exists():
            _hpt("demos", "export", demos, exported, "--overwrite")
        lerobot = Lerobot(venv, exported)
        lerobot.install()
        checkpoint = lerobot.train(name, out / "runs" / name, wall_time_s, robot)
        contest(checkpoint, _LEROBOT_NODE, robot, trials, plan)
    else:
        preset = "sim_lift" if name == "hpt" else str(_PUBLISHED)
        contest(_hpt_run(demos, out / "runs" / name, preset, wall_time_s) / "last", _NODE, robot, trials, plan)


def _hpt_run(demos: Path, run: Path, preset: str, wall_time_s: float) -> Path:
    """Train for about the wall time, by the pace of a few steps."""
    if not (run / "last" / "checkpoint.json").exists():
        pace = run.with_name(f"{run.name}_pace")
        _finetune(demos, preset, pace, _PACE_STEPS + 1)
        before_last = json.loads((pace / "metrics.jsonl").read_text().splitlines()[-2])
        step_s = before_last["eta_s"] / (before_last["steps"] - before_last["step"])
        began = time.monotonic()
        _finetune(demos, preset, run, max(10, round(wall_time_s / step_s)))
        write_pace(run, step_s, time.monotonic() - began)
    return run


def _finetune(demos: Path, preset: str, run: Path, steps: int) -> None:
    _hpt("finetune", demos, "--preset", preset, "--out", run, "--steps", steps, "--overwrite")


def _hpt(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "hpt_ros.cli.main", *map(str, arguments)], check=True)


def _write(out: Path, docs: Path, minutes: float) -> None:
    evaluations = [Evaluation.load(folder.parent) for folder in sorted((out / "trials").glob("*/trials.jsonl"))]
    groups = grouped(evaluations)
    docs.mkdir(parents=True, exist_ok=True)
    (out / "report.html").write_text(report_page(groups))
    lines = [
        "# Side by side\n\nWritten by `python -m experiments.side_by_side`: the same demonstrations, ",
        f"{minutes:g} minutes of training each on this machine ({_trained(out)}, from the start of the command to its end), the same scenes, over DDS through the same commander. ACT is lerobot 0.4.4's with its own settings ",
        "but a chunk of 16; its Diffusion Policy has a U-Net of 64 and 128 channels and 10 DDIM steps, so that a processor computes a chunk in time. Both: 8 windows a batch, not tuned for so short a training.\n\n",
        "What it says is what so much training on this machine gives. ACT and Diffusion Policy are usually trained for hours on a GPU; nothing here says what they reach then.\n\n",
        "| " + " | ".join(HEADINGS[i] for i in _COLUMNS) + " |\n|" + "---|" * len(_COLUMNS) + "\n",
    ]
    for group in groups:
        lines += [
            "| " + " | ".join(figures(candidate)[i] for i in _COLUMNS) + " |\n" for candidate in group.candidates()
        ]
        lines.append("\n")
        lines += [f"- {finding}\n" for comparison in group.comparisons() for finding in comparison.findings()[:2]]
    (docs / "side_by_side.md").write_text("".join(lines))
    (out / "figures.json").write_text(json.dumps([group.candidates() for group in groups], indent=2) + "\n")
    console.print(f"{docs / 'side_by_side.md'}, {out / 'report.html'}", markup=False)


def _trained(out: Path) -> str:
    found = {path.parent.name: json.loads(path.read_text())["seconds"] for path in sorted(out.glob(f"runs/*/{PACE}"))}
    return ", ".join(f"{name} {seconds / 60:.1f} min" for name, seconds in found.items())


if __name__ == "__main__":
    sys.exit(main())
