"""The recording that comes with the repository: small, whole, and good for a first conversion."""

from __future__ import annotations

from pathlib import Path

from hpt_ros.cli.main import main
from hpt_ros.demos import Demos
from hpt_ros.demos.bag import find_bags
from hpt_ros.embodiment import fingerprint, load_embodiment
from hpt_ros.recording.verify import verify

SAMPLE = Path(__file__).parents[2] / "bags" / "sample"


def test_it_is_small_and_whole() -> None:
    (bag,) = find_bags([SAMPLE])
    assert verify(bag).problems == ()
    assert sum(path.stat().st_size for path in bag.iterdir()) < 3e6


def test_it_converts(tmp_path) -> None:
    assert main(["convert", str(SAMPLE), "--out", str(tmp_path / "demos")]) == 0
    demos = Demos.open(tmp_path / "demos")
    assert demos.fingerprint == fingerprint(load_embodiment("sim_panda_compressed"))
    assert len(demos) > 30
    assert demos.images["front"][0].std() > 5, "a picture, not one colour"
