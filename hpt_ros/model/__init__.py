"""HPT: stems, trunk, heads, encoders, normaliser, checkpoints."""

from hpt_ros.model.batch import Batch, Features, Tokens
from hpt_ros.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from hpt_ros.model.config import EncoderConfig, HeadConfig, LanguageConfig, LoraConfig, PolicyConfig
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.runner import PolicyRunner
from hpt_ros.model.trunk_source import TrunkReport, initialised_trunk, load_trunk

__all__ = [
    "Batch",
    "Checkpoint",
    "EncoderConfig",
    "Features",
    "HPTPolicy",
    "HeadConfig",
    "LanguageConfig",
    "LoraConfig",
    "PolicyConfig",
    "PolicyRunner",
    "Tokens",
    "TrunkReport",
    "initialised_trunk",
    "load_checkpoint",
    "load_trunk",
    "save_checkpoint",
]
