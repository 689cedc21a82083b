"""How much of the disk the episodes that are still missing will take."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_EPISODE_S = 30.0


@dataclass
class SpaceEstimate:
    """Bytes per second and mean length of the episodes so far; `episode_s` [s] is assumed before the first."""

    episode_s: float = DEFAULT_EPISODE_S
    _bytes: int = 0
    _duration_s: float = 0.0
    _episodes: int = 0

    def add(self, size: int, duration_s: float) -> None:
        """Count an episode that came to its end."""
        self._bytes += size
        self._duration_s += duration_s
        self._episodes += 1

    @property
    def bytes_per_s(self) -> float:
        """Of the episodes so far; 0 before the first."""
        return self._bytes / self._duration_s if self._duration_s > 0 else 0.0

    def needed_bytes(self, episodes: int, live_bytes_per_s: float) -> int:
        """For `episodes` more; before the first one `live_bytes_per_s` of the topics counts."""
        mean_s = self._duration_s / self._episodes if self._episodes else self.episode_s
        return round(episodes * mean_s * (self.bytes_per_s or live_bytes_per_s))
