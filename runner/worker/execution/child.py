"""A command's process: forked, held at a gate until its start is recorded, then let go."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Optional

from runner.errors import MlrunError
from runner.worker.execution import signals
from runner.worker.execution.surroundings import Environ

_FAILED = 127


class Held:
    """A child that waits for ``release``; closing the gate without it, or this process's death, ends the child."""

    def __init__(self, pid: int, gate: int, complaint: int) -> None:
        """Keep the pid and both pipes."""
        self.pid = pid
        self._gate = gate
        self._complaint = complaint

    def release(self) -> None:
        """Let the child become the command; MlrunError where the command cannot be started."""
        os.write(self._gate, b"!")
        os.close(self._gate)
        with os.fdopen(self._complaint, "rb") as stream:
            complaint = stream.read()
        if complaint:
            place, _, number = complaint.decode("utf-8", "replace").rpartition(":")
            os.waitpid(self.pid, 0)
            message = f"the command cannot be started: {place}: {os.strerror(int(number))}"
            raise MlrunError(message, hint=_cure(int(number)))

    def drop(self) -> None:
        """End the child: it never was the command."""
        os.close(self._gate)
        os.close(self._complaint)
        os.waitpid(self.pid, 0)


def fork(
    argv: Sequence[str], cwd: Path, environ: Environ, outputs: tuple[Path, Path], keep: Optional[int] = None
) -> Held:
    """Fork a child that leads a session and a process group of its own and writes straight to its logs.

    ``outputs`` are those of stdout and stderr; the descriptor ``keep`` stays open in the command.
    """
    logs = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600) for path in outputs]
    gate, opener = os.pipe()
    complaint, complain = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        if keep is not None:
            os.set_inheritable(keep, True)
        _become([word.encode("utf-8", "surrogateescape") for word in argv], cwd, environ, (gate, complain, *logs))
    for descriptor in (gate, complain, *logs):
        os.close(descriptor)
    return Held(pid, opener, complaint)


def _become(argv: list[bytes], cwd: Path, environ: Environ, pipes: tuple[int, ...]) -> NoReturn:
    """Wait for the gate and turn into the command. Whatever happens, this process never returns to the worker."""
    gate, complain, stdout, stderr = pipes
    place = os.fsencode(cwd)
    try:
        signals.reset()
        os.setsid()
        if os.read(gate, 1) != b"!":
            os._exit(_FAILED)
        _give_stdin()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.chdir(cwd)
        place = argv[0]
        os.execvpe(argv[0], argv, environ)  # noqa: S606 - the project's own command, which is the one shell
    except OSError as error:
        os.write(complain, b"%s:%d" % (place, error.errno or errno.EINVAL))
    finally:
        os._exit(_FAILED)


def _give_stdin() -> None:
    try:
        os.fstat(0)
    except OSError:  # whoever started the worker had closed it: the first file opened would become the input
        os.open(os.devnull, os.O_RDONLY)


def _cure(number: int) -> str:
    if number == errno.E2BIG:
        return "the command and its variables are longer than the kernel takes; pass long values in a file"
    if number == errno.ENOENT:
        return "commands are run by bash: install it on this host, or correct PATH"
    return ""
