"""What a person should know before and while a policy trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from hpt_ros.model import HPTPolicy, TrunkReport
from hpt_ros.model.normalizer import SMALLEST_RANGE, Scaling
from hpt_ros.training.config import FinetuneConfig
from hpt_ros.training.loop import StepReport

OVERFIT = 1.3  # times the lowest loss on held-out episodes


def before_training(config: FinetuneConfig, policy: HPTPolicy, trunk: TrunkReport, device: str) -> list[str]:
    """Sentences on data and settings that will hardly do what is meant."""
    body = policy.embodiment
    found = [
        *_dead("state", policy.scaling.state, body.state_names),
        *_dead("action", policy.scaling.action, [c.name for c in body.action_columns]),
    ]
    if trunk.source == "none" and (config.freeze not in ("none", 0) or config.policy.lora is not None):
        found.append("the trunk is frozen, wholly or in part, and its values are random: pass --trunk")
    if config.compute.precision == "bf16" and device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        found.append("this processor has no bfloat16 arithmetic: bf16 is several times slower here than fp32")
    return found


class OverfitWatch:
    """Says once that the loss on held-out episodes rises while that in training falls."""

    def __init__(self) -> None:
        self._lowest: tuple[float, float] | None = None  # on held-out episodes, and in training then
        self._said = False

    def __call__(self, report: StepReport) -> str:
        """A sentence, or nothing."""
        if report.val_loss is None:
            return ""
        if self._lowest is None or report.val_loss < self._lowest[0]:
            self._lowest = report.val_loss, report.loss
        lowest, loss_then = self._lowest
        if self._said or report.val_loss <= OVERFIT * lowest or report.loss >= loss_then:
            return ""
        self._said = True
        return (
            f"overfit: at step {report.step} the loss on held-out episodes is {report.val_loss / lowest:.1f} times its lowest, "
            "while training's fell further: deploy `best`, train shorter, or record more"
        )


def _dead(what: str, scaling: Scaling, names: Sequence[str]) -> Iterator[str]:
    seen = scaling.input_stats
    for name, low, high in zip(names, seen.min.tolist(), seen.max.tolist(), strict=True):
        if high - low < SMALLEST_RANGE:
            yield f"{what} {name} never changes (always {low:.4g}): nothing is learnt about it"
