"""One connection to a machine: the user's own `ssh`, shared among calls, and the worker's requests over it."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runner import errors
from runner.backends.host import Host
from runner.backends.packing import pack
from runner.backends.ssh import bootstrap
from runner.backends.ssh.client import Client
from runner.backends.ssh.pipes import PatientReader, PatientWriter, widen
from runner.backends.ssh.refusals import Unreachable, cut, might_answer, refusal, talkative
from runner.errors import BackendError, MlrunError
from runner.worker.remote.frames import Channel, Cut, Frame

if TYPE_CHECKING:
    from typing_extensions import Self

SILENCE = 20.0  # seconds without a sign of life after which a link counts as cut; $MLRUN_SSH_PATIENCE
CONNECTING = 20.0  # seconds a machine may take to take a connection
_STARTING = 60.0  # seconds it may take to log in and begin, where nobody is asked for a password
_GARBAGE = 1 << 20  # bytes that a login shell may print before the worker's mark


class Connection:
    """Requests to one machine, and its answers; made at once, spoken over as soon as it stands."""

    def __init__(
        self,
        host: Host,
        cache: Path,
        *,
        warm: bool = False,
        quietly: bool = False,
        patience: float | None = None,
        connect: float | None = None,
    ) -> None:
        """Start to connect. ``quietly``: nobody is asked for a password. ``connect``: seconds it may take."""
        self.host = host
        self.patience, self._starting = patience or _silence(), patience or _STARTING
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the connection
        self._mark = f"mlrun-{secrets.token_hex(8)}"
        self._client = Client(host, connect or min(CONNECTING, self.patience + 1))
        self._may_log_in = not quietly and self._client.can_log_in
        self._archive = pack(cache)
        self._opening = bootstrap.opening(host, self._archive, self._mark, warm=warm, beat=self.patience / 4)
        self._is_up = False
        self._start()

    def _start(self) -> None:
        self._process = self._client.start(bootstrap.COMMAND, self._complaints)
        widen(self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._reader = PatientReader(self._process.stdout, self.patience)
        self._writer = PatientWriter(self._process.stdin, self.patience)
        self.channel = Channel(self._reader, self._writer)
        with contextlib.suppress(OSError):  # the reason is found as soon as an answer is waited for
            self._process.stdin.write(self._opening)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the connection."""
        self.close()

    def __del__(self) -> None:
        """End the connection, where nobody did."""
        with contextlib.suppress(AttributeError):  # it was never made
            self.close()

    def ready(self) -> None:
        """Wait until the machine has answered; Unreachable or BackendError says why it does not."""
        while not self._is_up:
            self._reader.patience = float("inf") if self._client.asks else self._starting
            try:
                self._find_mark()
            except Cut:
                failure = self._failure()
                if not (self._may_log_in and might_answer(self._said())):
                    raise failure from None
                self._log_in()
            else:
                self._is_up = True
        self._reader.patience = self.patience

    def ask(self, kind: str, body: bytes = b"", *, within: float = math.inf, **head: Any) -> Frame:
        """Send a request and return its answer; what the worker there refuses is raised here.

        ``within``: so many seconds it may take, whatever signs of life there are; then the connection is of no use.
        """
        self.tell(kind, body, **head)
        return self.hear(within)

    def tell(self, kind: str, body: bytes = b"", **head: Any) -> None:
        """Send a request and wait for nothing; where the other end has refused it meanwhile, that is raised."""
        self.sending(lambda channel: channel.send(kind, body, **head))

    def sending(self, send: Callable[[Channel], None]) -> None:
        """As ``tell``, for what speaks to the channel itself."""
        if self._may_log_in:
            self.ready()  # what is sent to a connection that has to be made anew would be lost
        try:
            send(self.channel)
        except Cut:
            self._raise_last_words()

    def hear(self, within: float = math.inf) -> Frame:
        """Return the next answer; Unreachable where the link is cut, or it takes longer than ``within`` seconds."""
        self.ready()
        deadline = time.monotonic() + within
        while True:
            left = deadline - time.monotonic()
            self._reader.patience = max(0.0, min(self.patience, left))
            try:
                frame = self.channel.receive()
                if frame.kind == "lack-worker":
                    self.channel.send("worker", self._archive.read_bytes())
                    continue
            except Cut:
                if self._reader.is_silent and left < self.patience:
                    raise Unreachable(self.host, f"it has not answered within {within:.0f} s") from None
                raise self._failure() from None
            if frame.kind == "beat":
                continue
            if frame.kind == "refused":
                raise _refused(frame, self.host)
            return frame

    def close(self) -> None:
        """End the connection; the shared one below it stays for a while."""
        self._close()
        self._complaints.close()

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        with contextlib.suppress(OSError):
            self._process.terminate()
        self._process.wait()

    def _log_in(self) -> None:
        """Ask who is at the terminal what was not to be known without, and connect again."""
        self._may_log_in = False
        self._complaints.truncate(0)
        code = self._client.log_in(self._complaints)
        if code:
            raise refusal(self.host, code, self._said(), "")
        self._close()
        self._complaints.truncate(0)
        self._start()

    def _raise_last_words(self) -> None:
        """Raise what the other end said before it stopped to listen, or that it is cut off."""
        if self._writer.is_silent:
            raise self._failure()
        while True:
            self.hear()

    def _find_mark(self) -> None:
        if self._reader.skip(f"{self._mark}\n".encode(), _GARBAGE):
            return
        self._process.kill()
        raise talkative(self.host)

    def _failure(self) -> MlrunError:
        if self._reader.is_silent or self._writer.is_silent:
            self._process.kill()
            self._process.wait()
            self._client.retire()
            return Unreachable(self.host, "the link is cut: nothing comes from it any more")
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        code = self._process.wait()
        if self._is_up:
            return cut(self.host, self._said())
        return refusal(self.host, code, self._said(), self._reader.last_words)

    def _said(self) -> str:
        """Return what ssh, and who is behind it, have said on standard error."""
        self._complaints.seek(0)
        return self._complaints.read().decode("utf-8", "replace")


def _silence() -> float:
    try:
        return max(0.2, float(os.environ.get("MLRUN_SSH_PATIENCE", "")))
    except ValueError:
        return SILENCE


def _refused(frame: Frame, host: Host) -> MlrunError:
    kind = getattr(errors, str(frame.head.get("error")), BackendError)
    kind = kind if isinstance(kind, type) and issubclass(kind, MlrunError) else BackendError
    error: MlrunError = kind(f"{host.name}: {frame.head['message']}", hint=frame.head.get("hint", ""))
    return error
