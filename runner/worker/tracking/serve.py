"""The server's process: what the worker handed it, put together, until the run has ended."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from runner.errors import MlrunError
from runner.worker.facts import Start
from runner.worker.processes import is_alive
from runner.worker.rundir import RunDirectory
from runner.worker.tracking.loop import Loop
from runner.worker.tracking.routes import Api, error
from runner.worker.tracking.runs import Runs


def serve(directory: Path, listening: int, lifeline: int) -> int:
    """Serve on an inherited socket. The first line of ``lifeline`` is the token, its next byte the word to end.

    Where the worker dies without that word, the command may go on, and so does this, as long as the command.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for descriptor in (listening, lifeline):
        os.set_inheritable(descriptor, False)
    token = _read_line(lifeline)
    run = RunDirectory(directory)
    loop = Loop(socket.socket(fileno=listening), token, Api(Runs(run)).answer, error)
    loop.until(lifeline, lambda: _is_over(run))
    return 0


def _read_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 1)
        if not piece:
            break
        line += piece
    return line.rstrip(b"\n")


def _is_over(run: RunDirectory) -> bool:
    try:
        start = run.find(Start)
    except MlrunError:
        return True
    return start is None or not is_alive(start.child)
