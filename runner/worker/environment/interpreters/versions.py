"""Which Pythons a request admits: "3.10", "3.10.13", ">=3.9,<3.12", "==3.10.*", "~=3.9", "3.13t", "pypy3.10".

A request that names no implementation means CPython, and none with a `t` a build with the global lock.
"""

from __future__ import annotations

import re
from typing import Optional

Release = tuple[int, ...]

_OLDEST = (3, 6)
_WHOLE = 3  # numbers of a whole version
_CLAUSE = re.compile(r"^\s*(===|==|~=|!=|<=|>=|<|>|=)?\s*(\d+(?:\.\d+)*)(\.\*)?((?:a|b|rc)\d+)?(t?)\s*$")
_IMPLEMENTATION = re.compile(r"^\s*(cpython|pypy|graalpy)[@-]?(?=[\d<>=~!])")


def problem(request: str) -> Optional[str]:
    """Return why a request cannot be read, None where it can."""
    wrong = [clause for clause in _bare(request).split(",") if not _CLAUSE.match(clause)]
    return f"{wrong[0].strip()!r} is no Python version" if wrong else None


def too_old(request: str) -> bool:
    """Whether a request is for a version that no virtual environment can be made for: "2.7", "3.5.2", "~=2.7"."""
    releases = [_release(one.group(2)) for one in _clauses(request) if one.group(1) in (None, "=", "==", "===", "~=")]
    return any(release[:2] < _OLDEST[: len(release)] for release in releases)


def admits(request: str, version: str, *, threaded: bool = True, implementation: str = "cpython") -> bool:
    """Whether a version ("3.11.7") fits every clause; ``threaded`` is False for a free-threaded build."""
    release, preview = release_of(version), is_preview(version)
    if implementation != implementation_of(request) or threaded == wants_free_threading(request):
        return False
    if preview and not any(clause.group(4) for clause in _clauses(request)):
        return False
    return all(_fits(clause, release) and _fits_preview(clause, version) for clause in _clauses(request))


def may_admit(request: str, series: str) -> bool:
    """Whether some version of a series ("3.11", or a whole version) could fit: what a file's name can tell."""
    release = release_of(series)
    for clause in _clauses(request):
        wanted = _release(clause.group(2))
        exact = clause.group(1) in (None, "=", "==", "===")
        length = min(len(release), len(wanted))
        if exact and release[:length] != wanted[:length]:
            return False
        if not exact and len(release) >= _WHOLE and not _fits(clause, release):
            return False
    return True


def wants_free_threading(request: str) -> bool:
    """Whether a request names a free-threaded build: "3.13t"."""
    return any(clause.group(5) for clause in _clauses(request))


def implementation_of(request: str) -> str:
    """Return which implementation a request, or a version, is of."""
    found = _IMPLEMENTATION.match(request)
    return found[1] if found else "cpython"


def flavour(version: str) -> tuple[str, bool, Release]:
    """Return what decides which wheels fit a version ("3.13.0t"): implementation, free threading, series."""
    return implementation_of(version), wants_free_threading(version), release_of(version)[:2]


def series_of(version: str) -> str:
    """Return the request that any Python of a version's series answers to: "3.11" for "3.11.7"."""
    implementation, free, series = flavour(version)
    name = "" if implementation == "cpython" else implementation
    return f"{name}{'.'.join(map(str, series))}{'t' * free}"


def is_exact(request: str) -> bool:
    """Whether a request names one series or version, and is no range."""
    return all(clause.group(1) in (None, "=", "==", "===") for clause in _clauses(request))


def release_of(version: str) -> Release:
    """Return the numbers of a version: (3, 11, 7)."""
    match = re.match(r"\d+(?:\.\d+)*", _bare(version))
    return _release(match.group()) if match else ()


def is_preview(version: str) -> bool:
    """Whether a version is an alpha, a beta or a release candidate."""
    return re.search(r"\d(?:a|b|rc)\d", version) is not None


def _clauses(request: str) -> list[re.Match[str]]:
    return [match for match in map(_CLAUSE.match, _bare(request).split(",")) if match]


def _bare(request: str) -> str:
    return _IMPLEMENTATION.sub("", request)


def _release(text: str) -> Release:
    return tuple(int(part) for part in text.split("."))


def _fits(clause: re.Match[str], release: Release) -> bool:
    operator, wanted = clause.group(1), _release(clause.group(2))
    if operator in (None, "=", "==", "==="):
        return release[: len(wanted)] == wanted  # `==3.10` is written by people who mean any 3.10
    if operator == "!=":
        return release[: len(wanted)] != wanted if clause.group(3) else _padded(release) != _padded(wanted)
    if operator == "~=":
        return _padded(release) >= _padded(wanted) and release[: len(wanted) - 1] == wanted[:-1]
    left, right = _padded(release), _padded(wanted)
    return {"<=": left <= right, ">=": left >= right, "<": left < right, ">": left > right}[operator]


def _fits_preview(clause: re.Match[str], version: str) -> bool:
    """Whether a version is the very preview that is asked for: 3.14.0rc1 is neither 3.14.0 nor 3.14.0rc2."""
    exact = clause.group(4) and clause.group(1) in (None, "=", "==", "===")
    return not exact or re.search(rf"\d{re.escape(clause.group(4))}\b", version) is not None


def _padded(release: Release) -> Release:
    return (*release, 0, 0, 0)[:3]
