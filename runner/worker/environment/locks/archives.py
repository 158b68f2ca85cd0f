"""Archives of packages that lie in the object store: installed from there, whether an index is reached or not."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.worker.environment.locks.pylock import normalised
from runner.worker.hashing import sha256_of_file
from runner.worker.objects import Objects

# An archive as uv writes it into a pylock.toml: one inline table, with its address first and its hash last.
_ARCHIVE = re.compile(
    rb'(\{[^{}\n]*?)\b(url|path)([ \t]*=[ \t]*)"([^"\\\n]*)"'
    rb'([^{}\n]*\bhashes[ \t]*=[ \t]*\{[ \t]*sha256[ \t]*=[ \t]*"([0-9a-f]{64})")'
)


def from_store(lock: bytes, objects: Objects, directory: Path) -> bytes:
    """Return a lock in which the archives that the store has are files below ``directory``, brought out there."""

    def local(match: re.Match[bytes]) -> bytes:
        head, _, equals, place, tail, sha256 = match.groups()
        digest = sha256.decode("ascii")
        if not objects.has(digest):
            return match.group()
        path = directory / digest[:16] / file_name(os.fsdecode(place))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            objects.copy_to(digest, path)
        return head + b"path" + equals + b'"' + os.fsencode(path) + b'"' + tail

    return _ARCHIVE.sub(local, lock)


def beside(wheels: "Sequence[str]", locked: "Collection[str]") -> bytes:
    """Return the part of a lock that has wheels of this host installed with it, but for what it names itself."""
    return b"".join(_package(wheel) for wheel in wheels if _name_of(wheel) not in locked)


def _package(wheel: str) -> bytes:
    version = os.path.basename(wheel).split("-")[1]
    source = f"{{ path = {json.dumps(wheel)}, hashes = {{ sha256 = {json.dumps(sha256_of_file(wheel))} }} }}"
    lines = ["", "[[packages]]", f'name = "{_name_of(wheel)}"', f'version = "{version}"', f"wheels = [{source}]", ""]
    return os.fsencode("\n".join(lines))


def _name_of(wheel: str) -> str:
    return normalised(os.path.basename(wheel).split("-")[0])


def places(lock: bytes) -> "dict[str, str]":
    """Return where a lock says its archives are, by their sha256: URLs, and paths."""
    return {match[6].decode("ascii"): os.fsdecode(match[4]) for match in _ARCHIVE.finditer(lock)}


def file_name(place: str) -> str:
    """Return the name of an archive's file, which says what it is."""
    path = urlsplit(place).path if "://" in place else place
    return os.path.basename(unquote(path) if "://" in place else path)
