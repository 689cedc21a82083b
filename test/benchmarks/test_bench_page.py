"""All benchmarks on one page."""

from __future__ import annotations

import json
import subprocess
import sys

from hpt_ros.benchmarks.page import bench_page
from hpt_ros.benchmarks.report import BenchReport, Goal


def test_the_page_tells_machine_figures_and_limits():
    report = BenchReport(
        "policy",
        {"threads": 1},
        [{"what": "eager", "p50_ms": 12.3456}, {"what": "served | fast", "p50_ms": 6.0}],
        ratios={"eager / served": 2.057},
        goals=[Goal("p50", 6.0, 5.0), Goal("rate", 20.0, 15.0, at_most=False)],
        notes=["One thread."],
    ).to_mapping()
    page = bench_page({"policy": report}, {"record": "exit code 5"}, quick=True)
    assert f"{report['machine']['cores']} cores" in page
    assert "| eager | 12.35 |" in page
    assert "served \\| fast" in page
    assert "| eager / served | 2.06 x |" in page
    assert "| p50 | 6 | <= 5 | **missed** |" in page
    assert "| rate | 20 | >= 15 | reached |" in page
    assert "- One thread." in page
    assert "Did not run: exit code 5" in page
    assert "--quick" in page


def test_without_a_name_every_benchmark_runs(tmp_path):
    script = (
        "import sys\n"
        "from hpt_ros.cli import bench\n"
        "from hpt_ros.benchmarks import BENCHMARKS\n"
        "for name in list(BENCHMARKS):\n"
        "    if name != 'policy': del BENCHMARKS[name]\n"
        f"from pathlib import Path\nsys.exit(bench._all(Path(r'{tmp_path / 'bench.md'}'), r'{tmp_path / 'bench.json'}', True))\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode in (0, 1), finished.stderr
    assert "## policy" in (tmp_path / "bench.md").read_text()
    assert json.loads((tmp_path / "bench.json").read_text())["benchmarks"]["policy"]["rows"]
