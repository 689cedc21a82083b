"""Language: instructions -> tokens of a frozen T5, computed once and kept with the checkpoint."""

from hpt_ros.model.language.cache import InstructionCache, LanguageTokens
from hpt_ros.model.language.encoder import LanguageEncoder
from hpt_ros.model.language.t5 import embed, with_instruction

__all__ = ["InstructionCache", "LanguageEncoder", "LanguageTokens", "embed", "with_instruction"]
