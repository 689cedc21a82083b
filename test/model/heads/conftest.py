from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def documentation() -> str:
    """docs/heads.md."""
    return (Path(__file__).parents[3] / "docs" / "heads.md").read_text()
