"""One connection to a machine: the user's own `ssh`, shared among calls, and the worker's requests over it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shlex
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runner import errors
from runner.backends.host import Host
from runner.backends.ssh import bootstrap
from runner.backends.ssh.pipes import PatientReader, PatientWriter, widen
from runner.backends.ssh.refusals import Unreachable, refusal
from runner.errors import BackendError, MlrunError
from runner.worker.remote.frames import Channel, Cut, Frame
from runner.worker.tools import call, converse

if TYPE_CHECKING:
    from typing_extensions import Self

SILENCE = 20.0  # seconds without a sign of life after which a link counts as cut; $MLRUN_SSH_PATIENCE
CONNECTING = 20.0  # seconds a machine may take to take a connection
_STARTING = 60.0  # seconds it may take to log in and begin, where nobody is asked for a password
_GARBAGE = 1 << 20  # bytes that a login shell may print before the worker's mark
_LONGEST_SOCKET = 90  # bytes of a socket's path, of the 104 that all systems take, less what ssh appends
_PERSIST = "10m"


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
        self._asks = not quietly and _has_terminal()
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the connection
        self._mark = f"mlrun-{secrets.token_hex(8)}"
        self._socket = socket_of(host)
        self._worker, self._archive = bootstrap.worker(cache)
        try:
            options = _options(host, self._socket, self._asks, connect or min(CONNECTING, self.patience + 1))
            argv = [*_ssh(), *options, "--", host.address, bootstrap.COMMAND]
            self._process = converse(argv, self._complaints)
        except OSError as error:
            message = f"{_ssh()[0]} cannot be started: {error.strerror}"
            raise BackendError(message, hint="install OpenSSH's client, or correct MLRUN_SSH") from error
        widen(self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._reader = PatientReader(self._process.stdout, self.patience)
        self._writer = PatientWriter(self._process.stdin, self.patience)
        self.channel = Channel(self._reader, self._writer)
        self._is_up = False
        opening = bootstrap.opening(host, self._worker, self._mark, warm=warm, beat=self.patience / 4)
        with contextlib.suppress(OSError):  # the reason is found as soon as an answer is waited for
            self._process.stdin.write(opening)

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
        if self._is_up:
            return
        self._reader.patience = float("inf") if self._asks else self._starting
        try:
            self._find_mark()
        except Cut:
            raise self._failure() from None
        self._reader.patience = self.patience
        self._is_up = True

    def ask(self, kind: str, body: bytes = b"", **head: Any) -> Frame:
        """Send a request and return its answer; what the worker there refuses is raised here."""
        self.tell(kind, body, **head)
        return self.hear()

    def tell(self, kind: str, body: bytes = b"", **head: Any) -> None:
        """Send a request and wait for nothing; where the other end has refused it meanwhile, that is raised."""
        self.sending(lambda channel: channel.send(kind, body, **head))

    def sending(self, send: Callable[[Channel], None]) -> None:
        """As ``tell``, for what speaks to the channel itself."""
        try:
            send(self.channel)
        except Cut:
            self._raise_last_words()

    def hear(self) -> Frame:
        """Return the next answer; Unreachable where the link is cut."""
        self.ready()
        while True:
            try:
                frame = self.channel.receive()
                if frame.kind == "lack-worker":
                    self.channel.send("worker", self._archive.read_bytes())
                    continue
            except Cut:
                raise self._failure() from None
            if frame.kind == "beat":
                continue
            if frame.kind == "refused":
                raise _refused(frame, self.host)
            return frame

    def close(self) -> None:
        """End the connection; the shared one below it stays for a while."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        with contextlib.suppress(OSError):
            self._process.terminate()
        self._process.wait()
        self._complaints.close()

    def _raise_last_words(self) -> None:
        """Raise what the other end said before it stopped to listen, or that it is cut off."""
        if self._writer.is_silent:
            raise self._failure()
        while True:
            self.hear()

    def _find_mark(self) -> None:
        mark, seen = f"{self._mark}\n".encode(), 0
        while seen < _GARBAGE:
            line = self._reader.readline()
            if line.endswith(mark):
                return
            if not line.endswith(b"\n"):
                raise Cut
            seen += len(line)
        raise Cut

    def _failure(self) -> MlrunError:
        if self._reader.is_silent or self._writer.is_silent:
            self._process.kill()
            self._process.wait()
            retire(self.host, self._socket)
            return Unreachable(self.host, "the link is cut: nothing comes from it any more")
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        code = self._process.wait()
        self._complaints.seek(0)
        return refusal(self.host, code, self._complaints.read().decode("utf-8", "replace"), was_up=self._is_up)


def socket_of(host: Host) -> Path | None:
    """Return where the shared connection's socket lies; None where no private directory can be had for it."""
    words = "\0".join((*_ssh(), host.address, str(host.port)))
    directory = _runtime()
    if directory is None:
        return None
    path = directory / hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return path if len(os.fsencode(path)) < _LONGEST_SOCKET else None


def retire(host: Host, socket: Path | None) -> None:
    """Have no new connection use a shared one that is dead; those that use it are left to find out."""
    if socket is not None and socket.exists():
        call([*_ssh(), "-o", f"ControlPath={socket}", "-O", "stop", "--", host.address], timeout=10)
        with contextlib.suppress(OSError):
            socket.unlink()


def _ssh() -> list[str]:
    """Return the user's ssh; $MLRUN_SSH may name another program, or options: `ssh -F my_config`."""
    return shlex.split(os.environ.get("MLRUN_SSH", "")) or ["ssh"]


def _silence() -> float:
    try:
        return max(0.2, float(os.environ.get("MLRUN_SSH_PATIENCE", "")))
    except ValueError:
        return SILENCE


def _options(host: Host, socket: Path | None, asks: bool, connect: float) -> list[str]:
    options = {"RequestTTY": "no", "RemoteCommand": "none", "PermitLocalCommand": "no", "ClearAllForwardings": "yes"}
    if not asks:
        options["BatchMode"] = "yes"
    options["ConnectTimeout"] = str(max(1, int(connect)))
    if socket is None:
        options["ControlPath"] = "none"
    elif socket.exists() or not _shares_already(host):
        options |= {"ControlMaster": "auto", "ControlPath": str(socket), "ControlPersist": _PERSIST}
        options |= {"ServerAliveInterval": "10", "ServerAliveCountMax": "3"}
    words = ["-T", "-x", *(["-p", str(host.port)] if host.port else [])]
    return [*words, *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


def _shares_already(host: Host) -> bool:
    """Whether the user's own configuration shares connections to the host: then theirs is used."""
    done = call([*_ssh(), "-G", *(["-p", str(host.port)] if host.port else []), "--", host.address], timeout=20)
    said = dict(line.partition(" ")[::2] for line in done.text.splitlines())
    return said.get("controlpath", "none") != "none" and said.get("controlmaster", "false") in ("auto", "true", "yes")


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


def _refused(frame: Frame, host: Host) -> MlrunError:
    kind = getattr(errors, str(frame.head.get("error")), BackendError)
    kind = kind if isinstance(kind, type) and issubclass(kind, MlrunError) else BackendError
    error: MlrunError = kind(f"{host.name}: {frame.head['message']}", hint=frame.head.get("hint", ""))
    return error
