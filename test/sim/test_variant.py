"""Other robots out of the simulated Panda."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpt_ros.embodiment import Embodiment, load_embodiment
from hpt_ros.errors import ConfigError
from hpt_ros.sim.offline import OfflineScene
from hpt_ros.sim.variant import Variant, View
from hpt_ros.sim.world import World

TURNED = Variant(base_m=(0.03, -0.06), base_yaw_rad=0.35, tool_m=0.05)


def facing(variant: Variant) -> Embodiment:
    """sim_panda whose first joint makes up for the turned base."""
    panda = load_embodiment("sim_panda")
    return replace(panda, home_rad=(panda.home_rad[0] - variant.base_yaw_rad, *panda.home_rad[1:]))


@pytest.mark.parametrize("task", ["reach", "lift", "push"])
def test_the_expert_drives_an_arm_that_stands_elsewhere_with_a_longer_tool(task: str) -> None:
    with OfflineScene(task, facing(TURNED), images=False, variant=TURNED) as scene:
        assert len(list(scene.run_expert(1))) > 20
        assert scene.world.success


def test_base_and_tool_move_the_tool_centre_point() -> None:
    plain, turned = World(home_rad=facing(Variant()).home_rad), World(home_rad=facing(TURNED).home_rad, change=TURNED)
    assert plain.tcp_m[2] - turned.tcp_m[2] == pytest.approx(0.05, abs=0.005)  # the start is a little tilted
    radius = np.linalg.norm(plain.tcp_m[:2])
    assert np.linalg.norm(turned.tcp_m[:2] - TURNED.base_m) == pytest.approx(radius, abs=0.01)


def test_views_and_colours_change_the_picture() -> None:
    variant = Variant(views={"front": View((1.0, 0.7, 0.7), (0.45, 0.0, 0.05))}, colours={"table": (0.0, 0.0, 1.0)})
    pictures = []
    for changed in (None, variant):
        with OfflineScene("reach", size_px=(48, 48), variant=changed) as scene:
            pictures.append(next(scene.run_expert(0)).images)
    plain, other = pictures
    assert np.abs(plain["front"].astype(int) - other["front"]).mean() > 20
    assert other["wrist"][..., 2].mean() > plain["wrist"][..., 2].mean() + 50  # it looks at the blue table
    assert other["wrist"][..., 0].mean() < plain["wrist"][..., 0].mean() - 50


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (Variant(views={"ceiling": View((1, 0, 1), (0, 0, 0))}), "views: found 'ceiling'"),
        (Variant(colours={"gold": (1, 1, 0)}), "colours: found 'gold'"),
    ],
)
def test_unknown_parts_are_refused(variant: Variant, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        World(change=variant)
