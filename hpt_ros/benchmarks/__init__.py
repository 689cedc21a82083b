"""Benchmarks that a user can run on his own machine."""

from hpt_ros.benchmarks.registry import BENCHMARKS, run_benchmark
from hpt_ros.benchmarks.report import BenchReport, Goal, percentiles_ms

__all__ = ["BENCHMARKS", "BenchReport", "Goal", "percentiles_ms", "run_benchmark"]
