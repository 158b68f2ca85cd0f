"""What a depot has to do, wherever it is; and which one a text means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from runner.errors import UsageError
from runner.worker.remote.depot import Item

_REMOTE = re.compile(r"(?P<host>[^/:\s]+):(?P<path>.*)")


class Depot(Protocol):
    """Files named by their digests; none is ever changed, and one is there whole or not at all."""

    def lacking(self, items: Sequence[Item]) -> list[Item]:
        """Return what it does not have."""

    def listings(self, under: str) -> list[Item]:
        """Return what says what runs are made of: below `runs`, or of one run below `runs/<id>`."""

    def put(self, files: Mapping[Item, Path]) -> None:
        """Bring files there. IntegrityError where one is not what its digest says."""

    def get(self, files: Mapping[Item, Path]) -> None:
        """Bring files here, each to where it belongs, checked by its digest."""

    def close(self) -> None:
        """End the connection."""


def open_depot(text: str, cache: Path, *, make: bool) -> Depot:
    """Return the depot that a text means: a directory, HOST:PATH, ssh://HOST/PATH, or a URL of fsspec.

    ``make``: it is made where there is none. UsageError for what is none of these, StoreError where it is none.
    """
    if not text:
        message = "no depot is named"
        raise UsageError(message, hint="give a directory, HOST:PATH, or a URL such as s3://bucket/runs")
    scheme, separator, _ = text.partition("://")
    if scheme == "ssh" and separator:
        return _ssh(*_of_url(text), cache, make=make)
    if scheme == "file" and separator:
        from urllib.parse import unquote

        text, separator = unquote(urlsplit(text).path), ""
    if separator:
        from runner.backends.depots.web import FsspecDepot

        return FsspecDepot(text, make=make)
    found = _REMOTE.fullmatch(text)
    if found is not None and not Path(text).exists():
        return _ssh(found["host"], None, found["path"], cache, make=make)
    from runner.backends.depots.directory import DirectoryDepot

    return DirectoryDepot(Path(text).expanduser().absolute(), make=make)


def _of_url(text: str) -> tuple[str, int | None, str]:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if not parts.hostname or port == -1 or parts.password is not None:
        message = f"{text} does not name a machine and a path"
        raise UsageError(message, hint="write ssh://user@machine/path, or HOST:PATH; passwords are ssh's own business")
    user = f"{parts.username}@" if parts.username else ""
    path = parts.path[1:] if parts.path.startswith("/~") else parts.path
    return f"{user}{parts.hostname}", port, path


def _ssh(address: str, port: int | None, path: str, cache: Path, *, make: bool) -> Depot:
    from dataclasses import replace

    from runner.backends import hosts
    from runner.backends.depots.ssh import SshDepot
    from runner.backends.host import Host

    if not path:
        message = f"{address}: names no directory on that machine"
        raise UsageError(
            message, hint=f"write {address}:shared/runs; a path without / at its start begins at your home"
        )
    host = hosts.read().get(address) or Host(name=_name_of(address), address=address)
    if port is not None:
        host = replace(host, port=port)
    return SshDepot(host, path, cache, make=make)


def _name_of(address: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", address.rpartition("@")[2]).lstrip("._-") or "machine"
