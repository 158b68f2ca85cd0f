"""What stands in a conda environment: the files that conda-meta lists, and the distributions that pip has added."""

from __future__ import annotations

import functools
import json
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Optional

from runner.worker.environment.cache import installed as distributions
from runner.worker.environment.cache import rest
from runner.worker.environment.cache.installed import Content
from runner.worker.environment.locks.pylock import normalised
from runner.worker.stat_cache import stat_key

top_level = distributions.top_level

# What no run reads, or not as bytes: a quick look leaves these out, and a whole one does not.
_IDLE = (
    *(".pyc", ".pyi", ".pxd", ".typed", ".h", ".hpp", ".a", ".pc", ".cmake"),
    *(".md", ".rst", ".txt", ".html", ".png", ".svg"),
)
_IDLE_PLACES = ("include/", "share/", "man/", "ssl/")
_MISSING = ""


class File(NamedTuple):
    """A file of a package, as conda-meta lists it."""

    path: str  # relative to the prefix
    size: Optional[int]  # bytes; None where the prefix was written into it
    published: str  # sha256 in the archive, "" for a link
    here: str  # sha256 with this prefix in it
    is_link: bool  # its target is a file of its own, and listed


def watched(prefix: Path) -> "set[str]":
    """Return the paths a quick look goes over."""
    listed = {file.path for _, files in _packages(prefix) for file in files if _is_read(file.path)}
    added = distributions.watched(prefix) - {"pyvenv.cfg"}
    lists = {f"conda-meta/{path.name}" for path in prefix.glob("conda-meta/*.json")}
    return {*listed, *added, *lists}


def others(prefix: Path) -> bytes:
    """Return the files that no package lists, where a command or its activation finds them, as `rest` lists them."""
    site = distributions.site_packages(prefix)
    places = ("bin", "etc/conda", *((os.path.relpath(site, prefix),) if site else ()))
    content = {file.path for _, files in _packages(prefix) for file in files}
    content.update(
        path for one in distributions.distributions(prefix) for path in distributions.content_of(one, prefix)
    )
    return rest.listed(prefix, places, content)


def contents(prefix: Path, names: Optional[Collection[str]] = None, *, read: bool = True) -> tuple[Content, ...]:
    """Read every file of the packages and of pip's distributions, or of those named; a file whole is as published.

    Without ``read``, which is for what was extracted a moment ago from archives that were hashed, a file counts as it
    is listed where it is there in its size. What pip has added is called `NAME (pip)`.
    """
    wanted = [(name, files) for name, files in _packages(prefix) if names is None or name in names]
    states = _states(prefix, [file for _, files in wanted for file in files], read)
    found = [
        Content(name, tuple(distributions.File(file.path, next(states), file.published) for file in files))
        for name, files in wanted
    ]
    added = {name for name in added_by_pip(prefix) if names is None or f"{name} (pip)" in names}
    found += [replace(one, name=f"{one.name} (pip)") for one in distributions.contents(prefix, added)]
    return tuple(found)


def published(prefix: Path, path: Path) -> Optional[str]:
    """Return the sha256 that a file has in its archive, where the prefix is not yet written into it."""
    wanted = os.path.relpath(os.path.realpath(path), os.path.realpath(prefix))
    files = (file for _, found in _packages(prefix) for file in found if not file.is_link)
    return next((file.published for file in files if file.path == wanted), None)


def _packages(prefix: Path) -> Iterator[tuple[str, tuple[File, ...]]]:
    for path in sorted(prefix.glob("conda-meta/*.json")):
        try:
            yield _listed(path, stat_key(path.stat()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            yield f"{path.name} is damaged", ()


@functools.lru_cache(maxsize=2000)
def _listed(path: Path, state: "tuple[int, ...]") -> tuple[str, tuple[File, ...]]:
    """Return the name and the files of a package; the list is read once for as long as its file is in a state."""
    del state
    meta = json.loads(path.read_bytes())
    paths = meta["paths_data"]["paths"]
    return str(meta["name"]), tuple(_file(one) for one in paths if not one["_path"].endswith(".pyc"))


def _file(one: Any) -> File:
    published = one.get("sha256") or ""
    here = one.get("sha256_in_prefix") or published
    size = one.get("size_in_bytes") if here == published else None
    return File(one["_path"], size, published, here, one.get("path_type") == "softlink")


def _states(prefix: Path, files: Sequence[File], read: bool) -> Iterator[str]:
    """Yield the digest of each file as it was published, where it is as it was installed; else its own, "" for none."""
    from runner.worker.many_hashes import sha256_of_files  # a warm run reads nothing

    base = os.fspath(prefix)
    known = [_state_unread(base, file) if file.is_link or not read else None for file in files]
    unknown = [(f"{base}/{file.path}", file.size or 0) for file, state in zip(files, known) if state is None]
    digests = iter(sha256_of_files(unknown))
    for file, state in zip(files, known):
        now = next(digests) if state is None else state
        yield file.published if now == file.here else now


def _state_unread(base: str, file: File) -> Optional[str]:
    """Return what tells a file's state as far as a look at it can, None where it has to be read."""
    try:
        status = os.lstat(f"{base}/{file.path}")
    except OSError:
        return _MISSING
    if file.is_link:
        return file.published if stat.S_ISLNK(status.st_mode) else _MISSING
    return file.published if file.size in (None, status.st_size) else None


def added_by_pip(prefix: Path) -> set[str]:
    """Return the distributions that no package of a channel brought: pip's."""
    listed = {file.path for _, files in _packages(prefix) for file in files}
    return {
        normalised(one.name)
        for one in distributions.distributions(prefix)
        if f"{os.path.relpath(one.info, prefix)}/METADATA" not in listed
    }


def _is_read(path: str) -> bool:
    return not (path.endswith(_IDLE) or path.startswith(_IDLE_PLACES) or distributions.IDLE_PLACES.search(path))
