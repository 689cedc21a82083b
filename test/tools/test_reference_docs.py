"""The pages that are written from the source say what the source says now."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("reference_docs", ROOT / "tools" / "reference_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_docs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["embodiment.md", "refusals.md"])
def test_a_page_is_up_to_date(pages, name):
    assert pages.PAGES[name]() == (ROOT / "docs" / name).read_text(), "run: make docs"


def test_the_embodiment_page_knows_keys_and_what_is_allowed(pages):
    text = pages.embodiment_page()
    assert "| `rate_hz` | number | required | 50 to 500 |" in text
    assert "| `acceleration_fraction` | number | `0.4` | above 0, at most 0.65 |" in text
    assert "| `jerk_fraction` | number | `0.4` | above 0, at most 1 |" in text
    assert "## `safety.workspace`" in text


def test_every_class_of_error_and_remedy_is_there(pages):
    text = pages.refusals_page()
    assert "| 7 | `BusyError`" in text
    assert "stop it: one process commands the arm" in text
    assert "| `ConfigError` | variation: found ..., allowed: one of" in text
