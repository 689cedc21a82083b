"""Hand-guiding: the commander must have let go."""

from __future__ import annotations

import numpy as np
from bench import PANDA

from hpt_ros.teleop.arm_view import Commanded
from hpt_ros.teleop.hand import HandGuiding
from hpt_ros.teleop.state_machine import State

Q = np.array(PANDA.home_rad)


def test_the_arm_may_be_moved_only_while_nobody_commands_it() -> None:
    hand = HandGuiding(PANDA)
    hand.tick(0.0)
    assert hand.state is State.WAITING
    assert "no fresh joint states on /franka/joint_states" in hand.reason
    hand.arm.on_measured(Q, 1.0)
    hand.tick(1.0)
    assert hand.state is State.ACTIVE
    hand.arm.on_commander("RUNNING", 1.1)
    hand.tick(1.1)
    assert (hand.state, hand.reason[:24]) == (State.REFUSED, "the commander is RUNNING")
    hand.arm.on_commander("IDLE", 1.2)
    hand.arm.on_commanded(Commanded(Q, 0 * Q, 0.08, "hold"), 1.2)
    hand.tick(1.2)
    assert (hand.state, hand.reason[:20]) == (State.REFUSED, "the arm is commanded"), "commands are still on their way"
    hand.arm.on_measured(Q, 1.5)
    hand.tick(1.5)
    assert hand.state is State.ACTIVE
    hand.tick(2.5)
    assert hand.state is State.SILENT
