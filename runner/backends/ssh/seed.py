"""The pip that virtualenv carries: it seeds environments on machines that have neither, and runs from its wheel."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path


def pip_wheel() -> Path | None:
    """Return the newest wheel of pip that virtualenv carries; None where it carries none."""
    found = importlib.util.find_spec("virtualenv")
    if found is None or not found.submodule_search_locations:
        return None
    wheels = Path(found.submodule_search_locations[0], "seed", "wheels", "embed").glob("pip-*.whl")
    return max(wheels, key=_version, default=None)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name.split("-")[1]))
