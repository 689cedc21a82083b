"""lerobot in a virtual environment of its own: made with pip, trained by its own command, asked over a socket."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.offline_trials import Contender
from experiments.side_by_side import wire
from hpt_ros.errors import HptRosError

_HERE = Path(__file__).parent
# lerobot 0.4.4 pins versions of torch and torchvision that do not fit this package's: without dependencies, then what it needs.
_INSTALLS = (
    ("torch>=2.4,<3",),
    ("--no-deps", "lerobot==0.4.4", "torchvision"),
    (
        *("datasets>=4,<5", "diffusers<0.36", "huggingface-hub[cli]>=0.34.2,<0.36", "accelerate<2", "einops"),
        *("opencv-python-headless<4.13", "av>=15,<16", "jsonlines", "packaging<26", "draccus==0.10.0", "gymnasium<2"),
        *("deepdiff<9", "imageio[ffmpeg]", "termcolor", "setuptools<81", "pyserial", "pynput"),
    ),
)
# Beside a CPU build of torch, torchvision's own library may not load: then its import fails for want of the operators that it registers fakes for.
_SHIM = """import torch
_library = torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
KINDS: Mapping[str, tuple[str, ...]] = {
    "act": ("--policy.chunk_size=16", "--policy.n_action_steps=4", "--batch_size=8"),
    "diffusion": ("--policy.horizon=16", "--policy.n_action_steps=8", "--batch_size=8"),
}
_TRIAL_STEPS = 10


@dataclass(frozen=True)
class Lerobot:
    """The environment's folder; `data` is an exported demonstration set."""

    venv: Path
    data: Path

    def install(self) -> None:
        """Make the environment, unless it is there."""
        if (self.venv / "ready").exists():
            return
        subprocess.run([sys.executable, "-m", "venv", str(self.venv)], check=True)
        for packages in _INSTALLS:
            subprocess.run([str(self._python), "-m", "pip", "install", "-q", *packages], check=True)
        if subprocess.run([str(self._python), "-c", "import torchvision"], check=False).returncode:
            site = next((self.venv / "lib").glob("python3.*")) / "site-packages"
            (site / "torchvision_shim.py").write_text(_SHIM)
            (site / "torchvision_shim.pth").write_text("import torchvision_shim\n")
        (self.venv / "ready").touch()

    def train(self, kind: str, out: Path, wall_time_s: float) -> Path:
        """Train for about the wall time, by the pace of a few steps; returns the checkpoint's folder."""
        checkpoint = out / "checkpoints" / "last" / "pretrained_model"
        if (out / "pace.json").exists() and checkpoint.exists():
            return checkpoint
        first_s = self._steps(kind, out.with_name(out.name + "_pace_1"), 1)
        more_s = self._steps(kind, out.with_name(out.name + "_pace"), 1 + _TRIAL_STEPS)
        step_s = max((more_s - first_s) / _TRIAL_STEPS, 1e-3)
        steps = max(1, round(wall_time_s / step_s))
        seconds = self._steps(kind, out, steps)
        (out / "pace.json").write_text(json.dumps({"steps": steps, "step_s": step_s, "seconds": seconds}) + "\n")
        return checkpoint

    def _steps(self, kind: str, out: Path, steps: int) -> float:
        if out.exists():
            subprocess.run(["rm", "-r", "--", str(out)], check=True)
        began = time.monotonic()
        command = [
            *(str(self.venv / "bin" / "lerobot-train"), f"--policy.type={kind}", "--dataset.repo_id=local/demos"),
            *(f"--dataset.root={self.data.resolve()}", f"--output_dir={out.resolve()}", f"--steps={steps}"),
            *(
                f"--save_freq={steps}",
                "--eval_freq=0",
                "--num_workers=0",
                "--policy.device=cpu",
                "--wandb.enable=false",
            ),
            *("--policy.push_to_hub=false", "--policy.pretrained_backbone_weights=null", *KINDS[kind]),
        ]
        if subprocess.run(command, env=self._environment, check=False).returncode:
            raise HptRosError(f"lerobot-train {kind} failed", "see its output above")
        return time.monotonic() - began

    @property
    def _python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": ""}


class Remote:
    """A policy in another process, one action at a time; a context manager."""

    def __init__(self, lerobot: Lerobot, checkpoint: Path) -> None:
        self._lerobot, self._checkpoint = lerobot, checkpoint

    def __enter__(self) -> Remote:
        command = [str(self._lerobot._python), str(_HERE / "lerobot_server.py"), str(self._checkpoint.resolve())]
        self._server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self._lerobot._environment)
        assert self._server.stdout is not None
        port = self._server.stdout.readline().strip()
        if not port:
            raise HptRosError("lerobot's policy could not be loaded", "see its output above")
        self._socket = socket.create_connection((wire.HOST, int(port)))
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._server.terminate()
        self._server.wait()

    def contender(self) -> Contender:
        """For trials."""
        weights = hashlib.sha256((self._checkpoint / "model.safetensors").read_bytes()).hexdigest()
        return Contender(
            str(self._checkpoint.resolve()), weights, lambda s, i: ask(self._socket, s, i), lambda _: self._reset()
        )

    def _reset(self) -> None:
        wire.send(self._socket, {}, {"reset": True})
        wire.receive(self._socket)


def ask(connection: socket.socket, state: NDArray[np.float32], images: Mapping[str, Any]) -> NDArray[np.float64]:
    """A chunk of one row: the action of the present tick."""
    wire.send(connection, {"state": state, **images})
    _, answer = wire.receive(connection)
    return np.asarray(answer["action"], float).reshape(1, -1)
