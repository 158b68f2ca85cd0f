"""A depot in a directory of this machine, or of a file server that it has mounted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.errors import StoreError
from runner.worker.remote.depot import Depot, Item, copy_checked


class DirectoryDepot:
    """Reads and writes a depot's directory."""

    def __init__(self, root: Path, *, make: bool) -> None:
        """See that there is a depot."""
        self._depot = Depot(root)
        self._depot.open(make=make)

    def lacking(self, items: Sequence[Item]) -> list[Item]:
        """Return what is not there."""
        return self._depot.lacking(items)

    def listings(self, under: str) -> list[Item]:
        """Return the listings."""
        return self._depot.listings(under)

    def put(self, files: Mapping[Item, Path]) -> None:
        """Copy files there."""
        try:
            for item, path in files.items():
                self._depot.add(item, path)
        except OSError as error:
            message = f"cannot write to the depot at {self._depot.root}: {error.strerror}"
            raise StoreError(message, hint="free some space there, or see who owns it") from error

    def get(self, files: Mapping[Item, Path]) -> None:
        """Copy files from there."""
        try:
            for item, target in files.items():
                copy_checked(item, self._depot.path(item), target)
        except OSError as error:
            message = f"cannot read from the depot at {self._depot.root}: {error.strerror}: {error.filename}"
            raise StoreError(message, hint="push the run again, or see who owns the depot") from error

    def close(self) -> None:
        """Nothing is open."""
