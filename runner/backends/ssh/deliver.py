"""Brings a run to a machine: says what it needs, sends what is lacking, until the machine has started it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.backends.ssh.cargo import Cargo
from runner.backends.ssh.connection import Connection
from runner.backends.ssh.refusals import Unreachable
from runner.errors import BackendError, MlrunError
from runner.worker.codec import decode, encode
from runner.worker.files import canonical
from runner.worker.remote.blobs import send
from runner.worker.remote.kit import Unmet

if TYPE_CHECKING:
    from runner.worker.facts import Cancellation
    from runner.worker.remote.frames import Channel

_ROUNDS = 6  # a lack that does not end is a defect
_NOTABLE = 8 << 20  # bytes: what takes a moment is worth a line

Say = Callable[[str], None]


class Unwanted(Exception):  # noqa: N818 - no error of anybody's
    """Somebody has asked for the end of a run that is still on its way: it will not begin."""


class Delivery:
    """One run on its way; it can be tried again over another connection, and goes on where it was cut."""

    def __init__(self, cargo: Cargo, say: Say, asked: Callable[[], Cancellation | None] = lambda: None) -> None:
        """Carry a cargo; ``say`` hears of what takes long, ``asked`` returns who has asked for the run's end."""
        self._cargo, self._say, self._asked = cargo, say, asked
        self.may_have_started = False  # all that a start needs was sent, and no answer came

    def over(self, connection: Connection) -> str:
        """Deliver over a connection and return the run's directory there, which a worker has claimed.

        Unwanted where the run's end was asked for, and it has not begun.
        """
        self.expect_wanted()
        connection.ready()
        for _ in range(_ROUNDS):
            if self._asked() is not None:
                self._bar(connection)
            submission = canonical(encode(self._cargo.submission))
            self.may_have_started = True
            try:
                answer = connection.ask("submit", submission)
            except Unreachable:
                raise
            except MlrunError:  # the machine has answered, and takes no run
                self.may_have_started = False
                raise
            if answer.kind == "launched":
                self._end(connection)
                return str(answer.head["directory"])
            self.may_have_started = False
            if answer.head["entries"]:
                self._cargo.name_entries()
            if answer.head["uv"]:
                unmet = decode(Unmet, answer.head["uv"], f"what {connection.host.name} lacks")
                self._say(f"fetching uv for {unmet.machine.family}: that of this machine does not run there")
                self._cargo.add_uv(unmet, connection.host)
            self._send(connection, answer.head["blobs"])
        message = f"{connection.host.name} asks for the same again and again"
        raise BackendError(message, hint="this is a defect of mlrun")

    def expect_wanted(self) -> None:
        """Raise Unwanted where the run's end was asked for, and the machine cannot have all of it."""
        if self._asked() is not None and not self.may_have_started:
            raise Unwanted

    def _bar(self, connection: Connection) -> None:
        """See to it that what was sent over a connection that broke does not begin late; Unwanted where it has not."""
        run = self._cargo.submission.request.id
        [said] = connection.ask("look", runs=[[run, True, False]]).head["states"]
        if said["state"] is None:
            raise Unwanted

    def _end(self, connection: Connection) -> None:
        """End a run that has begun, where somebody asked for that as long as the machine did not know of it."""
        asked = self._asked()
        if asked is not None:
            connection.ask("cancel", run=self._cargo.submission.request.id, signal=asked.signal, by=asked.by)

    def _send(self, connection: Connection, wanted: list[list[object]]) -> None:
        blobs = [self._cargo.blob(str(sha256), int(str(offset))) for sha256, offset in wanted]
        for blob in blobs:
            if title := self._cargo.title(blob.sha256):
                self._say(f"sending {title} to {connection.host.name}")
        size = sum(blob.size - blob.offset for blob in blobs if not self._cargo.title(blob.sha256))
        if size > _NOTABLE:
            resumed = " (the rest of it)" if any(blob.offset for blob in blobs) else ""
            self._say(f"sending {size / 1e6:,.0f} MB to {connection.host.name}{resumed}")

        def transfer(channel: Channel) -> None:
            send(channel, blobs, lambda _: self.expect_wanted())

        connection.sending(transfer)
