"""The pieces of a cell, each by the command that a user would give; what is there already is not made again."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from experiments.offline_trials import OfflinePlan, offline_trials
from experiments.panda_lift.plan import Cell, Plan
from hpt_ros.cli.record import committed
from hpt_ros.configuration import to_mapping
from hpt_ros.embodiment import embodiment_to, load_embodiment
from hpt_ros.errors import BusyError, HptRosError
from hpt_ros.training.config import load_finetune_config

DISTURBANCE = 1.0  # the arm is pushed about and comes back: demonstrations show how to correct


class Stages:
    """Files of one plan below `out`: recordings, runs, trials by cell."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan, self.out = plan, out

    def trials(self, cell: Cell) -> Path:
        """Folder of a cell's trials."""
        return self.out / "trials" / cell.name

    def is_done(self, cell: Cell) -> bool:
        """Whether the cell has its result."""
        return (self.trials(cell) / "summary.json").exists()

    def run(self, cell: Cell) -> None:
        """Everything that the cell needs, then its trials."""
        checkpoint = self._train(cell) / cell.checkpoint
        out = self.trials(cell)
        if cell.over == "offline":
            plan = OfflinePlan(cell.task, self.plan.trials, self.plan.seed, cell.variation)
            offline_trials(checkpoint, out, plan)
            return
        options = ["--task", cell.task, "--trials", self.plan.trials, "--seed", self.plan.seed, "--no-bags"]
        options += ["--embodiment", self._embodiment(cell, cell.strategy), "--variation", cell.variation]
        if self.plan.name == "quick":
            options += ["--timeout-s", 3]
        self._hpt("evaluate", checkpoint, "--sim", "--out", out, *options)

    def _record(self, cell: Cell) -> list[Path]:
        """The first demonstrations of the recording."""
        bags = self.out / "bags" / cell.recording
        most = max(c.demos for c in self.plan.cells if c.recording == cell.recording)
        if len(committed(bags / cell.task)) < most:
            options = ["--task", cell.task, "--episodes", most, "--bags", bags, "--timeout-s", 20]
            options += ["--disturbance", DISTURBANCE, "--embodiment", self._embodiment(cell)]
            self._hpt("record", "--sim", *options)
        return committed(bags / cell.task)[: cell.demos]

    def _convert(self, cell: Cell) -> Path:
        demos = self.out / "demos" / f"{cell.recording}_{cell.demos}"
        if not (demos / "demos.json").exists():
            self._hpt(
                "convert", *self._record(cell), "--out", demos, "--embodiment", self._embodiment(cell), "--allow-slow"
            )
        return demos

    def _train(self, cell: Cell) -> Path:
        run = self.out / "runs" / cell.run
        if not (run / "last" / "checkpoint.json").exists():
            steps = ["--steps", self.plan.steps] if self.plan.steps else []
            self._hpt(
                "finetune", self._convert(cell), "--preset", self._preset(cell), "--out", run, "--overwrite", *steps
            )
        return run

    def _preset(self, cell: Cell) -> str:
        preset = self.plan.preset or cell.preset
        if not cell.head and not cell.augmentation:
            return preset
        settings = to_mapping(load_finetune_config(preset))
        if cell.head:
            settings["policy"]["head"] = dict(cell.head)
        if cell.augmentation:
            settings["augmentation"] = dict(cell.augmentation)
        return str(self._yaml(f"preset_{cell.run}", settings))

    def _embodiment(self, cell: Cell, strategy: str = "receding_horizon") -> str:
        usual = load_embodiment("sim_panda")
        cameras = tuple(camera for camera in usual.cameras if camera.name in cell.cameras)
        changed = replace(usual, cameras=cameras, policy=replace(usual.policy, strategy=strategy))
        if changed == usual:
            return "sim_panda"
        return str(self._yaml(f"robot_{'_'.join(cell.cameras)}_{strategy}", embodiment_to(changed)))

    def _yaml(self, name: str, data: object) -> Path:
        path = self.out / f"{name}.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    def _hpt(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "hpt_ros.cli.main", *map(str, arguments)]
        logs = ["--log-dir", str(self.out / "log")] if arguments[0] in ("record", "evaluate") else []
        code = subprocess.run([*command, *logs], check=False).returncode
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise HptRosError(
                f"hpt-ros {' '.join(map(str, arguments))} ended with code {code}", "run the same again: it goes on"
            )


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the folder: two runs would mix their files."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(f"another run writes to {out}", "choose another --out, or wait for it") from error
        yield
