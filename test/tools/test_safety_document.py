"""Every claim of docs/safety.md and docs/faults.md names a test that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r'T ([\w/]+\.py)(?: (?:"([^"]+)"|(\w+)))?')


def names_in(file: Path) -> list[str]:
    return [
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def claims() -> Iterator[tuple[str, str]]:
    """(file, one word of its -k) of every command."""
    for file, quoted, bare in COMMAND.findall((ROOT / "docs" / "safety.md").read_text()):
        for word in (quoted or bare).split(" or "):
            yield file, word


@pytest.mark.parametrize(("file", "word"), list(claims()))
def test_the_command_of_a_claim_finds_a_test(file: str, word: str) -> None:
    assert any(word in name for name in names_in(ROOT / "test" / file))


def test_every_row_of_a_claim_has_a_command() -> None:
    rows = [line for line in (ROOT / "docs" / "safety.md").read_text().splitlines() if line.startswith("| ")]
    claimed = [row for row in rows if not row.startswith("| claim |")]
    assert len(claimed) > 20
    for row in claimed:
        assert "`T " in row or "hpt-ros bench" in row, row


def test_the_tests_that_the_fault_document_names_exist() -> None:
    named = set(re.findall(r"`(test_\w+)[`\[]", (ROOT / "docs" / "faults.md").read_text()))
    known = {name for file in (ROOT / "test" / "faults").glob("test_*.py") for name in names_in(file)}
    assert len(named) > 5
    assert named <= known
