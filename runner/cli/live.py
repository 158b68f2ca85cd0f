"""Follow a launched run on the terminal: its output, Ctrl-C and TERM, and a last line that says how it ended."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from runner.cli.session import Session, printable
from runner.cli.sink import TerminalSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from runner.flow.follow import Ended
    from runner.flow.start import Started
    from runner.store.store import Store
    from runner.worker.rundir import RunDirectory

_MARKS = {"succeeded": ("✓", "green"), "failed": ("✗", "red"), "killed": ("■", "yellow"), "lost": ("?", "red")}


class Signals:
    """What INT and TERM mean to this process: its own end until a run is being made, then the run's.

    A second INT kills the run at once. HUP is left to end us alone, and what the caller ignores stays ignored.
    """

    def __init__(self, session: Session) -> None:
        """Take nothing over yet."""
        self._session = session
        self._run: RunDirectory | None = None
        self._cancel: Callable[[RunDirectory, str], None]
        self._holding = False
        self._heard = 0
        self._kept: list[int] = []  # while the run was not there yet
        self._passed: list[int] = []  # on to the run
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the two signals over."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def received(self) -> bool:
        """Whether the end of the run was asked for."""
        return bool(self._passed)

    def hold(self) -> None:
        """Keep what comes until there is a run that it can end: one that is half made would be lost."""
        self._holding = True
        self._leave()  # Python swallows what is raised inside a destructor

    def end(self, run: RunDirectory) -> None:
        """From here on, and with what was kept, end this run."""
        from runner.flow.follow import cancel  # a signal may come in the middle of any import

        self._cancel, self._run = cancel, run
        while self._kept:
            self._pass(run, self._kept.pop(0))

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._run is not None:
            self._pass(self._run, number)
        elif self._holding:
            self._kept.append(number)
        else:
            self._heard = number
            self._leave()

    def _leave(self) -> None:
        if self._heard == signal.SIGINT:
            raise KeyboardInterrupt
        if self._heard:
            sys.exit(128 + self._heard)

    def _pass(self, run: RunDirectory, number: int) -> None:
        self._passed.append(number)
        if number == signal.SIGTERM:
            self._cancel(run, "TERM")
        elif self._passed.count(signal.SIGINT) == 1:
            self._session.say("\nending the run (Ctrl-C again kills it at once)")
            self._cancel(run, "INT")
        else:
            self._cancel(run, "KILL")


def carry_through(session: Session, store: Store, started: Started, *, emit: bool = True) -> Ended:
    """Follow a run to its end and say how it ended."""
    from runner.flow.follow import see_off

    with TerminalSink(session) as sink:
        ended = see_off(started.backend, started.ticket, started.run, store, sink)
    if session.json and emit:
        session.emit(run=ended.record)
    say_end(session, ended.record)
    _say_undeclared(session, ended.record)
    if ended.remark:
        session.say(f"warning: {printable(ended.remark)}")
    return ended


def _say_undeclared(session: Session, record: Any) -> None:
    """Name what was read and is neither in git nor declared: a re-run elsewhere would miss it, and nobody said so."""
    from runner.records.undeclared import undeclared

    found = undeclared(record)
    if found is None:
        return
    more = f" and {found.count - len(found.named)} more" if found.count > len(found.named) else ""
    session.say(f"note: it read {printable(', '.join(found.named))}{more}, neither in git nor declared")
    session.say(f"      in the MLproject, `{printable(found.line)}` would say so")


def launched(session: Session, started: Started) -> None:
    """Say that a detached run is on its way, and print what finds it again."""
    from runner.store.store import short
    from runner.worker.facts import Request

    identity, past = short(started.run.id), started.run.read(Request).reused
    if session.json:
        session.emit(run={"id": started.run.id, "status": "submitted" if past is None else "succeeded"})
    else:
        click.echo(started.run.id)
    if past is not None:
        session.say(f"{identity} reused {short(past)}: nothing has changed since")
        return
    session.say(f"launched {identity}; `mlrun logs -f {identity}` follows it, `mlrun cancel {identity}` ends it")


def say_end(session: Session, record: Any) -> None:
    """Say in one line how a run ended, and in a second why, where it did not succeed."""
    from runner.store.store import short

    run, result = record["run"], record["result"]
    mark, color = _MARKS.get(run["status"], ("·", "white"))
    seconds = run.get("duration")
    took = "" if seconds is None else f" in {seconds:.1f} s"
    name = f" ({run['name']})" if run.get("name") else ""
    identity = short(run["id"])
    reused = (record.get("relations") or {}).get("reused")
    how = f"reused {short(reused)}: nothing has changed since" if reused else f"{run['status']}{took}"
    session.say(f"{click.style(mark, fg=color)} {identity}{name} {how}{_reason(result)}")
    error = result.get("error")
    if error and not (run["status"] == "killed" or result["exit_code"]):  # the line above has said it
        session.complain(error["message"], error.get("hint", ""))


def _reason(result: dict[str, Any]) -> str:
    if result.get("timed_out"):
        return ": past its time limit"
    if result.get("signal"):
        return f": ended by {_signal_name(result['signal'])}"
    code = result.get("exit_code")
    return f": exit code {code}" if code else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
