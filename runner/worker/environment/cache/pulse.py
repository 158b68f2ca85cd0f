"""The state that files are in, which tells an edit without reading them: what a quick look compares."""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

_SITE = b"/site-packages/"


def watch(prefix: Path, paths: Collection[str]) -> tuple[bytes, str]:
    """Return the paths that are there, as ``pulse_of`` takes them, and their pulse."""
    wanted = sorted(path for path in paths if path)
    with contextlib.suppress(OSError):  # hardly ever is one listed that is not there
        watched = os.fsencode("\0".join(wanted))
        return watched, pulse_of(prefix, watched)
    with _opened(os.fsencode(prefix)) as base:
        watched = os.fsencode("\0".join(path for path in wanted if _is_there(path, base)))
    return watched, pulse_of(prefix, watched)


def pulse_of(prefix: Path, watched: bytes) -> str:
    """Return the state of the files watched, none of them read: the ctimes, which no edit can set back.

    OSError where one is gone.
    """
    inside, outside, site = _parted(watched)
    base = os.fsencode(prefix)
    states = array("q", [*_ctimes(os.path.join(base, site), inside), *_ctimes(base, outside)])
    return hashlib.blake2b(states.tobytes() + watched, digest_size=16).hexdigest()


def _parted(watched: bytes) -> tuple[list[bytes], list[bytes], bytes]:
    """Return the paths in site-packages, relative to it, all others, and where that is."""
    if not watched:
        return [], [], b""
    end = watched.find(_SITE)
    site = watched[watched.rfind(b"\0", 0, end) + 1 : end + len(_SITE)] if end >= 0 else b""
    first, *inside = (b"\0" + watched).split(b"\0" + site)  # thousands: each is touched once, and by C
    outside = first.split(b"\0")[1:]
    number = watched.count(b"\0") + 1
    mixed = [] if len(inside) + len(outside) == number else [at for at, path in enumerate(inside) if b"\0" in path]
    for at in mixed:  # followed by others
        inside[at], *others = inside[at].split(b"\0")
        outside += others
    return inside, outside, site


def _ctimes(directory: bytes, paths: Sequence[bytes]) -> list[int]:
    lstat = os.lstat
    with _opened(directory) as base:
        return [lstat(path, dir_fd=base).st_ctime_ns for path in paths]


def _is_there(path: str, base: int) -> bool:
    try:
        os.lstat(path, dir_fd=base)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _opened(directory: bytes) -> Iterator[int]:
    """Open a directory: relative to it, the kernel does not go the whole path again for each of thousands of files."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
