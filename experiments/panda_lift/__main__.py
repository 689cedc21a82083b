"""`python -m experiments.panda_lift [--quick]`: the proof run; a second run goes on where the first stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.panda_lift.plan import full_plan, quick_plan
from experiments.panda_lift.results import write_results
from experiments.panda_lift.stages import Stages, alone
from hpt_ros.cli.output import console
from hpt_ros.errors import HptRosError


def main() -> int:
    """Run the cells in order, and write the results after each."""
    parser = argparse.ArgumentParser(prog="python -m experiments.panda_lift", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="minutes instead of a night; nothing is learned")
    parser.add_argument("--cells", default="", help="names of cells, with commas between; default: all")
    parser.add_argument("--out", type=Path, help="default: out/panda_lift, or out/panda_lift_quick")
    parser.add_argument(
        "--docs", type=Path, help="where tables and figures go; default: docs, or OUT/docs with --quick"
    )
    given = parser.parse_args()
    plan = quick_plan() if given.quick else full_plan()
    out = given.out or Path("out") / ("panda_lift_quick" if given.quick else "panda_lift")
    stages = Stages(plan, out)
    docs = given.docs or (out / "docs" if given.quick else Path("docs"))
    names = given.cells.split(",") if given.cells else [cell.name for cell in plan.cells]
    if unknown := set(names) - {cell.name for cell in plan.cells}:
        parser.error(f"no cell {', '.join(sorted(unknown))}; cells: {', '.join(cell.name for cell in plan.cells)}")
    try:
        with alone(out):
            for cell in plan.cells:
                if cell.name in names and not stages.is_done(cell):
                    console.rule(f"{cell.name}: {cell.question}", align="left")
                    stages.run(cell)
                    write_results(stages, docs)
            console.print(f"{write_results(stages, docs)}")
    except HptRosError as error:
        console.print(f"error: {error}", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
