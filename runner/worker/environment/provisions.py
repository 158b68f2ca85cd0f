"""What environments are made from, and the cache keeps so that it is fetched once: what it costs, and how it goes."""

from __future__ import annotations

import contextlib
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from runner.worker.environment.slot import entries, size_of
from runner.worker.values import dataclass

_PLACES = (  # of the cache; what lies in each is of use by itself
    "downloads/conda/archives",
    "downloads/conda/repodata",
    "downloads/wheels",
    "images",
    "engines",
)
_HALF = "downloads/conda"  # files here are downloads that broke off


@dataclass(frozen=True)
class Provision:
    """An archive, the index of a channel, an image of apptainer, a tool, or what an engine said of itself."""

    path: Path
    used: float  # seconds since the epoch
    size: int  # bytes on the disk
    fault: Optional[str] = None  # why nothing will use it any more


def provisions(cache: Path) -> tuple[Provision, ...]:
    """Return what the cache keeps of them; locks of directories are not among them, nor what runs are made from."""
    found = (_provision(path) for place in _PLACES for path in entries(cache / place) if path.suffix != ".lock")
    half = (_provision(path, "a download was interrupted") for path in entries(cache / _HALF) if path.name[:1] == ".")
    tools = (_provision(path, "mlrun uses another version of it") for path in _former_tools(cache))
    return tuple(one for one in (*found, *half, *tools) if one is not None)


def discard(one: Provision) -> bool:
    """Remove a provision; False where that cannot be done."""
    with contextlib.suppress(OSError):
        shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink(missing_ok=True)
        return True
    return False


def _provision(path: Path, fault: Optional[str] = None) -> Optional[Provision]:
    """Return what a file or a directory is worth; its last use is the last time that it, or a file of it, was read."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return Provision(path, max(status.st_mtime, status.st_atime), status.st_blocks * 512, fault)
    inside = list(_read_in(path))
    half = None if inside else "a download was interrupted"
    return Provision(path, max(status.st_mtime, *inside, 0.0), size_of(path), fault or half)


def _read_in(directory: Path) -> Iterator[float]:
    """Yield when each file of a directory was last read or written; those that broke off begin with a dot."""
    for path in entries(directory):
        with contextlib.suppress(OSError):
            status = path.stat()
            if path.name[:1] != ".":
                yield max(status.st_mtime, status.st_atime) if path.is_file() else status.st_mtime


def _former_tools(cache: Path) -> Iterator[Path]:
    from runner.worker.environment.conda import rattler

    current = rattler.directory_name()
    return (
        path for path in entries(cache / "tools") if path.name.startswith(f"{rattler.NAME}-") and path.name != current
    )
