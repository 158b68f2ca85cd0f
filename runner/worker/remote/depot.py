"""A depot: a directory that people share runs through. What lies in it is named by its digest and never changes.

objects/sha256/ab/cdef...   bytes
runs/<id>/<digest>.json     what a run is made of; several where it was handed over with more, or with less
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.errors import IntegrityError, MlrunError, StoreError
from runner.worker.files import write_once
from runner.worker.remote.blobs import Blob, send
from runner.worker.remote.frames import Channel, Frame
from runner.worker.remote.inbox import Inbox, Place
from runner.worker.values import dataclass

VERSION = b"1\n"
_CHUNK = 1 << 20

_OBJECT = re.compile(r"objects/sha256/([0-9a-f]{2})/([0-9a-f]{62})")
_LISTING = re.compile(r"runs/[0-9a-f-]{36}/([0-9a-f]{64})\.json")
_README = b"""\
This directory is a depot of mlrun: runs that people share with `mlrun push` and `mlrun pull`. Every file in it is
named by its sha256, and none of them ever changes.
"""


@dataclass(frozen=True)
class Item:
    """A file of a depot: its name ends with its digest."""

    name: str
    size: int

    @property
    def sha256(self) -> str:
        """The digest of its bytes; MlrunError for a name that no depot has."""
        found = _OBJECT.fullmatch(self.name) or _LISTING.fullmatch(self.name)
        if found is None:
            message = f"{self.name!r} is no name of a depot's file"
            raise MlrunError(message, hint="both ends have to be of the same version")
        return "".join(found.groups())


def object_item(sha256: str, size: int) -> Item:
    """Return the item of an object."""
    return Item(f"objects/sha256/{sha256[:2]}/{sha256[2:]}", size)


class Depot:
    """A depot's directory on this machine."""

    def __init__(self, root: Path) -> None:
        """Name the directory; it is made when something comes."""
        self.root = root

    def open(self, make: bool) -> None:
        """See that there is a depot of this version, made where ``make`` says so; StoreError where there is none."""
        version = self.root / "VERSION"
        try:
            if make and not version.exists():
                self.root.mkdir(parents=True, exist_ok=True)
                if any(path.name not in ("README", "VERSION") and path.name[0] != "." for path in self.root.iterdir()):
                    message = f"{self.root} is a directory of something else: it is neither empty nor a depot"
                    raise StoreError(message, hint="name a new directory, or an empty one")
                write_once(self.root / "README", _README, 0o644)
                write_once(version, VERSION, 0o644)
            found = version.read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not make:
                message = f"there is no depot at {self.root}"
                raise StoreError(message, hint="`mlrun push` makes one; is the path right?") from None
            if self.root.is_file():
                message = f"{self.root} is a file, and no depot"
                raise StoreError(message, hint="name a directory") from None
            message = f"cannot use the depot at {self.root}: {error.strerror}"
            raise StoreError(message, hint="see who owns it") from error
        if found != VERSION:
            message = f"the depot at {self.root} is of version {found.strip().decode('ascii', 'replace')!r}, not of 1"
            raise StoreError(message, hint="upgrade mlrun")

    def lacking(self, items: Iterable[Item]) -> "list[Item]":
        """Return what is not here, or was cut short."""
        return [item for item in items if not self._is_whole(item)]

    def listings(self, under: str) -> "list[Item]":
        """Return the listings below `runs` or `runs/<id>`."""
        return [Item(name, os.stat(self.root / name).st_size) for name in sorted(self._listings(under))]

    @contextlib.contextmanager
    def aside(self) -> Iterator[Path]:
        """Give a directory for what is on its way: one's own, for others may bring the same at the same time."""
        directory = self.root / "tmp" / secrets.token_hex(8)
        directory.mkdir(parents=True)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def add(self, item: Item, source: Path) -> None:
        """Take a file in; IntegrityError where it is not what its digest says."""
        target = self.path(item)
        with self.aside() as aside:
            copy_checked(item, source, aside / "file")
            os.chmod(aside / "file", 0o444)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(aside / "file", target)  # what is there is the same, or was cut short

    def path(self, item: Item) -> Path:
        """Return where an item lies."""
        assert item.sha256
        return self.root / item.name

    def _is_whole(self, item: Item) -> bool:
        assert item.sha256
        try:
            return os.stat(self.root / item.name).st_size == item.size
        except OSError:
            return False

    def _listings(self, under: str) -> Iterator[str]:
        with contextlib.suppress(FileNotFoundError):
            for run in sorted((self.root / "runs").iterdir()):
                if under in ("runs", f"runs/{run.name}") and run.is_dir():
                    names = (f"runs/{run.name}/{path.name}" for path in run.iterdir())
                    yield from (name for name in names if _LISTING.fullmatch(name))


def answer(channel: Channel, frame: Frame) -> None:
    """Answer one request about a depot on this machine: `lacking`, `listings`, `put`, `get`."""
    depot = Depot(Path(os.path.abspath(os.path.expanduser(frame.head["root"]))))
    verb = frame.head["verb"]
    items = items_of(frame.head.get("items", ()))
    depot.open(make=bool(frame.head.get("make")))
    if verb == "listings":
        channel.send("listings", items=pairs(depot.listings(frame.head["under"])))
    elif verb == "lacking":
        channel.send("lacking", items=pairs(depot.lacking(items)))
    elif verb == "put":
        _put(channel, depot, items)
    elif verb == "get":
        send(channel, (_blob(depot, item) for item in items))
        channel.send("sent")
    else:
        message = f"a depot cannot {verb!r}"
        raise MlrunError(message, hint="both ends have to be of the same version")


def pairs(items: Iterable[Item]) -> "list[list[Any]]":
    """Return items as requests have them."""
    return [[item.name, item.size] for item in items]


def items_of(found: Iterable[Any]) -> "list[Item]":
    """Return the items that a request or an answer names."""
    return [Item(str(name), int(size)) for name, size in found]


def _put(channel: Channel, depot: Depot, items: Sequence[Item]) -> None:
    """Take in what then comes, until the other end says that all was sent."""
    places = {item.sha256: [Place(str(depot.path(item)), 0o444)] for item in items}
    with depot.aside() as aside:
        inbox = Inbox(aside, places)
        channel.send("wanted")
        while (frame := channel.receive()).kind == "blobs":
            try:
                inbox.take(frame)
            except MlrunError:
                _drain(channel)
                raise
        inbox.sync()
    channel.send("taken")


def _drain(channel: Channel) -> None:
    """Read what was sent before the other end could hear that it is refused."""
    while channel.receive().kind == "blobs":
        pass


def _blob(depot: Depot, item: Item) -> Blob:
    path = depot.path(item)
    if depot.lacking([item]):
        message = f"the depot has no {item.name}, or not of {item.size} bytes"
        raise IntegrityError(message, hint="push the run again")
    return Blob(item.sha256, item.size, str(path))


def copy_checked(item: Item, source: Path, target: Path) -> None:
    """Copy a file's bytes; IntegrityError, and no file, where they are not what the digest says."""
    digest = hashlib.sha256()
    with open(source, "rb") as origin, open(target, "xb") as copy:
        while block := origin.read(_CHUNK):
            digest.update(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    if digest.hexdigest() != item.sha256:
        target.unlink()
        message = f"{source} is not what its digest {item.sha256[:12]} says"
        raise IntegrityError(message, hint="`mlrun verify` says what was changed here; push again what a depot lost")
