"""Trials of one checkpoint over DDS, through the commander, as `hpt-ros evaluate --sim` runs them, with any policy node."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import yaml

from hpt_ros.bringup.attach import bring_up, join
from hpt_ros.bringup.switch import PolicySwitch
from hpt_ros.cli.evaluate import simulated_trials
from hpt_ros.embodiment import Embodiment, embodiment_to
from hpt_ros.evaluation.order import missing, planned_trials
from hpt_ros.evaluation.report import Evaluation, write_summary
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
    from hpt_ros.nodes.session import Session
    from hpt_ros.nodes.trial_runner import Candidate, TrialRunner, TrialSetup

    candidate = Candidate(checkpoint, hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest())
    header = {
        "checkpoints": [{"path": str(checkpoint.resolve()), "weights_sha256": candidate.weights_sha256}],
        **{"task": plan.task, "seed": plan.seed, "timeout_s": plan.timeout_s},
        **{"simulated": True, "variation": "none"},
    }
    log = TrialLog(out / "trials.jsonl", header)
    planned = list(islice(planned_trials(1, plan.seed), plan.trials))
    if missing(planned, [trial.index for trial in log.trials]):
        robot = out / "robot.yaml"
        robot.write_text(yaml.safe_dump(embodiment_to(embodiment), sort_keys=False))
        setup = TrialSetup(plan.task, "", "simulator", plan.seed, plan.timeout_s, out, records=False)
        graph = {"task": plan.task, "seed": str(plan.seed), "embodiment": str(robot), "bags_dir": ""}
        logs = out / "log"
        with ExitStack() as stack:
            nodes = stack.enter_context(bring_up("demo", graph, None, logs))
            domain_id = join(None)
            switch = stack.enter_context(PolicySwitch({"embodiment": str(robot)}, domain_id, logs, module))

            def alive() -> None:
                switch.check()
                nodes.check()

            session = stack.enter_context(Session(alive, domain_id=domain_id))
            runner = TrialRunner(session, switch, [candidate], setup, None)
            runner.require_nodes(owns_domain=True)
            simulated_trials(runner, log, planned)
    write_summary(out / "summary.json", Evaluation(out, header, tuple(log.trials)))
