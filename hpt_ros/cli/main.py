"""The `hpt-ros` command: every stage is a subcommand that reads and writes files."""

from __future__ import annotations

import errno
import logging
import sys
from typing import Any

import typer
from rich.logging import RichHandler

from hpt_ros import __version__
from hpt_ros.cli.audit import audit
from hpt_ros.cli.bags import app as bags
from hpt_ros.cli.bench import bench
from hpt_ros.cli.convert import convert
from hpt_ros.cli.demo import demo
from hpt_ros.cli.demos import app as demos
from hpt_ros.cli.doctor import doctor
from hpt_ros.cli.evaluate import evaluate
from hpt_ros.cli.finetune import finetune
from hpt_ros.cli.inspect import inspect, push
from hpt_ros.cli.output import console
from hpt_ros.cli.pretrain import pretrain
from hpt_ros.cli.record import record
from hpt_ros.cli.replay import replay
from hpt_ros.cli.report import report
from hpt_ros.cli.sim import sim
from hpt_ros.cli.teleop import teleop
from hpt_ros.cli.up import up
from hpt_ros.errors import HptRosError

# typer carries its own click since 0.27: take the base class from wherever it is
_UsageError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    name="hpt-ros",
    help="From teleoperated demonstrations to a learned HPT policy on a Franka Panda.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    demo,
    sim,
    record,
    convert,
    audit,
    finetune,
    pretrain,
    inspect,
    push,
    replay,
    evaluate,
    report,
    doctor,
    bench,
    teleop,
):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})(up)

app.add_typer(bags, name="bags")
app.add_typer(demos, name="demos")


@app.callback(invoke_without_command=True)
def options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Options before the subcommand."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(args: list[str] | None = None) -> int:
    """Entry point: 0 on success, the error's own code on a refusal, 130 on Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console)])
    try:
        result: object = app(args, standalone_mode=False)
    except HptRosError as error:
        return _refuse(str(error), error.exit_code)
    except _UsageError as error:
        error.show()
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        console.print("interrupted")
        return 130
    except OSError as error:
        full = error.errno == errno.ENOSPC
        return _refuse(f"{error}\n  -> free some space and run the same command again" if full else str(error), 1)
    return result if isinstance(result, int) else 0


def _refuse(message: str, code: int) -> int:
    console.print("[bold red]error:[/]", end=" ")
    console.print(message, markup=False)
    return code


if __name__ == "__main__":
    sys.exit(main())
