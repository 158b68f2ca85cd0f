"""Brings an ended run's results here: small files with their list, the rest as far as it is lacking, outcome last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import IntegrityError, StoreError
from runner.store.locks import settling
from runner.worker.codec import decode, encode
from runner.worker.files import cure, replace, write_once
from runner.worker.hashing import sha256_of, sha256_of_file
from runner.worker.objects import Objects
from runner.worker.remote.inbox import Inbox, Place
from runner.worker.remote.results import NOT_OURS, Item, Results
from runner.worker.results import Files

if TYPE_CHECKING:
    from runner.backends.ssh.connection import Connection
    from runner.worker.remote.frames import Frame
    from runner.worker.rundir import RunDirectory

_OUTCOME = "outcome.json"  # with it the run has ended here, too
_LAST = (_OUTCOME, "placement.json", "claim.json")  # without an outcome these would say that it was lost here
_WHO = "see who has access to that machine"
_HEAVY = ("artifacts/", "children/")


class Bring:
    """The results of one run, as its machine listed them."""

    def __init__(self, listed: Frame, run: RunDirectory, objects: Objects) -> None:
        """Take the list, and the small files that came with it; IntegrityError where they are damaged."""
        self._run, self._objects = run, objects
        self._items = decode(Results, listed.head["found"], "the list of results").items
        self._inline = dict(self._cut(listed.body))
        self._measured = _measured(self._inline.get("outputs.json"))

    def lacking(self, *, outputs: bool = True) -> list[Item]:
        """Return what is neither here nor came with the list; without ``outputs``, what the record needs alone."""
        wanted = (item for item in self._items if (outputs or not self._is_output(item)) and not item.inline)
        return [item for item in wanted if not self._has(item)]

    def finish(self, connection: Connection, *, outputs: bool = True) -> int:
        """Bring what is lacking, write the small files, and the outcome last; return the bytes that came."""
        size = self._receive(connection, self.lacking(outputs=outputs))
        with settling(self._run.path):
            if not (self._run.contents.exists() or self._run.record.exists()):  # another brought all, and sealed it
                self._write_inline()
        return size

    def _write_inline(self) -> None:
        for path in sorted(self._inline, key=lambda path: (path in _LAST, _LAST.index(path) if path in _LAST else 0)):
            _write(self._place(path), self._inline[path])

    def _receive(self, connection: Connection, items: Sequence[Item]) -> int:
        if not items:
            return 0
        inbox = Inbox(self._objects.root / "tmp", _places(self._target(item) for item in items), cure)
        once = tuple({item.sha256: item for item in items}.values())  # an artifact is an object as well
        offsets = [_offset(inbox, item) for item in once]
        connection.tell("send", run=self._run.id, items=encode(Results(once)), offsets=offsets)
        while (frame := connection.hear()).kind == "blobs":
            inbox.take(frame)
        inbox.sync()
        return inbox.bytes

    def _is_output(self, item: Item) -> bool:
        """Whether the record can do without an item: an output's bytes, an artifact."""
        if item.path is not None:
            return item.path.startswith(_HEAVY)
        return not self._is_lock(item) and item.sha256 not in self._measured

    def _is_lock(self, item: Item) -> bool:
        return item.sha256.encode() in self._inline.get("environment.json", b"")

    def _has(self, item: Item) -> bool:
        if item.path is None:
            return self._objects.has(item.sha256, item.size)
        place = self._place(item.path)
        return place.is_file() and place.stat().st_size == item.size and sha256_of_file(place) == item.sha256

    def _target(self, item: Item) -> tuple[str, Place]:
        if item.path is None:
            return item.sha256, Place(str(self._objects.path(item.sha256)), 0o444)
        return item.sha256, Place(str(self._place(item.path)))

    def _place(self, path: str) -> Path:
        """Return where a file of the run directory lies here.

        What another machine says does not lead outside, nor to what we have written ourselves: the plan, the record.
        """
        place = Path(os.path.normpath(self._run.path / path))
        if self._run.path not in place.parents:
            message = f"the host lists a result that would leave the run directory: {path!r}"
            raise IntegrityError(message, hint=_WHO)
        top = place.relative_to(self._run.path).parts[0]
        if top in NOT_OURS:
            message = f"the host lists a result that is not its own to give: {path!r}"
            raise IntegrityError(message, hint=_WHO)
        return place

    def _cut(self, body: bytes) -> Iterable[tuple[str, bytes]]:
        at = 0
        for item in self._items:
            if item.inline and item.path is not None:
                data = body[at : at + item.size]
                at += item.size
                if sha256_of(data) != item.sha256:
                    message = f"{item.path} did not arrive as it was"
                    raise IntegrityError(message, hint="try again")
                yield item.path, data


def _measured(data: bytes | None) -> frozenset[str | None]:
    """Return the digests of the files of metrics among the outputs: the record is composed from them."""
    if data is None:
        return frozenset()
    try:
        files = decode(Files, json.loads(data), "outputs.json").files
    except ValueError:
        return frozenset()
    return frozenset(fact.sha256 for fact in files if fact.basis == "measured")


def _offset(inbox: Inbox, item: Item) -> int:
    offset = inbox.offset(item.sha256)
    return offset if offset < item.size else 0


def _places(pairs: Iterable[tuple[str, Place]]) -> dict[str, list[Place]]:
    places: dict[str, list[Place]] = {}
    for sha256, place in pairs:
        places.setdefault(sha256, []).append(place)
    return places


def _write(path: Path, data: bytes) -> None:
    """Give a file its content, whole or not at all; one that has it already is left alone."""
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == _OUTCOME:
            write_once(path, data)
        else:
            replace(path, data)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise StoreError(message, hint=cure(error)) from error
