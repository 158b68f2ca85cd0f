"""The user's own `ssh`: how it is called, what its calls share, and when somebody is asked for a password."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runner.backends.host import Host
from runner.errors import BackendError, UsageError
from runner.worker.tools import TimedOut, call, converse

if TYPE_CHECKING:
    import subprocess

_LONGEST_SOCKET = 90  # bytes of a socket's path, of the 104 that all systems take, less what ssh appends
_PERSIST = "10m"
_PATIENCE = 10.0  # seconds for an answer of ssh's own, that needs no network
_NEVER_ASK = {"SSH_ASKPASS_REQUIRE": "never"}  # nor may who is in between: a jump host knows no BatchMode


class Client:
    """What leads to one machine: connections are shared, by the user's own configuration or else by ours."""

    def __init__(self, host: Host, connect: float) -> None:
        """Lead to a host; ``connect``: seconds that it may take to be reached. UsageError: $MLRUN_SSH is none."""
        self.host = host
        self._connect = connect
        self._command = _command()
        self._port = ["-p", str(host.port)] if host.port else []
        self._socket = _socket(*self._command, host.address, str(host.port))

    @property
    def can_log_in(self) -> bool:
        """Whether ``log_in`` opens what ``start`` then uses, and somebody is at a terminal to be asked."""
        return self._socket is not None and _has_terminal()

    @property
    def asks(self) -> bool:
        """Whether ``start`` itself asks: there is no place for a shared connection."""
        return self._socket is None and _has_terminal()

    def start(self, command: str, complaints: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start ssh with a command for the machine; BackendError where there is no ssh.

        It has a session of its own, unless it asks: Ctrl-C ends the run, and the connection has to tell so.
        """
        environ = None if self.asks else {**os.environ, **_NEVER_ASK}
        return self._converse(command, complaints, environ, asks=self.asks)

    def log_in(self, complaints: IO[bytes]) -> int:
        """Open the shared connection, asking on the terminal what is to be asked; return ssh's exit code."""
        process = self._converse("true", complaints, None, asks=True)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        return process.wait()

    def retire(self) -> None:
        """Have no new connection use a shared one that is dead; those that use it are left to find out."""
        shared = self._socket is not None and self._socket.exists()
        if not shared and not self._shares_already:
            return
        path = ["-o", f"ControlPath={self._socket}"] if shared else []
        with contextlib.suppress(OSError, TimedOut):
            call([*self._command, *path, *self._port, "-O", "stop", "--", self.host.destination], timeout=_PATIENCE)
        if shared:
            with contextlib.suppress(OSError):
                assert self._socket is not None
                self._socket.unlink()

    def _converse(
        self, command: str, complaints: IO[bytes], environ: dict[str, str] | None, *, asks: bool
    ) -> subprocess.Popen[bytes]:
        try:
            argv = [*self._command, *self._options(asks=asks), "--", self.host.destination, command]
            return converse(argv, complaints, env=environ, new_session=not asks)
        except OSError as error:
            message = f"{self._command[0]} cannot be started: {error.strerror}"
            raise BackendError(message, hint="install OpenSSH's client, or correct MLRUN_SSH") from error

    def _options(self, *, asks: bool) -> list[str]:
        options = {
            "RequestTTY": "no",
            "RemoteCommand": "none",
            "PermitLocalCommand": "no",
            "ClearAllForwardings": "yes",
        }
        if not asks:
            options["BatchMode"] = "yes"
        options["ConnectTimeout"] = str(max(1, int(self._connect)))
        if self._socket is None:
            options["ControlPath"] = "none"
        elif self._socket.exists() or not self._shares_already:
            options |= {"ControlMaster": "auto", "ControlPath": str(self._socket), "ControlPersist": _PERSIST}
            options |= {"ServerAliveInterval": "10", "ServerAliveCountMax": "3"}
        elif self._configured.get("controlpersist", "no") == "no":
            # Else ours would hold the user's own sessions that come to share it, and end them as it ends.
            options |= {"ControlMaster": "auto", "ControlPersist": _PERSIST}
        words = ["-T", "-x", *self._port]
        return [*words, *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]

    @property
    def _shares_already(self) -> bool:
        """Whether the user's own configuration shares connections to the host: then theirs is used."""
        said = self._configured
        return said.get("controlpath", "none") != "none" and said.get("controlmaster") in ("auto", "true", "yes")

    @cached_property
    def _configured(self) -> dict[str, str]:
        """What ssh's configuration says of the host; nothing where it does not answer."""
        argv = [*self._command, "-G", *self._port, "--", self.host.destination]
        try:
            said = call(argv, timeout=_PATIENCE).text
        except TimedOut:
            return {}
        return dict(line.partition(" ")[::2] for line in said.splitlines())


def _command() -> list[str]:
    """Return the user's ssh; $MLRUN_SSH may name another program, or options: `ssh -F my_config`."""
    try:
        return shlex.split(os.environ.get("MLRUN_SSH", "")) or ["ssh"]
    except ValueError as error:
        message = f"MLRUN_SSH is no command: {error}".lower().replace("mlrun_ssh", "MLRUN_SSH")
        raise UsageError(message, hint='write it as a shell would read it: MLRUN_SSH="ssh -F my_config"') from None


def _socket(*words: str) -> Path | None:
    """Return where the shared connection's socket lies; None where no private directory can be had for it."""
    directory = _runtime()
    if directory is None:
        return None
    path = directory / hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return path if len(os.fsencode(path)) < _LONGEST_SOCKET else None


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _runtime() -> Path | None:
    """Return a directory that is this user's alone, with a short path."""
    for base in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):  # noqa: S108 - checked below to be ours
        if not base:
            continue
        path = Path(base) / (f"mlrun-{os.getuid()}" if base == "/tmp" else "mlrun")  # noqa: S108
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            status = path.lstat()
        except OSError:
            continue
        if status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077:
            return path
    return None
