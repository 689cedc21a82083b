"""Trials of one checkpoint over DDS, through the commander, as `hpt-ros evaluate --sim` runs them, with any policy node."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

from hpt_ros.cli.evaluate import conclude, simulated_trials, trial_stage, trials_header
from hpt_ros.embodiment import Embodiment, embodiment_to
from hpt_ros.evaluation.order import missing, planned_trials
from hpt_ros.evaluation.trials import TrialLog


@dataclass(frozen=True)
class Contest:
    """The same for all: scenes `seed`, `seed` + 1 ... of a task, as far as `trials` goes."""

    task: str
    trials: int
    seed: int
    timeout_s: float


def contest(checkpoint: Path, module: str, embodiment: Embodiment, out: Path, plan: Contest) -> None:
    """Run what is missing. `module`: the policy node that serves the checkpoint."""
    from hpt_ros.nodes.trial_runner import Candidate, TrialSetup

    candidate = Candidate(checkpoint, hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest())
    settings = {"task": plan.task, "seed": plan.seed, "timeout_s": plan.timeout_s}
    header = trials_header([candidate], **settings, simulated=True, variation="none")
    log = TrialLog(out / "trials.jsonl", header)
    planned = list(islice(planned_trials(1, plan.seed), plan.trials))
    if missing(planned, [trial.index for trial in log.trials]):
        robot = out / "robot.yaml"
        robot.write_text(yaml.safe_dump(embodiment_to(embodiment), sort_keys=False))
        setup = TrialSetup(plan.task, "", "simulator", plan.seed, plan.timeout_s, out, records=False)
        graph = {"task": plan.task, "seed": str(plan.seed), "embodiment": str(robot), "bags_dir": ""}
        policy, logs = {"embodiment": str(robot)}, out / "log"
        stage = trial_stage([candidate], embodiment, setup, graph, policy, None, logs, video=False, module=module)
        with stage as running:
            simulated_trials(running.runner, log, planned)
    conclude(out, header, log)
