"""What of a pre-trained trunk fine-tuning may change."""

from __future__ import annotations

from hpt_ros.model import HPTPolicy
from hpt_ros.model.lora import FACTORS, blocks
from hpt_ros.model.weights import matches
from hpt_ros.training.config import Freeze


def freeze_trunk(policy: HPTPolicy, freeze: Freeze) -> None:
    """Keep nothing, everything, or the first `freeze` blocks of the trunk as they are; LoRA factors always train.

    Freezing 0 blocks freezes none; in the published code it freezes all.
    """
    if freeze == "none":
        return
    every = blocks(policy.trunk)
    for block in every if freeze == "all" else every[:freeze]:
        for name, parameter in block.named_parameters():
            if not matches(name, FACTORS):
                parameter.requires_grad_(False)
