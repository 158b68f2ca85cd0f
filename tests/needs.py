"""What a test needs of this machine: skipped where it is missing, or failed where MLRUN_REQUIRE names it."""

import os
import shutil
from pathlib import Path

import pytest

REQUIRED = frozenset(filter(None, os.environ.get("MLRUN_REQUIRE", "").split(",")))


def need(part: str, there: object, reason: str) -> None:
    """Go on where ``there`` is true; else skip, or fail where ``part`` is required."""
    if there:
        return
    if part in REQUIRED:
        pytest.fail(f"MLRUN_REQUIRE names {part}, but {reason}")
    pytest.skip(reason)


def python(version: str) -> str:
    """Return a Python interpreter of a version ("3.9"), from PATH or pyenv."""
    found = shutil.which(f"python{version}")
    if found is None or "shims" in found:
        root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
        found = next((str(path) for path in sorted(root.glob(f"versions/{version}.*/bin/python3"))), None)
    need(f"python{version}", found, f"there is no Python {version} here")
    assert found is not None
    return found
