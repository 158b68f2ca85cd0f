"""What environments and runs are made from, and the cache keeps so that it is fetched once: its cost, and its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from runner.worker.environment.cache.slot import entries
from runner.worker.environment.mutex import alone, is_free
from runner.worker.values import dataclass

_KEPT = (  # places of the cache, and how what is of use by itself is called there; what begins with a dot is half done
    ("downloads/conda/archives", "*"),
    ("downloads/conda/repodata", "*"),
    ("downloads/uv", "*"),  # for other machines
    ("downloads/virtualenv", "*"),
    ("downloads/wheels", "*"),
    ("downloads", "[0-9a-f]" * 16),  # remote values of parameters, and artifacts of earlier runs
    ("inputs", "*"),  # brought out of the store for re-runs
    ("repositories", "*"),  # clones
    ("lfs.git/lfs/objects", "??/??/*"),
    ("images", "*"),
    ("engines", "*"),
    ("workers", "*"),
    ("tools", "[0-9a-f]" * 64),  # that came with runs of another machine
    ("crashes", "*"),
)
_HALF = (  # what is left there when the work on it broke off
    ("downloads", ".*"),
    ("downloads/conda", ".*"),
    ("downloads/uv", ".*"),
    ("downloads/wheels", ".*"),
    ("inputs", ".*"),
    ("lfs.git/lfs/incomplete", "*"),
    ("repositories", "*.new"),
    ("trees", "*"),
    ("workers", ".*"),
)
_BROKE_OFF = "a download was interrupted"


@dataclass(frozen=True)
class Provision:
    """An archive, an index, an image, a tool, a clone, what a parameter named, or what an engine said of itself."""

    path: Path
    used: float  # seconds since the epoch
    size: int  # bytes on the disk
    fault: Optional[str] = None  # why nothing will use it any more

    @property
    def held(self) -> bool:
        """Whether somebody holds the lock beside it."""
        return not is_free(_lock_of(self.path))


def provisions(cache: Path) -> tuple[Provision, ...]:
    """Return what the cache keeps of them; locks are not among them, of directories or of packages."""
    found = dict.fromkeys(_named(cache, _HALF), _BROKE_OFF)
    kept = (path for path in _named(cache, _KEPT) if path.name[:1] != "." and path not in found)
    tools = (_provision(path, "mlrun uses another version of it") for path in _former_tools(cache))
    half = (_provision(path, fault) for path, fault in found.items())
    return tuple(one for one in (*map(_provision, kept), *half, *tools) if one is not None)


def discard(one: Provision, grace: float) -> bool:
    """Remove a provision; False where it cannot be, or is in use again: held, or used for less than ``grace`` seconds.

    What is fetched into it meanwhile waits for the lock, where it has one.
    """
    lock = _lock_of(one.path)
    with contextlib.suppress(OSError), alone(lock) if lock.exists() else contextlib.nullcontext(True) as free:
        now = _provision(one.path)
        if not free or now is None or now.used > max(one.used, time.time() - grace):
            return False
        shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink(missing_ok=True)
        return True
    return False


def _named(cache: Path, places: "tuple[tuple[str, str], ...]") -> "list[Path]":
    return [path for place, name in places for path in sorted((cache / place).glob(name)) if path.suffix != ".lock"]


def _provision(path: Path, fault: Optional[str] = None) -> Optional[Provision]:
    """Return what a file or a directory is worth; its last use is the last time that it, or a file of it, was read."""
    try:
        used, size, whole = _measured(path)
    except OSError:
        return None
    return Provision(path, used, size, fault if fault or whole else _BROKE_OFF)


def _measured(path: Path) -> "tuple[float, int, bool]":
    """Return when a tree was last used, its bytes on the disk, and whether a file is in it that is not half done."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return max(status.st_mtime, status.st_atime), status.st_blocks * 512, True
    used, size, whole = status.st_mtime, 0, False
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(folder, name))
                size += status.st_blocks * 512
                if name[:1] != ".":
                    used, whole = max(used, status.st_mtime, status.st_atime), True
    return used, size, whole


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _former_tools(cache: Path) -> Iterator[Path]:
    from runner.worker.environment.conda import rattler

    current = rattler.directory_name()
    return (
        path for path in entries(cache / "tools") if path.name.startswith(f"{rattler.NAME}-") and path.name != current
    )
