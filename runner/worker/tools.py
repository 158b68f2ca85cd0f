"""Other people's programs (git, uv, virtualenv, ps), called by argv and never through a shell."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Callable, Optional

from runner.worker.values import dataclass

TimedOut = subprocess.TimeoutExpired
_launched: list["subprocess.Popen[bytes]"] = []  # not yet reaped

Argv = Sequence["str | bytes | os.PathLike[str]"]


@dataclass(frozen=True)
class Finished:
    """How a program ended, and what it printed, as bytes."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Its standard output as text; file names in any bytes survive."""
        return os.fsdecode(self.stdout)

    @property
    def complaint(self) -> str:
        """Its standard error as text, without the white space around."""
        return self.stderr.decode("utf-8", "replace").strip()


def call(
    argv: Argv,
    *,
    cwd: Optional[os.PathLike[str]] = None,
    env: Optional[Mapping[str, str]] = None,
    stdin: bytes = b"",
    timeout: Optional[float] = None,
) -> Finished:
    """Run a program to its end. FileNotFoundError where there is none; subprocess.TimeoutExpired past ``timeout`` s."""
    done = subprocess.run(argv, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=timeout, check=False)
    return Finished(tuple(os.fsdecode(word) for word in argv), done.returncode, done.stdout, done.stderr)


class Waiting:
    """A program that is started before its end is waited for, or before it is known what for.

    FileNotFoundError where there is no such program. What it prints meanwhile has to fit into a pipe.
    """

    def __init__(
        self,
        argv: Argv,
        *,
        cwd: Optional[os.PathLike[str]] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[IO[bytes]] = None,
        keep: Sequence[int] = (),
    ) -> None:
        """Start it; without a file as ``stdin`` it waits for what ``finish`` gives it. ``keep``: descriptors it has."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=stdin or pipe, stdout=pipe, stderr=pipe, pass_fds=keep
        )
        self._argv = tuple(os.fsdecode(word) for word in argv)

    def finish(self, stdin: Optional[bytes] = None) -> Finished:
        """Give it its input and wait for its end."""
        stdout, stderr = self._process.communicate(stdin)
        return Finished(self._argv, self._process.returncode, stdout, stderr)

    def dismiss(self) -> None:
        """End it where it was not needed; nothing where it has finished."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def stream(
    argv: Argv,
    say: Callable[[str], None],
    *,
    cwd: Optional[os.PathLike[str]] = None,
    env: Optional[Mapping[str, str]] = None,
    new_session: bool = False,
    stdin: Optional[bytes] = None,
) -> Finished:
    """Run a program and hand each line of its output to ``say`` as it comes; both streams count as one.

    What ``stdin`` gives it has to be read before it answers; its input closes with its output, or when we are gone.
    In a session of its own a program has no terminal: it cannot wait for a password there.
    """
    lines: list[str] = []
    with subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=new_session,
    ) as process:
        assert process.stdout is not None
        try:
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # it ended without reading: its output says why
                    process.stdin.write((stdin or b"").decode())
                    process.stdin.flush()
            for line in process.stdout:  # as text, so that a lone carriage return ends a line as well
                lines.append(line)
                say(line.rstrip())
        except BaseException:  # as `call` does: who stops listening ends the program, and does not wait for its will
            process.kill()
            raise
    return Finished(tuple(os.fsdecode(word) for word in argv), process.returncode, b"", "".join(lines).encode())


def launch(
    argv: Argv,
    *,
    env: Mapping[str, str],
    log: os.PathLike[str],
    foreground: bool,
    keep: Sequence[int] = (),
    umask: int = -1,
) -> int:
    """Start a program in a session of its own, which outlives this process; return its pid. OSError where it cannot.

    Both its streams go to ``log``; its standard input is this process's in the foreground, else /dev/null. ``umask``:
    -1 is this process's.
    """
    reap()
    stdin = None if foreground else subprocess.DEVNULL
    with open(log, "ab") as stream:
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=stdin,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            pass_fds=keep,
            umask=umask,
        )
    _launched.append(process)
    return process.pid


def converse(
    argv: Argv, complaints: IO[bytes], *, env: Optional[Mapping[str, str]] = None, new_session: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a program to speak with over its standard streams; its standard error goes to a file.

    In a session of its own it has no terminal: neither a password nor Ctrl-C reaches it.
    """
    return subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        bufsize=0,
        start_new_session=new_session,
    )


def reap() -> None:
    """Take note of launched programs that have ended, so that they leave no zombies."""
    _launched[:] = [process for process in _launched if process.poll() is None]
