"""docs/adding_a_modality.md names files that exist and commands that are understood."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from hpt_ros.cli.main import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "adding_a_modality.md").read_text()


def test_every_file_that_the_guide_names_exists() -> None:
    paths = re.findall(r"`((?:hpt_ros|test|config)/[\w/.]+)`", GUIDE)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_every_command_of_the_guide_has_the_options_that_it_is_given() -> None:
    commands = re.findall(r"^    hpt-ros (\w+) (.*)$", GUIDE, re.MULTILINE)
    assert [name for name, _ in commands] == ["record", "convert", "finetune", "evaluate"]
    known = get_command(app).commands  # type: ignore[attr-defined]
    for name, arguments in commands:
        options = {text for parameter in known[name].params for text in parameter.opts}
        assert set(re.findall(r"--[\w-]+", arguments)) <= options
