"""What one call of `mlrun` says, and where: data to stdout, all talk to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from runner.store.store import Store

ENVELOPE = 1  # version of what --json prints


class Session:
    """How much to say, in which form, and the store; one for each call of the command."""

    def __init__(self) -> None:
        """Begin with the defaults; options set them."""
        self.verbose = False
        self.quiet = False
        self.json = False

    @property
    def store(self) -> Store:
        """The user's store, opened."""
        from runner.store.store import Store

        return Store.open()

    def say(self, text: str) -> None:
        """Say a line of talk."""
        if not self.quiet:
            _print_talk(text)

    @contextlib.contextmanager
    def status(self) -> Iterator[Callable[[str], None]]:
        """Give what shows how far something is, in one line that each word replaces; on a terminal alone."""
        shown = not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

        def show(text: str) -> None:
            if shown:
                click.echo(f"\r{text}\033[K", err=True, nl=False)

        try:
            yield show
        finally:
            show("")

    def detail(self, text: str) -> None:
        """Say a line that only --verbose asks for."""
        if self.verbose:
            _print_talk(text)

    def emit(self, **content: Any) -> None:
        """Print data as JSON, in the envelope that every command shares."""
        click.echo(json.dumps({"version": ENVELOPE, **content}, indent=1))

    def refuse(self, message: str, hint: str, code: int) -> int:
        """Say what is wrong, and after a blank line what to do; return the exit code."""
        if self.json:
            self.emit(error={"message": printable(message), "hint": printable(hint)})
        self.complain(message, hint)
        return code

    def complain(self, message: str, hint: str) -> None:
        """Say what is wrong and what to do, in talk alone: what went to stdout tells it already."""
        _print_talk(click.style("error: ", fg="red", bold=True) + printable(message))
        if hint:
            _print_talk("\n" + click.style("hint: ", fg="cyan") + printable(hint))

    def crash(self, error: Exception, argv: Sequence[str]) -> int:
        """Write a log that is ready for an issue, and say in one line where it is."""
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        try:
            path = _write_crash_log(error, argv)
        except OSError:
            return self.refuse(f"mlrun has a defect: {text}", "no log could be written: the store is not writable", 125)
        return self.refuse(f"mlrun has a defect: {text}", f"{path} is ready to paste into an issue", 125)


def printable(text: str) -> str:
    """Return text that any terminal takes: bytes that are no UTF-8, and control characters, are escaped."""
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in safe)


def _print_talk(text: str) -> None:
    color = None if not os.environ.get("NO_COLOR") else False
    with contextlib.suppress(OSError):  # nobody listens any more: what runs goes on
        click.echo(text, err=True, color=color)


def _write_crash_log(error: Exception, argv: Sequence[str]) -> str:
    import platform
    import tempfile
    import traceback

    from runner import __version__
    from runner.store.home import cache

    directory = cache() / "crashes"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=directory, suffix=".md", delete=False, errors="backslashreplace") as log:
        command = argv[0] if argv else ""  # parameters may be private: the command's name is enough
        log.write(f"### mlrun {__version__}, Python {sys.version}, {platform.platform()}\n\n`mlrun {command} ...`\n\n")
        log.write("```\n" + "".join(traceback.format_exception(error)) + "```\n")
    return log.name
