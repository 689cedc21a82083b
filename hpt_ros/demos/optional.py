"""Libraries that only some features of this folder need."""

from __future__ import annotations

import importlib
from typing import Any

from hpt_ros.errors import MissingDependencyError


def require(module: str, purpose: str, package: str) -> Any:
    """Import `module`, which `purpose` needs.

    Raises:
        MissingDependencyError: it is not installed; names the package.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"{purpose} needs {package}: {error}", f"pip install {package}") from error
