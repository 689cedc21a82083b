import itertools

import numpy as np

from hpt_ros.sim.coverage import spread_seeds
from hpt_ros.sim.tasks import task_named


def places(seeds):
    return np.array([task_named("reach").start(seed).cube_m[:2] for seed in seeds])


def smallest_gap(points) -> float:
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(points, 2))


def test_scenes_are_spread_wider_than_by_chance():
    spread = places(itertools.islice(spread_seeds("reach", 0), 40))
    assert smallest_gap(spread) > 2 * smallest_gap(places(range(40)))


def pushes(seeds):
    starts = [task_named("push").start(seed) for seed in seeds]
    return np.array([np.concatenate([start.cube_m, start.mark_m]) for start in starts])


def mean_gap(points) -> float:
    return float(np.mean([np.sort(np.linalg.norm(points - point, axis=1))[1] for point in points]))


def test_marks_are_spread_as_cubes_are():
    by_chance = np.median([mean_gap(pushes(range(first, first + 40))) for first in range(0, 4000, 40)])
    assert mean_gap(pushes(itertools.islice(spread_seeds("push", 0), 40))) > 1.3 * by_chance


def test_the_same_first_seed_gives_the_same_scenes_and_goes_on():
    first = list(itertools.islice(spread_seeds("reach", 7), 10))
    assert list(itertools.islice(spread_seeds("reach", 7), 5)) == first[:5]
    assert len(set(first)) == 10
