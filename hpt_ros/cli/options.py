"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Domain = Annotated[int | None, typer.Option(help="ROS domain; default: a free one with --sim, else ROS_DOMAIN_ID.")]
LogDir = Annotated[Path, typer.Option(help="Logs of the nodes with --sim.")]
