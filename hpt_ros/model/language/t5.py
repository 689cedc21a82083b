"""Instructions through the encoder of a T5 (Raffel et al., arXiv 1910.10683); only new texts need it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from hpt_ros.configuration import check
from hpt_ros.errors import DataError, HptRosError
from hpt_ros.model.config import LanguageConfig
from hpt_ros.model.language.cache import InstructionCache, LanguageTokens, clean
from hpt_ros.model.pretrained import (
    WeightSource,
    download_command,
    find_weights,
    load_transformers,
    transformers_library,
)

USUAL = "google-t5/t5-base"
_DECODER = ("decoder.", "lm_head.")
_log = logging.getLogger(__name__)


def embed(config: LanguageConfig, texts: Iterable[str]) -> InstructionCache:
    """Tokens of every distinct text, float32 on the CPU.

    Raises:
        ConfigError: a model of another width than `language.width`.
        DataError: weights or tokenizer that are missing, damaged or of another hash; a text that is empty or too long.
        MissingDependencyError: transformers is not installed.
    """
    distinct = list(dict.fromkeys(map(clean, texts)))
    library = transformers_library("an instruction whose tokens are not known yet")
    source = find_weights(config.weights, config.sha256, remedy=download_command(config.weights, USUAL))
    tokenizer = _tokenizer(library, config, source)
    rows = [_token_ids(tokenizer, text, config.max_tokens) for text in distinct]
    model = load_transformers(library.T5EncoderModel, source, _DECODER)
    width = model.config.d_model
    check(width == config.width, "language.width", config.width, f"{width}, as {source.origin} has")
    values = dict(zip(distinct, _encode(model, rows, config.max_tokens), strict=True))
    return InstructionCache(values, source.record())


def with_instruction(cache: InstructionCache, config: LanguageConfig, text: str) -> InstructionCache:
    """The cache with the tokens of `text`, which are computed if they are not there and the model that made the others is.

    Raises:
        DataError: unknown, and the model cannot be used here; lists what is known and how to get the model.
    """
    try:
        cache.tokens(text)
    except DataError as unknown:
        if not clean(text):
            raise
        try:
            made_by = cache.source.get("sha256", config.sha256)
            added = embed(replace(config, sha256=made_by), [text])
        except HptRosError as error:
            raise DataError(
                f"{unknown.message}; its tokens cannot be computed here: {error.message}",
                f"{unknown.remedy}, or get the language model: {error.remedy}",
            ) from error
        _log.warning("instruction %r is not one that the policy was trained with", clean(text))
        return InstructionCache({**cache.entries, **added.entries}, cache.source)
    return cache


def _tokenizer(library: Any, config: LanguageConfig, source: WeightSource) -> Any:
    path, command = source.folder / "tokenizer.json", download_command(config.weights, USUAL)
    if not path.is_file():  # without it the library makes one that knows no word
        raise DataError(f"the language model has no tokenizer: missing: {path}", command)
    try:
        return library.AutoTokenizer.from_pretrained(str(source.folder), local_files_only=True)
    except Exception as error:  # the tokenizers' library raises bare exceptions
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a readable tokenizer: {reason}", command) from error


def _token_ids(tokenizer: Any, text: str, longest: int) -> list[int]:
    if not text:
        raise DataError("an instruction is empty", "write what the robot is to do")
    ids: list[int] = tokenizer(text)["input_ids"]
    if len(ids) > longest:
        raise DataError(
            f"instruction {text!r} has {len(ids)} tokens with the mark of the end, at most {longest} are read",
            "shorten it, or raise language.max_tokens",
        )
    if tokenizer.unk_token_id in ids:
        raise DataError(f"instruction {text!r} has words that the language model cannot read", "write it in English")
    return ids


@torch.no_grad()
def _encode(model: Any, rows: Sequence[Sequence[int]], length: int) -> list[LanguageTokens]:
    """One text at a time, so that its tokens do not depend, in the last bits, on those it came with."""
    tokens = []
    for ids in rows:
        values = torch.zeros(length, model.config.d_model)
        values[: len(ids)] = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        tokens.append(LanguageTokens(values, torch.arange(length) < len(ids)))
    return tokens
