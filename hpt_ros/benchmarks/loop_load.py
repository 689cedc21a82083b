"""The load of `hpt-ros bench loop`: a policy that acts without a pause, until SIGTERM.

`python -m hpt_ros.benchmarks.loop_load CHECKPOINT THREADS`
"""

from __future__ import annotations

import sys
from pathlib import Path

from hpt_ros.benchmarks.policy_scene import Stream
from hpt_ros.model import PolicyRunner, load_checkpoint


def main() -> None:
    """Never returns."""
    runner = PolicyRunner(load_checkpoint(Path(sys.argv[1])), threads=int(sys.argv[2]))
    stream = Stream(runner.embodiment)
    while True:
        runner.act(stream.next()[0])


if __name__ == "__main__":
    main()
