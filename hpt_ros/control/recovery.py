"""What brings the robot's side back after an error: the seam between the commander and a back-end."""

from __future__ import annotations

from typing import Protocol


class RecoveryPort(Protocol):
    """Clears the robot's errors and gives its controllers back; never moves the arm.

    `recover` runs in a thread of its own while the node's executor spins: it may call services and actions of its node
    and wait for their futures. It is only called while the arm is not commanded (IDLE or FAULT), once at a time.
    """

    def recover(self, timeout_s: float) -> str:
        """Recover, and say in a few words what was done.

        Raises:
            HptRosError: it did not succeed, and what a person can do.
        """
