"""Declared paths and globs: `*`, `?`, `[...]` stay inside a name, `**` spans directories, a directory is all in it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

_MAGIC = re.compile(r"[*?\[]")
_CLASS = re.compile(r"\[(!?)(\]?[^\]]*)\]")


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern names a file, or a directory above it. Both are POSIX paths from the same directory.

    A leading dot is nothing special: `out/*` names `out/.hidden` too. A pattern that equals the path always matches,
    so that a file called `a[1].csv` can be declared by its name.
    """
    clean = _clean(pattern)
    return path == clean or path.startswith(clean + "/") or _compiled(clean).match(path) is not None


def remainder(pattern: str, path: str) -> Optional[str]:
    """Return what a pattern looks for below a directory: "" for all in it, None for nothing.

    A `**` before that is not followed: it names what is there, and never the way to somewhere else.
    """
    if matches(pattern, path):
        return ""
    parts, steps = _clean(pattern).split("/"), path.split("/")
    way, rest = parts[: len(steps)], parts[len(steps) :]
    if not rest or "**" in way or not all(map(matches, way, steps)):
        return None
    return "/".join(rest)


def expand(root: Path, pattern: str, *, follow: bool = False) -> tuple[str, ...]:
    """Return the files a pattern names, sorted; a matched directory gives every file in it.

    Paths are POSIX, relative to ``root``; absolute where the pattern is. A symlink to a directory is named, not
    walked into, unless the pattern itself names it, or ``follow`` is given: then all of them are, but those that lead
    back to where they lie. OSError where ``follow`` is given and a directory cannot be read.
    """
    clean = _clean(pattern)
    base = clean if os.path.lexists(os.path.join(root, clean)) else _literal_part(clean)
    return tuple(sorted(path for path in _files(root, base, follow) if matches(clean, path)))


def _clean(pattern: str) -> str:
    return os.path.normpath(pattern).replace("//", "/")


def _literal_part(pattern: str) -> str:
    """Return the directories of a pattern before its first wildcard: the only part of the tree worth a walk."""
    parts = pattern.split("/")
    literal = [part for part in parts if not _MAGIC.search(part)]
    depth = next((index for index, part in enumerate(parts) if _MAGIC.search(part)), len(literal))
    base = "/".join(parts[:depth])
    return "/" if pattern.startswith("/") and not base else base


def _files(root: Path, base: str, follow: bool) -> Iterator[str]:
    top = os.path.join(root, base)
    if not os.path.isdir(top):
        if os.path.lexists(top):
            yield base
        return
    for directory, directories, files in os.walk(top, followlinks=follow, onerror=_raise if follow else None):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        if follow:
            back = [name for name in links if leads_back(os.path.join(directory, name), top)]
            directories[:] = [name for name in directories if name not in back]
            links = []
        inner = os.path.relpath(directory, top)
        here = os.path.normpath(os.path.join(base, inner)) if base or inner != "." else ""
        for name in (*files, *links):
            yield os.path.join("" if here == "." else here, name)


def leads_back(link: str, top: str) -> bool:
    """Whether a symlink below ``top`` leads to a directory above itself, by whatever way: nobody gets to its end."""
    goal = os.path.join(os.path.realpath(link), "")
    while len(link) > len(top):
        link = os.path.dirname(link)
        if os.path.join(os.path.realpath(link), "").startswith(goal):
            return True
    return False


def _raise(error: OSError) -> None:
    raise error


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return the expression of a clean pattern; what lies below a matched directory matches too."""
    if pattern == ".":
        return re.compile(r"(?!\.\./|/)(?s:.)+\Z")
    parts = pattern.split("/")
    expression = ""
    for part in parts[:-1]:
        expression += r"(?:(?!\.\./)[^/]+/)*" if part == "**" else _component(part) + "/"
    expression += r"(?!\.\./)[^/]+" if parts[-1] == "**" else _component(parts[-1])
    return re.compile(expression + r"(?:/(?s:.+))?\Z")


def _component(part: str) -> str:
    """Return the expression of one name; no wildcard in it matches a slash."""
    expression, index = "", 0
    while index < len(part):
        group = _CLASS.match(part, index)
        if part[index] == "[" and group is not None and group[2]:
            expression += _class(bool(group[1]), group[2])
            index = group.end()
            continue
        expression += {"*": "[^/]*", "?": "[^/]"}.get(part[index], re.escape(part[index]))
        index += 1
    return expression


def _class(negated: bool, members: str) -> str:
    """Return the expression of a `[...]`; a range that runs backwards matches nothing, as in fnmatch."""
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", members)
    expression = f"(?!/)[{'^' if negated else ''}{escaped}]"
    try:
        re.compile(expression)
    except re.error:
        return "(?!)"
    return expression
