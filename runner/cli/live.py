"""Follow a launched run on the terminal: its output, Ctrl-C and TERM, and a last line that says how it ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from runner.cli.session import Session
from runner.cli.sink import TerminalSink

if TYPE_CHECKING:
    from runner.flow.follow import Ended
    from runner.flow.start import Started
    from runner.store.store import Store
    from runner.worker.rundir import RunDirectory

_MARKS = {"succeeded": ("✓", "green"), "failed": ("✗", "red"), "killed": ("■", "yellow"), "lost": ("?", "red")}


def carry_through(session: Session, store: Store, started: Started, *, emit: bool = True) -> Ended:
    """Follow a run to its end and say how it ended; INT and TERM to this process end the run."""
    from runner.flow.follow import see_off

    with TerminalSink(session) as sink, _forwarding(session, started.run):
        ended = see_off(started.backend, started.ticket, started.run, store, sink)
    if session.json and emit:
        session.emit(run=ended.record)
    say_end(session, ended.record)
    return ended


def launched(session: Session, started: Started) -> None:
    """Say that a detached run is on its way, and print what finds it again."""
    from runner.store.store import short

    identity = short(started.run.id)
    if session.json:
        session.emit(run={"id": started.run.id, "status": "submitted"})
    else:
        click.echo(started.run.id)
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
    session.say(f"{click.style(mark, fg=color)} {identity}{name} {run['status']}{took}{_reason(result)}")
    error = result.get("error")
    if error:
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


@contextmanager
def _forwarding(session: Session, run: RunDirectory) -> Iterator[None]:
    """Turn INT and TERM into a cancellation of the run; a second INT kills at once. HUP is left to end us alone."""
    from runner.flow.follow import cancel

    interrupts = 0

    def interrupted(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        del frame
        interrupts += number == signal.SIGINT
        if number == signal.SIGTERM:
            cancel(run, "TERM")
        elif interrupts == 1:
            session.say("\nending the run (Ctrl-C again kills it at once)")
            cancel(run, "INT")
        else:
            cancel(run, "KILL")

    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
