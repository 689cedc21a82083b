"""Positions out of serialized joint messages without decoding them, where their layout is proven to be the one before."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LITTLE = b"\x00\x01"
_BODY = 4  # alignment counts from behind the encapsulation
_AFTER_STAMP = 12
_U32 = struct.Struct("<I")


class PositionLayout:
    """Where the positions lie in a little-endian message that begins with a header, names and positions.

    What comes before them is the same bytes in the next message, but for the stamp: then they lie in the same place.
    """

    def __init__(self, raw: bytes, offset: int, picks: NDArray[np.intp], count: int) -> None:
        self._length = len(raw)
        self._head = bytes(raw[_AFTER_STAMP:offset])
        self._offset = offset
        self._count = count
        self._picks = picks

    def positions(self, raw: bytes) -> NDArray[np.float64] | None:
        """The positions in the order of the names asked for; None where the layout is another, or a value is not finite."""
        offset = self._offset
        if len(raw) != self._length or raw[:2] != _LITTLE or raw[_AFTER_STAMP:offset] != self._head:
            return None
        values = np.frombuffer(raw, "<f8", self._count, offset)[self._picks]
        return values if np.isfinite(values).all() else None


def layout_of(raw: bytes, found: Sequence[str], values: NDArray[Any], names: Sequence[str]) -> PositionLayout | None:
    """The layout of a message that was decoded to the names `found` and `values`; None where it cannot be proven."""
    if raw[:2] != _LITTLE or len(set(found)) != len(found):
        return None
    offset = _positions_offset(raw, len(found))
    if offset is None or offset + 8 * len(values) > len(raw):
        return None
    if not np.array_equal(np.frombuffer(raw, "<f8", len(values), offset), values):
        return None
    picks = np.array([list(found).index(name) for name in names], dtype=np.intp)
    return PositionLayout(raw, offset, picks, len(values))


def _positions_offset(raw: bytes, names: int) -> int | None:
    """Behind header, names and the count of positions, by the alignment rules of plain CDR; None where the bytes end before."""
    try:
        at = _after_text(raw, _AFTER_STAMP)
        at = _aligned(at, 4)
        if _U32.unpack_from(raw, at)[0] != names:
            return None
        at += 4
        for _ in range(names):
            at = _after_text(raw, at)
        return _aligned(_aligned(at, 4) + 4, 8)
    except struct.error:
        return None


def _after_text(raw: bytes, at: int) -> int:
    at = _aligned(at, 4)
    return at + 4 + int(_U32.unpack_from(raw, at)[0])


def _aligned(at: int, size: int) -> int:
    return _BODY + -(-(at - _BODY) // size) * size
