"""Which of the indexes that uv is configured with an archive is from: uv looks into its cache index by index.

A lock that says nothing of it makes uv ask the server for each archive again, and take all of it again where that
server lets nothing be kept, as mirrors and PyTorch's index do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Optional
from urllib.parse import urlsplit

from runner.worker.environment.logins import named, redacted

_PYPI = "https://pypi.org/simple"  # as uv has it, without a slash at its end: uv compares addresses as they stand


def default_index(installer: Mapping[str, str]) -> str:
    """Return the address of the index where packages are looked for that no other one has, without name and login."""
    return _bare(installer.get("UV_DEFAULT_INDEX") or installer.get("UV_INDEX_URL") or _PYPI)


def index_of(address: str, installer: Mapping[str, str]) -> Optional[str]:
    """Return the index that an archive is from, None where there is none.

    That is the one whose address its own begins like, else the default one: a wrong guess is one that uv has nothing
    of in its cache, and costs no more than none.
    """
    if installer.get("MLRUN_NO_INDEX"):
        return None
    *others, default = _indexes(installer)
    index = max((default, *others), key=lambda index: _alike(address, index))
    return index if index.startswith("http") else None  # a directory has no address that a lock could name


def _indexes(installer: Mapping[str, str]) -> Iterator[str]:
    """Yield the indexes without their names and logins, the default one last."""
    others = (word for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL") for word in installer.get(name, "").split())
    yield from map(_bare, others)
    yield default_index(installer)


def _bare(word: str) -> str:
    return redacted(named(word)[1])


def _alike(address: str, index: str) -> int:
    """Return how far two addresses are the same; 0 on different hosts."""
    left, right = urlsplit(redacted(address)), urlsplit(index)
    if left.netloc != right.netloc:
        return 0
    pairs = zip(left.path.split("/"), right.path.split("/"))
    return 1 + len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
