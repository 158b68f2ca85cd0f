"""What stands in an environment beside the content of its distributions: interpreters, scripts, configuration.

A program that is started runs them, or is found by them: an edit there is one of the environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Optional

from runner.worker.hashing import sha256_of_file

_BYTECODE = "__pycache__"


def listed(prefix: Path, places: Iterable[str], content: Collection[str]) -> bytes:
    """Return the files and links at some places of a prefix that are not among ``content``, each with its digest.

    ``DIGEST PATH``, sorted, NUL between; Python's bytecode is left out.
    """
    found = sorted(path for place in places for path in _files(prefix, place) if path not in content)
    return b"\0".join(os.fsencode(f"{_state_of(os.path.join(prefix, path))} {path}") for path in found)


def paths(listing: bytes) -> "list[str]":
    """Return the paths of a listing."""
    return list(_read(listing))


def changed(before: bytes, now: bytes) -> Optional[str]:
    """Return what became of the first path in which two listings differ: "bin/pip was edited"; None for none."""
    old, new = _read(before), _read(now)
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            return f"{path} was {'edited' if path in old and path in new else 'added' if path in new else 'removed'}"
    return None


def _read(listing: bytes) -> Mapping[str, str]:
    pairs = (os.fsdecode(line).partition(" ") for line in listing.split(b"\0") if line)
    return {path: digest for digest, _, path in pairs}


def _files(prefix: Path, place: str) -> Iterator[str]:
    """Yield the files and links below a place, itself where it is one; paths relative to the prefix."""
    if not os.path.isdir(prefix / place) or os.path.islink(prefix / place):
        yield from [place] if os.path.lexists(prefix / place) else []
        return
    folders = [place]
    while folders:
        folder = folders.pop()
        with contextlib.suppress(OSError), os.scandir(prefix / folder) as found:
            inside = {entry.name: entry for entry in found}
            for name, entry in inside.items():
                if is_bytecode(name, inside):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}/{name}")
                else:
                    yield f"{folder}/{name}"


def is_bytecode(name: str, beside: Container[str]) -> bool:
    """Whether a name of a directory is what Python compiled, which Python 2 leaves beside the source."""
    return name == _BYTECODE or (name.endswith((".pyc", ".pyo")) and name[:-1] in beside)


def _state_of(path: str) -> str:
    """Return the digest of a file, or where a link leads."""
    with contextlib.suppress(OSError):
        return f"->{os.readlink(path)!r}".replace(" ", "\\x20") if os.path.islink(path) else sha256_of_file(path)
    return "-"
