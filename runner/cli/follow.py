"""`mlrun logs`, `wait` and `cancel`: what can be done with a run that goes on, or went on, somewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from runner.cli.live import say_end
from runner.cli.options import common, run_argument, run_arguments
from runner.cli.session import Session
from runner.cli.sink import TerminalSink

if TYPE_CHECKING:
    from runner.worker.rundir import RunDirectory


@click.command(short_help="Print what a run printed; -f follows it.")
@run_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends; Ctrl-C ends the following alone.")
@click.option("--stdout", "out", is_flag=True, help="The standard output alone.")
@click.option("--stderr", "err", is_flag=True, help="The standard error alone.")
@common
@click.pass_obj
def logs(session: Session, run_id: str, follow: bool, out: bool, err: bool) -> None:
    """Print what a run's command printed: its stdout to stdout, its stderr to stderr.

    \b
    Examples:
      mlrun logs latest
      mlrun logs -f 1a2b3c4d
      mlrun logs latest --stderr 2>errors.txt
    """
    store = session.store
    run = store.find(run_id)
    every = {"stdout": run.stdout, "stderr": run.stderr}
    chosen = {name: path for name, path in every.items() if {"stdout": out, "stderr": err}[name] or out is err}
    if follow:
        from runner.flow.follow import wait

        with TerminalSink(session, streams=chosen) as sink:
            wait(run, store, sink)
    elif not session.json:
        from runner.flow.away import peek

        with TerminalSink(session, streams=chosen) as sink:
            if peek(run, sink):
                return
    _say_what_was_left_out(session, run, chosen)
    if session.json:
        session.emit(logs={name: _text(path) for name, path in chosen.items()})
    elif not follow:
        for name, path in chosen.items():
            _copy(path, sys.stdout if name == "stdout" else sys.stderr)


def _say_what_was_left_out(session: Session, run: RunDirectory, chosen: Iterable[str]) -> None:
    """Say of a run that came from another store which of its logs did not come with it."""
    from runner.records.origin import origin_of

    origin = origin_of(run)
    for name in chosen:
        if origin is not None and f"{name}.log" in origin.without and not (run.path / f"{name}.log").exists():
            session.say(f"note: {name} was left out when the run was shared; `mlrun export --logs` takes it along")


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _copy(path: Path, stream: TextIO) -> None:
    if path.exists():
        with path.open("rb") as log:
            shutil.copyfileobj(log, stream.buffer, 1 << 20)
        stream.flush()


@click.command(short_help="Wait until runs have ended.")
@run_arguments
@common
@click.pass_obj
def wait(session: Session, run_ids: tuple[str, ...]) -> None:
    """Wait until runs have ended; the exit code is the last one's that did not succeed, as `mlrun run` gives it.

    \b
    Example:
      id=$(mlrun run . --detach) && mlrun wait $id
    """
    from runner.flow.follow import wait as wait_for

    store = session.store
    code, records = 0, []
    for run in [store.find(run_id) for run_id in run_ids]:
        with TerminalSink(session, silent=True) as sink:
            ended = wait_for(run, store, sink)
        records.append(ended.record)
        say_end(session, ended.record)
        code = ended.exit_code or code
    if session.json:
        session.emit(runs=records)
    sys.exit(code)


@click.command(short_help="End runs.")
@run_arguments
@click.option("--kill", is_flag=True, help="KILL at once, without the TERM and its grace.")
@common
@click.pass_obj
def cancel(session: Session, run_ids: tuple[str, ...], kill: bool) -> None:
    """End runs: TERM to the command's process group, and KILL after its grace; returns when they have ended.

    \b
    Example:
      mlrun cancel latest
    """
    from runner.flow.follow import cancel as end
    from runner.flow.follow import wait as wait_for

    store = session.store
    runs = [store.find(run_id) for run_id in run_ids]
    for run in runs:
        end(run, "KILL" if kill else "TERM")
    records = []
    for run in runs:
        with TerminalSink(session, silent=True) as sink:
            ended = wait_for(run, store, sink)
        records.append(ended.record)
        say_end(session, ended.record)
    if session.json:
        session.emit(runs=records)
