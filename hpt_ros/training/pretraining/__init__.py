"""Pre-training of the trunk on many embodiments."""

from hpt_ros.training.pretraining.config import PretrainConfig, load_pretrain_config, pretrain_presets
from hpt_ros.training.pretraining.run import PretrainReport, pretrain

__all__ = ["PretrainConfig", "PretrainReport", "load_pretrain_config", "pretrain", "pretrain_presets"]
