"""The transfer experiment, far smaller than its small variant: every piece runs, a second time none does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from experiments.transfer.jobs import RESULT, Jobs
from experiments.transfer.plan import QUICK, SEEDS, Cell, Plan
from experiments.transfer.report import Row, _verdict, write_report
from hpt_ros.errors import DataError
from hpt_ros.model import load_checkpoint


def test_every_piece_from_recording_to_the_page(tmp_path: Path) -> None:
    plan = replace(
        QUICK,
        pretrain_on=(("wrist_only", "reach", "ee_delta"), ("left", "reach", "joint_position")),
        demos_each=2,
        pretrain_steps=3,
        counts=(1, 2),
        steps=3,
        trials=1,
        check_demos=1,
        pixels=16,
        embed_dim=16,
    )
    jobs = Jobs(plan, tmp_path / "out")
    for domain in plan.pretrain_on:
        jobs.record_domain(*domain)
    jobs.record_held_out()
    jobs.pretrain(0)
    done = Cell("pretrained", 2, 0), Cell("no_trunk", 1, 0)
    for cell in done:
        jobs.finetune(cell)
    pretrained = load_checkpoint(jobs.cell(done[0]) / "run" / "last")
    assert {r["status"] for r in pretrained.provenance["trunk"]["tensors"].values()} == {"loaded"}
    bare = load_checkpoint(jobs.cell(done[1]) / "run" / "last")
    assert not bare.provenance["trunk"]["tensors"]
    with pytest.raises(DataError, match="no seed is complete"):
        write_report(jobs, tmp_path / "docs")
    result = (jobs.cell(done[0]) / RESULT).read_text()
    for cell in every_cell(plan) - set(done):  # the others' results are copies
        jobs.cell(cell).mkdir()
        if cell.demos == 1:
            (jobs.cell(cell) / RESULT).write_text(result)
    assert "not in the table**: 2 demonstrations, seed 0; 2 demonstrations, seed 1;" in _written(
        jobs, tmp_path / "docs"
    )
    for cell in every_cell(plan) - set(done):
        (jobs.cell(cell) / RESULT).write_text(result)
    table = write_report(jobs, tmp_path / "docs")
    assert table.count("0/3 (0% to 56%)") == 6
    page = _written(jobs, tmp_path / "docs")
    assert "Not finished" not in page
    assert table in page
    assert "This is the small variant" in page
    assert (tmp_path / "docs" / "transfer.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [(50, 20, "more often; the intervals do not overlap"), (20, 50, "less often"), (30, 28, "no difference is shown")],
)
def test_the_page_says_what_the_intervals_allow(ours: int, theirs: int, found: str) -> None:
    rows = [Row("pretrained", 10, (ours,), 60, 0.1, 5.0, 0.1), Row("scratch", 10, (theirs,), 60, 0.1, 5.0, 0.1)]
    assert found in _verdict(*rows)


def every_cell(plan: Plan) -> set[Cell]:
    return {cell for seed in SEEDS for cell in plan.cells(seed)}


def _written(jobs: Jobs, docs: Path) -> str:
    write_report(jobs, docs)
    return (docs / "transfer.md").read_text()
