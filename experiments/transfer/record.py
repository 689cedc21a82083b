"""Demonstrations of the scripted expert, written as `hpt-ros convert` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from experiments.transfer.robots import Robot
from hpt_ros import __version__
from hpt_ros.demos import Demos, Episode
from hpt_ros.demos.align import Row
from hpt_ros.demos.store import FORMAT_VERSION, INDEX, RowsWriter, statistics
from hpt_ros.embodiment import Embodiment, embodiment_to, fingerprint
from hpt_ros.embodiment.columns import ActionKind
from hpt_ros.paths import whole_folder
from hpt_ros.sim.coverage import spread_seeds
from hpt_ros.sim.offline import OfflineScene, Sample
from hpt_ros.streams import Observation

FIRST_DEMO_SEED, FIRST_TRIAL_SEED, FIRST_CHECK_SEED = 0, 1_000_000, 2_000_000


@dataclass(frozen=True)
class SceneOf:
    """What is demonstrated on which robot, with which kind of action."""

    robot: Robot
    task: str
    pixels: int
    kind: ActionKind = "joint_position"


def record(folder: Path, scene: SceneOf, count: int) -> None:
    """`count` successful demonstrations from starts that are spread evenly."""
    _record(folder, scene, spread_seeds(scene.task, FIRST_DEMO_SEED), count)


def record_checks(folder: Path, scene: SceneOf, count: int) -> None:
    """Demonstrations from random starts that nothing is trained on."""
    _record(folder, scene, range(FIRST_CHECK_SEED, FIRST_CHECK_SEED + 1000), count)


def shorten(source: Path, folder: Path, count: int) -> None:
    """A set of the first `count` demonstrations of another."""
    demos = Demos.open(source)
    with whole_folder(folder) as new:
        with RowsWriter(new, demos.embodiment, received=False, interventions=False) as writer:
            writer.extend(source, 0, demos.episodes[count - 1].stop)
        _write_index(new, demos.embodiment, writer, list(demos.episodes[:count]))


def _record(folder: Path, of: SceneOf, seeds: Iterable[int], count: int) -> None:
    embodiment = of.robot.embodiment(of.pixels, of.kind)
    episodes: list[Episode] = []
    with (
        whole_folder(folder) as new,
        OfflineScene(of.task, embodiment, (of.pixels, of.pixels), variant=of.robot.variant) as scene,
    ):
        with RowsWriter(new, embodiment, received=False, interventions=False) as writer:
            for seed, samples in islice(_successes(scene, seeds), count):
                start = writer.rows
                for number, sample in enumerate(samples):
                    writer.append(_row(sample, start + number))
                instruction = scene.world.task.instruction
                source = f"seed {seed}"
                episodes.append(
                    Episode(start, writer.rows, 1.0, of.task, instruction, "expert", "success", __version__, source)
                )
        _write_index(new, embodiment, writer, episodes)


def _successes(scene: OfflineScene, seeds: Iterable[int]) -> Iterable[tuple[int, list[Sample]]]:
    for seed in seeds:
        samples = list(scene.run_expert(seed))
        if scene.world.success:
            yield seed, samples


def _row(sample: Sample, number: int) -> Row:
    images = {name: image[None] for name, image in sample.images.items()}
    return Row(Observation(number, sample.state[None], images, {}), sample.target, 0)


def _write_index(folder: Path, embodiment: Embodiment, writer: RowsWriter, episodes: list[Episode]) -> None:
    index = {
        "format": FORMAT_VERSION,
        "embodiment": embodiment_to(embodiment),
        "fingerprint": fingerprint(embodiment),
        "episodes": [asdict(episode) for episode in episodes],
        "images": writer.images(),
        "skipped": [],
        "statistics": statistics(folder),
        "sync": {},
        "provenance": {"software": f"hpt_ros {__version__}", "simulated": "scripted expert, without ROS"},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
