"""Stamped raw messages -> one observation at a tick, live and offline alike."""

from hpt_ros.streams.buffer import Sample, StreamBuffer
from hpt_ros.streams.cdr import header_stamp_ns
from hpt_ros.streams.observer import PATIENCE_NS, Observation, Observer, StaleStreamError

__all__ = [
    "PATIENCE_NS",
    "Observation",
    "Observer",
    "Sample",
    "StaleStreamError",
    "StreamBuffer",
    "header_stamp_ns",
]
