"""The tokens of known instructions: `instructions.safetensors` and `instructions.json` in a checkpoint's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from hpt_ros.errors import DataError
from hpt_ros.model.weights import content_hash, read_tensors

TOKENS, TEXTS = "instructions.safetensors", "instructions.json"
FORMAT = 1


class LanguageTokens(NamedTuple):
    """Tokens of one instruction: values float32 (L, E), and keep bool (L,), False where they are padding."""

    values: Tensor
    keep: Tensor


@dataclass(frozen=True)
class InstructionCache:
    """Tokens by instruction; `source` is what made them: path and sha256 of the language model's weights."""

    entries: Mapping[str, LanguageTokens]
    source: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.entries:
            raise DataError("no instruction to keep the tokens of", "give every episode an instruction")

    @property
    def texts(self) -> tuple[str, ...]:
        """The instructions."""
        return tuple(self.entries)

    def tokens(self, text: str = "") -> LanguageTokens:
        """Tokens of an instruction; of the only one when `text` is empty.

        Raises:
            DataError: it is not here, or none is named and there are several; lists what is here.
        """
        wanted = clean(text)
        if not wanted and len(self.entries) == 1:
            wanted = self.texts[0]
        if wanted not in self.entries:
            said = f"instruction {wanted!r} is unknown" if wanted else "no instruction is given"
            raise DataError(
                f"{said}; known: {', '.join(map(repr, self.texts))}",
                "use one of these, word for word: instruction:=TEXT",
            )
        return self.entries[wanted]

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write the two files into an existing folder; gives their paths."""
        tensors = self._tensors()
        described = {
            "format": FORMAT,
            "content": content_hash(tensors.items()),
            "source": dict(self.source),
            "texts": list(self.entries),
        }
        paths = folder / TOKENS, folder / TEXTS
        paths[0].write_bytes(save(tensors))
        paths[1].write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return paths

    @classmethod
    def load(cls, folder: Path) -> InstructionCache:
        """Read what `save` wrote.

        Raises:
            DataError: a file is missing, damaged, of another format, or not the one that was saved with the other.
        """
        path = folder / TEXTS
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            if described["format"] != FORMAT:
                raise DataError(
                    f"{path}: format {described['format']}, this version reads format {FORMAT}",
                    "use a matching version of hpt_ros",
                )
            texts, source, content = list(described["texts"]), dict(described["source"]), described["content"]
        except OSError as error:
            raise DataError(
                f"{path}: {error.strerror}; the policy follows instructions and their tokens are not here",
                "restore the checkpoint's folder",
            ) from error
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: not the instructions of a checkpoint ({error})", "restore the file") from error
        tensors = read_tensors(folder / TOKENS)
        if content_hash(tensors.items()) != content or len(texts) != len(tensors.get("keep", ())):
            raise DataError(f"{folder / TOKENS}: not the tokens that {TEXTS} was written with", "restore both files")
        return cls(dict(zip(texts, map(LanguageTokens, tensors["values"], tensors["keep"]), strict=True)), source)

    def _tensors(self) -> dict[str, Tensor]:
        return {
            "values": torch.stack([tokens.values for tokens in self.entries.values()]),
            "keep": torch.stack([tokens.keep for tokens in self.entries.values()]),
        }


def clean(text: str) -> str:
    """An instruction without the white space that does not matter."""
    return " ".join(text.split())
