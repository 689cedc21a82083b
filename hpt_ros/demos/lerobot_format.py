"""The LeRobot dataset format v3.0 (github.com/huggingface/lerobot, `lerobot/datasets`), as far as demonstrations need it.

meta/info.json                               features, frame rate, counts, patterns of the paths below
meta/stats.json                              statistics per feature over all frames
meta/tasks.parquet                           instruction -> task_index
meta/episodes/chunk-000/file-000.parquet     one row per episode: where its frames lie, statistics
data/chunk-000/file-000.parquet              one row per frame; PNG files embedded
videos/<feature>/chunk-000/file-000.mp4      with video features only
meta/hpt_ros.json                            ours: embodiment and origin of the episodes; LeRobot does not read it

`action` of frame i is what the arm does next: the command in force at frame i + 1, in the last frame of an episode the
last command again. So the rows of LeRobot's action chunk are the rows of a `Window`. `command` is the command in force at
the frame, which makes the way back exact. `tick_ns`, `command`, `intervention` and `depth.*` have names that LeRobot's
policies pass over.
"""

from __future__ import annotations

from typing import Any

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import DataError

CODEBASE_VERSION = "v3.0"
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
ORIGIN = "meta/hpt_ros.json"
ORIGIN_FORMAT = 1
EPISODES_FOLDER = "meta/episodes"
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
EPISODES_PATH = f"{EPISODES_FOLDER}/{_FILE}.parquet"
DATA_PATH = f"data/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"
FILES_PER_CHUNK = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200

STATE = "observation.state"
ACTION = "action"
COMMAND = "command"
TICK = "tick_ns"
INTERVENTION = "intervention"
PACKAGES = "pyarrow"
PURPOSE = "the LeRobot format"


def image_key(camera: str) -> str:
    """The feature that holds a camera."""
    return f"observation.images.{camera}"


def depth_key(camera: str) -> str:
    """The feature that holds a depth camera."""
    return f"depth.{camera}"


def frames_per_second(embodiment: Embodiment) -> int:
    """The policy rate as LeRobot writes it.

    Raises:
        DataError: the rate is no whole number.
    """
    rate_hz = embodiment.policy.rate_hz
    if rate_hz != int(rate_hz):
        raise DataError(
            f"policy.rate_hz is {rate_hz:g}, a LeRobot dataset has whole frames per second",
            "convert the bags with an embodiment whose policy.rate_hz is a whole number",
        )
    return int(rate_hz)


def features(embodiment: Embodiment, video: bool, interventions: bool) -> dict[str, dict[str, Any]]:
    """The `features` of info.json; cameras are videos or images. `interventions`: whether they are known."""
    found: dict[str, dict[str, Any]] = {
        STATE: _vector("float32", embodiment.state_names),
        ACTION: _vector("float32", embodiment.command_names),
        COMMAND: _vector("float32", embodiment.command_names),
    }
    for camera in embodiment.cameras:
        feature: dict[str, Any] = {"dtype": "image", "shape": [*camera.size_px, 3]}
        feature["names"] = ["height", "width", "channels"]
        if video:
            feature |= {"dtype": "video", "info": _video_info(camera.size_px, frames_per_second(embodiment))}
        found[image_key(camera.name)] = feature
    for depth in embodiment.depth:
        found[depth_key(depth.name)] = {"dtype": "uint16", "shape": list(depth.size_px), "names": ["height", "width"]}
    found[TICK] = _scalar("int64")
    if interventions:
        found[INTERVENTION] = _scalar("bool")
    found["timestamp"] = _scalar("float32")
    return found | {key: _scalar("int64") for key in ("frame_index", "episode_index", "index", "task_index")}


def place(number: int) -> dict[str, int]:
    """Chunk and file index of the n-th file of a kind."""
    chunk_index, file_index = divmod(number, FILES_PER_CHUNK)
    return {"chunk_index": chunk_index, "file_index": file_index}


def _scalar(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}


def _vector(dtype: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names)], "names": list(names)}


def _video_info(size_px: tuple[int, int], fps: int) -> dict[str, Any]:
    return {
        "video.height": size_px[0],
        "video.width": size_px[1],
        "video.codec": "av1",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
