"""How long a training becomes, out of the pace of a short one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy (make setup installs it)")

from experiments.side_by_side import __main__ as side_by_side


def test_steps_fill_the_wall_time_by_the_pace_of_steps_not_of_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def finetune(demos: Path, preset: str, run: Path, steps: int) -> None:
        """As the command: ten steps a line and the last; each takes 0.5 s, the start of the command any time."""
        asked.append(steps)
        run.mkdir(parents=True)
        lines = [{"step": n, "steps": steps, "eta_s": 0.5 * (steps - n)} for n in (*range(10, steps, 10), steps)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    monkeypatch.setattr(side_by_side, "_finetune", finetune)
    side_by_side._hpt_run(tmp_path / "demos", tmp_path / "runs" / "hpt", "sim_lift", 600.0)
    assert asked == [41, 1200]
    assert side_by_side._trained(tmp_path) == "hpt 0.0 min"
