"""A process that converts bags for `pool`: jobs come as lines of JSON, shares and outcomes go back in the same way.

It ends when its standard input does, in the middle of a job if need be: a run that was killed leaves no workers.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import cv2

from hpt_ros.configuration import from_mapping
from hpt_ros.demos.part import Job, convert_bag, outcome_to
from hpt_ros.demos.settings import ConvertSettings
from hpt_ros.embodiment import embodiment_from


def main() -> int:
    """Work until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well, which ends its workers
    cv2.setNumThreads(1)
    lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    context = lines.get()
    embodiment = embodiment_from(context["embodiment"])
    settings = from_mapping(ConvertSettings, context["settings"])
    while True:
        job = lines.get()
        try:
            outcome = convert_bag(
                Job(Path(job["bag"]), Path(job["folder"]), job["key"]),
                embodiment,
                settings,
                lambda share: _say({"share": share}),
            )
            _say({"outcome": outcome_to(outcome)})
        except OSError as error:
            _say({"errno": error.errno, "message": str(error)})


def _listen(lines: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        lines.put(json.loads(line))
    os._exit(0)  # the main thread may be deep in a bag


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
