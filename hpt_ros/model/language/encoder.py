"""The language modality: the tokens of each sample's instruction as features."""

from __future__ import annotations

from torch import nn

from hpt_ros.errors import DataError
from hpt_ros.model.batch import Batch, Features
from hpt_ros.model.config import LanguageConfig


class LanguageEncoder(nn.Module):
    """Tokens of the instruction (N, L, E) -> features (N, 1, 1, L, E), padding hidden; it has no weights of its own."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.feature_dim = config.width

    def forward(self, batch: Batch) -> Features:
        values, keep = batch.language, batch.language_keep
        if values is None or keep is None:
            raise DataError(
                "the batch has no language, and this policy was made for instructions",
                "give `language` and `language_keep`, as InstructionCache.tokens does",
            )
        if values.ndim != 3 or values.shape[-1] != self.feature_dim or keep.shape != values.shape[:-1]:
            raise DataError(
                f"language of shape {tuple(values.shape)} with keep {tuple(keep.shape)}; "
                f"expected (samples, tokens, {self.feature_dim}) and (samples, tokens)",
                "use tokens of the model that language.weights names",
            )
        return Features(values[:, None, None], keep[:, None, None])
