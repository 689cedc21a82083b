"""lerobot in a virtual environment of its own: made with pip, trained by its own command. Not named lerobot.py: the server beside it imports lerobot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpt_ros.embodiment import Embodiment, embodiment_to
from hpt_ros.errors import HptRosError

FACTS = "hpt_ros.json"  # beside a checkpoint: what serves it, and for which robot
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
    "act": ("--policy.chunk_size=16", "--policy.n_action_steps=16", "--batch_size=8"),
    # 10 DDIM steps and a U-Net of a size that a core computes in time; lerobot's usual 100 steps take it minutes
    "diffusion": (
        *("--policy.horizon=24", "--policy.n_action_steps=16", "--batch_size=8"),
        *("--policy.down_dims=[64,128]", "--policy.noise_scheduler_type=DDIM", "--policy.num_inference_steps=10"),
    ),
}
_TRIAL_STEPS = 20
PACE = "pace.json"  # in a run's folder: what its training took


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

    def train(self, kind: str, out: Path, wall_time_s: float, embodiment: Embodiment) -> Path:
        """Train for about the wall time, by the pace of a few steps; returns the checkpoint's folder."""
        checkpoint = out / "checkpoints" / "last" / "pretrained_model"
        if (out / PACE).exists() and checkpoint.exists():
            return checkpoint
        self._steps(kind, out.with_name(out.name + "_pace_1"), 1)  # reads its files from the disk
        first_s = self._steps(kind, out.with_name(out.name + "_pace_1"), 1)
        more_s = self._steps(kind, out.with_name(out.name + "_pace"), 1 + _TRIAL_STEPS)
        step_s = max((more_s - first_s) / _TRIAL_STEPS, 1e-3)
        seconds = self._steps(kind, out, max(1, round(wall_time_s / step_s)))
        facts = {"kind": kind, "venv": str(self.venv.resolve()), "embodiment": embodiment_to(embodiment)}
        (checkpoint / FACTS).write_text(json.dumps(facts) + "\n")
        write_pace(out, step_s, seconds)
        return checkpoint

    def _steps(self, kind: str, out: Path, steps: int) -> float:
        if out.exists():
            shutil.rmtree(out)
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
        if subprocess.run(command, env=environment(), check=False).returncode:
            raise HptRosError(f"lerobot-train {kind} failed", "see its output above")
        return time.monotonic() - began

    @property
    def _python(self) -> Path:
        return self.venv / "bin" / "python"


def write_pace(run: Path, step_s: float, seconds: float) -> None:
    """Keep the pace that was measured before a training, and how long the training took."""
    (run / PACE).write_text(json.dumps({"step_s": step_s, "seconds": seconds}) + "\n")


def environment() -> dict[str, str]:
    """Of lerobot's processes: nothing of this environment's Python, and no network."""
    return os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": ""}
