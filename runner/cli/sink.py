"""Where a followed run's output goes: the terminal's own two streams, and a status line while it prepares."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from runner.cli.session import Session, printable

if TYPE_CHECKING:
    from rich.status import Status
    from typing_extensions import Self

_NOTE = "note: "


class TerminalSink:
    """Passes a command's bytes on as they come; with --json its stdout goes to stderr, for stdout is data."""

    def __init__(
        self, session: Session, *, silent: bool = False, streams: Collection[str] = ("stdout", "stderr")
    ) -> None:
        """Follow the session's wishes; ``silent`` shows nothing, for those who only wait, ``streams`` are passed on."""
        self._session = session
        self._silent = silent
        self._streams = streams
        self._status: Status | None = None

    def __enter__(self) -> Self:
        """Begin to follow."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the status line away."""
        self._clear()

    def stdout(self, data: bytes) -> None:
        """Pass on what the command printed."""
        if "stdout" in self._streams:
            self._pass(data, sys.stderr.buffer if self._session.json else sys.stdout.buffer)

    def stderr(self, data: bytes) -> None:
        """Pass on what the command said."""
        if "stderr" in self._streams:
            self._pass(data, sys.stderr.buffer)

    def progress(self, text: str) -> None:
        """Show what is being prepared: a line that changes on a terminal, else lines of their own."""
        if self._silent or self._session.quiet:
            return
        if text.startswith(_NOTE):  # not what is going on, but what is not as one would think: it stays
            self._clear()
            self._session.say(printable(text))
            return
        if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or self._session.verbose:
            self._session.say(printable(text))
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status("")
            self._status.start()
        from rich.text import Text

        self._status.update(Text(printable(text), overflow="ellipsis", no_wrap=True))

    def _pass(self, data: bytes, stream: BinaryIO) -> None:
        if self._silent:
            return
        self._clear()
        # A reader that has gone (`mlrun run | head`) ends our printing, never the run: the log has it all.
        with contextlib.suppress(BrokenPipeError):
            stream.write(data)
            stream.flush()

    def _clear(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
