"""What a test needs of this machine: skipped where it is missing, or failed where MLRUN_REQUIRE names it."""

import os
import shutil
from pathlib import Path

import pytest

_PYENV = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()  # before a test has a home of its own
REQUIRED = frozenset(filter(None, os.environ.get("MLRUN_REQUIRE", "").split(",")))


def need(part: str, there: object, reason: str) -> None:
    """Go on where ``there`` is true; else skip, or fail where ``part`` is required."""
    if there:
        return
    if part in REQUIRED:
        pytest.fail(f"MLRUN_REQUIRE names {part}, but {reason}")
    pytest.skip(reason)


def find_python(version: str) -> str | None:
    """Return a Python interpreter of a version ("3.9"), from PATH or pyenv; None where there is none."""
    found = shutil.which(f"python{version}")
    if found is None or "shims" in found:
        found = next((str(path) for path in sorted(_PYENV.glob(f"versions/{version}.*/bin/python3"))), None)
    return found


def python(version: str) -> str:
    """Return a Python interpreter of a version; without one the test is skipped."""
    found = find_python(version)
    need(f"python{version}", found, f"there is no Python {version} here")
    assert found is not None
    return found
