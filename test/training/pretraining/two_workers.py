"""What two processes that `torchrun` started agree and disagree about, and the gradients of a step: RANK.json, RANK.safetensors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from hpt_ros.configuration import from_mapping, load_yaml
from hpt_ros.errors import BusyError, HptRosError
from hpt_ros.model.multi_policy import MultiPolicy
from hpt_ros.training.pretraining import PretrainConfig
from hpt_ros.training.pretraining.learner import PretrainLearner
from hpt_ros.training.pretraining.sources import open_sources
from hpt_ros.training.pretraining.workers import Workers
from hpt_ros.training.state_file import RunState


def answer(act: Callable[[], object]) -> str:
    try:
        act()
    except HptRosError as error:
        return f"{error.exit_code} {error.message}"
    return "accepted"


def main() -> None:
    with Workers() as workers:
        rank = workers.rank

        def refuse_on_1() -> None:
            if rank == 1:
                raise BusyError("the folder is in use")

        tensors = [torch.full((3,), 1.0 + rank), torch.full((2,), 10.0 + rank, dtype=torch.float64)]
        workers.sum(tensors)
        state = RunState({"a": 1}, {"step": 5}, {"w": torch.arange(3.0), "n": torch.tensor(7)}) if rank == 0 else None
        shared = workers.shared_state(state)
        assert shared is not None
        met = {
            "mine": list(workers.mine(range(5))),
            "sums": [tensor.tolist() for tensor in tensors],
            "one refuses": answer(lambda: workers.together(refuse_on_1)),
            "same facts": answer(lambda: workers.require_same({"seed": 3})),
            "other facts": answer(lambda: workers.require_same({"seed": rank, "data": {"x": 1}})),
            "state": [shared.track, shared.tensors["w"].tolist(), shared.tensors["n"].tolist()],
            "no state": workers.shared_state(None),
            "gathered": workers.gathered("x" * (1 + 9 * rank)),
        }
        out = Path(sys.argv[1])
        (out / f"{rank}.json").write_text(json.dumps(met))
        learner, policy = make_learner(from_mapping(PretrainConfig, load_yaml(Path(sys.argv[2]))), workers)
        learner.step()
        gradients = {name: p.grad for name, p in policy.named() if p.grad is not None}
        save_file(gradients, out / f"{rank}.safetensors")


def make_learner(config: PretrainConfig, workers: Workers) -> tuple[PretrainLearner, MultiPolicy]:
    """What `pretrain` steps."""
    torch.manual_seed(0)
    sources = open_sources(config, 0)
    policy = MultiPolicy(config.policy, sources.embodiments)
    for domain in policy.domains:
        policy[domain].scaling.fit(*sources.rows(domain))
    return PretrainLearner(config, policy, sources, workers, 0), policy


if __name__ == "__main__":
    main()
