"""A run's tracking endpoint as its worker holds it: a bound socket, and a server of its own once somebody connects."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import sys
import time

# `import socket` loads selectors and enum: milliseconds that a run which never logs would pay for.
from _socket import AF_INET, SOCK_STREAM, socket
from types import TracebackType
from typing import Optional

from runner.worker.execution.kin import WORKER
from runner.worker.rundir import RunDirectory

Environ = dict[bytes, bytes]

_BACKLOG = 1024  # connections that may wait until the server has started
_MOST_STARTS = 5  # of the server: one that dies again and again has a defect, and clients are to hear of it
_GRACE = 5.0  # seconds the server has to finish what was asked of it
_LOOPBACK = b"127.0.0.1"
_USER = b"mlrun"

# What a caller may have set for another server, and what would come before our token in a client.
_FOREIGN = (
    b"MLFLOW_REGISTRY_URI",
    b"MLFLOW_TRACKING_AUTH",
    b"MLFLOW_TRACKING_AWS_SIGV4",
    b"MLFLOW_TRACKING_CLIENT_CERT_PATH",
    b"MLFLOW_TRACKING_SERVER_CERT_PATH",
    b"MLFLOW_WORKSPACE",
)


class Endpoint:
    """The endpoint of one run; leaving its context ends the server, once it has answered all that was asked."""

    def __init__(self, run: RunDirectory) -> None:
        """Bind a port of the loopback; where there is none, the run goes on without tracking."""
        self._run = run
        self._token = secrets.token_urlsafe(32)
        self._listening: Optional[socket] = None
        self._lifeline = -1
        self._starts = 0
        self.server = 0  # its pid, while it runs
        self.failure = ""  # why what a client logs may be lost
        try:
            self._listening = _listen()
        except OSError as error:
            self.failure = f"no port of the loopback can be had: {error.strerror or error}"

    def __enter__(self) -> Endpoint:  # noqa: PYI034 - Self is newer than Python 3.9
        """Serve from here on."""
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """End the server."""
        self.close()

    def surround(self, environ: Environ) -> Environ:
        """Return a command's variables with those that lead a client here, and nowhere else."""
        if self._listening is None:
            return environ
        mine = {name: value for name, value in environ.items() if name not in _FOREIGN}
        token = self._token.encode("ascii")
        mine[b"MLFLOW_TRACKING_URI"] = b"http://%b:%d" % (_LOOPBACK, self._listening.getsockname()[1])
        mine[b"MLFLOW_RUN_ID"] = self._run.id.replace("-", "").encode("utf-8", "surrogateescape")
        mine[b"MLFLOW_EXPERIMENT_ID"] = b"0"
        mine.setdefault(b"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", b"true")  # pages that nobody serves
        mine[b"MLFLOW_TRACKING_TOKEN"] = token
        # A client takes a user and a password before a token, also those in ~/.mlflow/credentials: these come first.
        mine[b"MLFLOW_TRACKING_USERNAME"], mine[b"MLFLOW_TRACKING_PASSWORD"] = _USER, token
        for name, other in ((b"NO_PROXY", b"no_proxy"), (b"no_proxy", b"NO_PROXY")):
            mine[name] = _without_proxy(environ.get(name) or environ.get(other) or b"")
        return mine

    @property
    def door(self) -> tuple[int, ...]:
        """The descriptor that becomes readable when somebody connects; none while the server looks after it."""
        return () if self._listening is None or self.server else (self._listening.fileno(),)

    def tend(self) -> None:
        """Start the server where somebody waits for it."""
        if not self.door or not select.select(self.door, (), (), 0)[0]:
            return
        if self._starts == _MOST_STARTS:
            self._shut()
            self.failure = "the server died again and again; see worker.log"
            return
        self._starts += 1
        with contextlib.suppress(OSError):  # no room for a process now: the client tries again
            self._start()

    def reaped(self, pid: int) -> bool:
        """Take note of a child of this process that has ended, and say whether it was the server."""
        if pid != self.server:
            return False
        self._forget()
        return True

    def close(self) -> None:
        """Have the server answer what was asked and end; it gets some seconds, and no more."""
        self._shut()
        if not self.server:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self._lifeline, b".")
        deadline = time.monotonic() + _GRACE
        while self._lives() and time.monotonic() < deadline:
            time.sleep(0.002)
        if self._lives():
            os.kill(self.server, signal.SIGKILL)
            os.waitpid(self.server, 0)
        self._forget()

    def _start(self) -> None:
        from runner.worker.tools import launch

        assert self._listening is not None
        theirs, ours = os.pipe()
        try:
            os.write(ours, self._token.encode("ascii") + b"\n")
            inherited = (self._listening.fileno(), theirs)
            argv = (*_interpreter(), "serve", str(self._run.path), *map(str, inherited))
            environ = {**os.environ, WORKER: self._run.id}  # so that nobody takes it for a part of the command
            self.server = launch(argv, env=environ, log=self._run.worker_log, foreground=False, keep=inherited)
            self._lifeline = ours
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)

    def _lives(self) -> bool:
        try:
            return os.waitpid(self.server, os.WNOHANG)[0] == 0
        except ChildProcessError:
            return False

    def _forget(self) -> None:
        os.close(self._lifeline)
        self.server = 0

    def _shut(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None


def _listen() -> socket:
    made = socket(AF_INET, SOCK_STREAM)
    made.bind((_LOOPBACK.decode("ascii"), 0))
    made.listen(_BACKLOG)
    return made


def _interpreter() -> tuple[str, ...]:
    """Return the line that this worker was started by, up to the verb."""
    return (sys.executable, "-X", "utf8", "-S", "-E", os.path.abspath(sys.argv[0]))


def _without_proxy(names: bytes) -> bytes:
    known = [name.strip() for name in names.split(b",") if name.strip()]
    return names if _LOOPBACK in known or b"*" in known else b",".join([*known, _LOOPBACK])
