"""Programs at hand for other machines: the pip that virtualenv carries, and each uv that was fetched for them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path


def pip_wheel() -> Path | None:
    """Return the newest wheel of pip that virtualenv carries, which runs from it; None where it carries none."""
    found = importlib.util.find_spec("virtualenv")
    if found is None or not found.submodule_search_locations:
        return None
    wheels = Path(found.submodule_search_locations[0], "seed", "wheels", "embed").glob("pip-*.whl")
    return max(wheels, key=_version, default=None)


def shelf_of_uvs(cache: Path) -> Path:
    """Return where uvs for other machines lie, each as VERSION_OWN_FAMILY/uv: for which uv of here it stands in."""
    return cache / "downloads" / "uv"


def fetched_uvs(cache: Path, own: str) -> Iterator[tuple[str, str, Path]]:
    """Yield version, family of machines and place of each uv that was fetched to stand in for the one of here."""
    for path in sorted(shelf_of_uvs(cache).glob(f"*_{short(own)}_*/uv")):
        version, _, family = path.parent.name.split("_", maxsplit=2)
        yield version, family, path


def short(sha256: str) -> str:
    """Return as much of a digest as is one of a kind."""
    return sha256[:32]


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name.split("-")[1]))
