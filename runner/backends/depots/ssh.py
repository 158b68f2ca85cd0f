"""A depot on another machine, over the connection that runs use: nothing but OpenSSH and a Python is needed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.backends.host import Host
from runner.backends.ssh.connection import Connection
from runner.worker.files import cure
from runner.worker.remote.blobs import Blob, send
from runner.worker.remote.depot import Item, items_of, pairs
from runner.worker.remote.frames import Channel, Frame
from runner.worker.remote.inbox import Inbox, Place

_MANY = 2000  # items of one request


class SshDepot:
    """Asks the worker on a machine about a depot's directory there."""

    def __init__(self, host: Host, root: str, cache: Path, *, make: bool) -> None:
        """Connect, and see that there is a depot; StoreError where there is none."""
        self._root, self._make = root, make
        self._connection = Connection(host, cache)
        try:
            self.listings("runs/-")
        except BaseException:
            self.close()
            raise

    def lacking(self, items: Sequence[Item]) -> list[Item]:
        """Return what is not there."""
        found = []
        for first in range(0, len(items), _MANY):
            answer = self._ask("lacking", items=pairs(items[first : first + _MANY]))
            found += items_of(answer.head["items"])
        return found

    def listings(self, under: str) -> list[Item]:
        """Return the listings."""
        return items_of(self._ask("listings", under=under).head["items"])

    def put(self, files: Mapping[Item, Path]) -> None:
        """Send files there."""
        items = list(files)
        for first in range(0, len(items), _MANY):
            some = items[first : first + _MANY]
            self._ask("put", items=pairs(some))
            blobs = [Blob(item.sha256, item.size, str(files[item])) for item in some]

            def transfer(channel: Channel, blobs: Sequence[Blob] = blobs) -> None:
                send(channel, blobs)
                channel.send("sent")

            self._connection.sending(transfer)
            self._connection.hear()

    def get(self, files: Mapping[Item, Path]) -> None:
        """Bring files here; the inbox checks each by its digest."""
        if not files:
            return
        aside = next(iter(files.values())).parent
        inbox = Inbox(aside, {item.sha256: [Place(str(path))] for item, path in files.items()}, cure)
        self._connection.tell("depot", verb="get", root=self._root, make=False, items=pairs(files))
        while (frame := self._connection.hear()).kind == "blobs":
            inbox.take(frame)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ask(self, verb: str, **head: Any) -> Frame:
        return self._connection.ask("depot", verb=verb, root=self._root, make=self._make, **head)
