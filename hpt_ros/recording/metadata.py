"""What a bag says about its episode, in the `custom_data` of its metadata.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpt_ros import __version__
from hpt_ros.embodiment import Embodiment, embodiment_from, embodiment_to, fingerprint
from hpt_ros.errors import ConfigError, DataError

_PREFIX = "hpt_ros."
_SCENE = re.compile(r"scene seed (\d+)")


def scene_note(seed: int) -> str:
    """The note of an episode in a simulated scene, by which the scene can be laid out again."""
    return f"scene seed {seed}"


@dataclass(frozen=True)
class EpisodeMetadata:
    """Facts of one episode. `topics`: by topic what `TopicTally.statistics` says; `warnings`: what was wrong, and when."""

    embodiment: Embodiment
    task: str
    instruction: str
    operator: str
    score: float
    termination: str
    note: str = ""
    software: str = f"hpt_ros {__version__}"
    topics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def scene_seed(self) -> int | None:
        """Seed of the simulated scene, as `scene_note` says it."""
        found = _SCENE.search(self.note)
        return int(found[1]) if found else None

    def to_custom_data(self) -> dict[str, str]:
        """Text by key, as rosbag2 stores it; the embodiment and the topics are JSON."""
        values = {
            "task": self.task,
            "instruction": self.instruction,
            "operator": self.operator,
            "score": f"{self.score:g}",
            "termination": self.termination,
            "note": self.note,
            "software": self.software,
            "fingerprint": fingerprint(self.embodiment),
            "embodiment": json.dumps(embodiment_to(self.embodiment)),
            "topics": json.dumps(self.topics),
            "warnings": json.dumps(self.warnings),
        }
        return {_PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_custom_data(cls, data: Mapping[str, str]) -> EpisodeMetadata:
        """Read back what `to_custom_data` wrote.

        Raises:
            DataError: an entry is missing or malformed, as in a bag of another recorder.
        """
        try:
            values = {
                key: data[_PREFIX + key]
                for key in ("task", "instruction", "operator", "termination", "note", "software")
            }
            return cls(
                embodiment=embodiment_from(json.loads(data[_PREFIX + "embodiment"])),
                score=float(data[_PREFIX + "score"]),
                topics=json.loads(data[_PREFIX + "topics"]),
                warnings=tuple(json.loads(data.get(_PREFIX + "warnings", "[]"))),
                **values,
            )
        except KeyError as error:
            raise DataError(
                f"no {error.args[0]} in the bag's custom_data: it was not recorded by hpt_ros",
                "record with hpt_ros's recorder, which stores embodiment and score in the bag",
            ) from error
        except (ConfigError, ValueError) as error:
            raise DataError(f"the bag's custom_data cannot be read: {error}") from error
