"""Fine-tuning on demonstrations."""

from hpt_ros.training.config import FinetuneConfig, finetune_presets, load_finetune_config
from hpt_ros.training.finetuning import RunReport, finetune
from hpt_ros.training.learner import DivergedError
from hpt_ros.training.loop import Outcome, StepReport

__all__ = [
    "DivergedError",
    "FinetuneConfig",
    "Outcome",
    "RunReport",
    "StepReport",
    "finetune",
    "finetune_presets",
    "load_finetune_config",
]
