"""All benchmarks on one page."""

from __future__ import annotations

import json

from hpt_ros.benchmarks.page import bench_page
from hpt_ros.benchmarks.report import BenchReport, Goal


def test_the_page_tells_machine_figures_and_limits():
    report = BenchReport(
        "policy",
        {"threads": 1, "events": {"late": 3}, "worst": [{"late_s": 0.1}], "sizes": [1, 2]},
        [{"what": "eager", "p50_ms": 12.3456}, {"what": "served | fast", "p50_ms": 6.0}],
        ratios={"eager / served": 2.057},
        goals=[Goal("p50", 6.0, 5.0), Goal("rate", 20.0, 15.0, at_most=False)],
        notes=["One thread."],
    ).to_mapping()
    page = bench_page({"policy": report}, {"record": "exit code 5"}, quick=True)
    assert f"{report['machine']['cores']} cores" in page
    assert page.count("threads: 1, sizes: [1, 2]\n") == 1
    assert "late" not in page
    assert "| eager | 12.35 |" in page
    assert "served \\| fast" in page
    assert "| eager / served | 2.06 x |" in page
    assert "| p50 | 6 | <= 5 | **missed** |" in page
    assert "| rate | 20 | >= 15 | reached |" in page
    assert "- One thread." in page
    assert "Did not run: exit code 5" in page
    assert "--quick" in page


def test_a_benchmark_that_fails_is_on_the_page_and_in_the_exit_code(tmp_path, monkeypatch):
    from hpt_ros.cli import bench

    monkeypatch.setattr(bench, "BENCHMARKS", ["nothing"])
    code = bench._all(tmp_path / "out" / "bench.md", str(tmp_path / "bench.json"), quick=True)
    assert code == 1
    assert "Did not run: exit code 2" in (tmp_path / "out" / "bench.md").read_text()
    assert json.loads((tmp_path / "bench.json").read_text()) == {
        "benchmarks": {},
        "failures": {"nothing": "exit code 2"},
    }
