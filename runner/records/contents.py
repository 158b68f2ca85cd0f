"""The list of a run directory's files with their digests: the record seals the list, and so every file that it names.

Lines are as `sha256sum` writes and checks them: two spaces before the name, a backslash before the line of a name that
holds a backslash or a line's end.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.errors import FormatError
from runner.worker.files import read_json, write_once
from runner.worker.hashing import sha256_of, sha256_of_file
from runner.worker.rundir import RunDirectory

_LINE = re.compile(r"(\\?)([0-9a-f]{64})  ([^\n]+)\n")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}


def names(run: RunDirectory) -> Iterator[str]:
    """Yield the files that a record seals, relative to the run directory, sorted; links are not followed."""
    return (name for name, is_link in entries(run) if not is_link)


def entries(run: RunDirectory) -> Iterator[tuple[str, bool]]:
    """Yield the files and links of a run directory that a record says something of, and which are links."""
    left_out = _left_out()
    with os.scandir(run.path) as found:
        top = sorted((entry for entry in found if entry.name not in left_out and entry.name[0] != "."), key=_name)
    for entry in top:
        yield from _below(entry, "")


@functools.cache
def _left_out() -> frozenset[str]:
    run = RunDirectory(Path())
    own = (run.record, run.seal, run.contents, run.signatures, run.imported, run.work, run.scratch, run.secrets)
    later = (run.notes, run.published, run.seen, run.launcher_log)  # what comes, or grows, when the record is sealed
    return frozenset(path.name for path in (*own, *later)) | {"cancel.json"}


def seal_contents(run: RunDirectory) -> str:
    """Write the list of a run's files, where there is none yet, and return its digest."""
    if not run.contents.exists():
        known = _artifacts(run)
        pairs = ((name, known.get(name) or sha256_of_file(run.path / name)) for name in names(run))
        write_once(run.contents, b"".join(map(line, *zip(*pairs, strict=True))), followed=True)
    return sha256_of(run.contents.read_bytes())


def _artifacts(run: RunDirectory) -> Mapping[str, str | None]:
    """Return the digests that the worker found: what it read as an artifact is not read a second time."""
    try:
        data: Any = read_json(run.outputs)
        return {fact["path"]: fact["sha256"] for fact in data["files"] if fact["basis"] == "logged"}
    except (OSError, FormatError, KeyError, TypeError):  # a run without outputs, or a damaged one
        return {}


def parse(data: bytes) -> Mapping[str, str]:
    """Return the digest of each file that a list names; FormatError where it is no such list."""
    text = os.fsdecode(data)
    found: dict[str, str] = {}
    end = 0
    for match in _LINE.finditer(text):
        name = _unescaped(match[3]) if match[1] else match[3]
        if match.start() != end or name in found:
            break
        found[name], end = match[2], match.end()
    if end != len(text):
        message = f"line {text.count(chr(10), 0, end) + 1} is not `sha256  name`"
        raise FormatError(message, hint="the file was changed from outside; restore it from a backup")
    return found


def line(name: str, sha256: str) -> bytes:
    """Return one file's line."""
    escaped = "".join(_ESCAPES.get(character, character) for character in name)
    return os.fsencode(f"{'' if escaped == name else chr(92)}{sha256}  {escaped}\n")


def _below(entry: os.DirEntry[str], prefix: str) -> Iterator[tuple[str, bool]]:
    name = prefix + entry.name
    if entry.is_file(follow_symlinks=False) or entry.is_symlink():
        yield name, entry.is_symlink()
    elif entry.is_dir(follow_symlinks=False):
        with os.scandir(entry.path) as found:
            inner = sorted(found, key=_name)
        for each in inner:
            yield from _below(each, f"{name}/")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _unescaped(name: str) -> str:
    return re.sub(r"\\([\\nr])", lambda match: {"\\": "\\", "n": "\n", "r": "\r"}[match[1]], name)
