"""One episode in the Rerun viewer (rerun.io)."""

from __future__ import annotations

from typing import Any

from hpt_ros.demos.demos import Demos
from hpt_ros.demos.optional import require
from hpt_ros.demos.view import episode_at, jpeg


def open_rerun(demos: Demos, number: int) -> None:
    """Start the viewer and send the episode to it.

    Raises:
        DataError: there is no episode of that number.
        MissingDependencyError: rerun-sdk is not installed.
    """
    rerun = require("rerun", "--rerun", "rerun-sdk")
    recording = rerun.RecordingStream("hpt_ros")
    episode_at(demos, number)
    recording.spawn()
    log_episode(rerun, recording, demos, number)
    recording.flush()


def log_episode(rerun: Any, recording: Any, demos: Demos, number: int) -> None:
    """Log images, depth, state and commands to `recording`, a stream of the module `rerun`, on the timeline `tick`."""
    episode, robot = episode_at(demos, number), demos.embodiment
    recording.log("instruction", rerun.TextDocument(episode.instruction or episode.task), static=True)
    for i in range(episode.start, episode.stop):
        recording.set_time("tick", timestamp=int(demos.tick_ns[i]) / 1e9)
        for name, frames in demos.images.items():
            recording.log(f"images/{name}", rerun.EncodedImage(contents=jpeg(frames[i]), media_type="image/jpeg"))
        for name, maps in demos.depth.items():
            recording.log(f"depth/{name}", rerun.DepthImage(maps[i], meter=1000))
        for path, names, values in (
            ("state", robot.state_names, demos.state[i]),
            ("command", robot.command_names, demos.command[i]),
        ):
            for name, value in zip(names, values, strict=True):
                recording.log(f"{path}/{name}", rerun.Scalars(float(value)))
