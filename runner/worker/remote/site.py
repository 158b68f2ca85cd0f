"""The far end's own places and tools: its home, its cache, the worker's code, and a worker that stands ready."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, Optional

from runner.worker.execution.kin import WORKER
from runner.worker.objects import Objects
from runner.worker.rundir import RunDirectory
from runner.worker.tools import launch

FLAGS = ("-X", "utf8", "-S", "-E")
_CONNECTION = frozenset(("SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "SSH2_CLIENT"))
_REFUSAL = """\
#!/bin/sh
echo "mlrun: a run on this machine cannot start further runs; start them from your own machine" >&2
exit 125
"""


class Site:
    """Where things lie on this machine, and how workers are started on it."""

    def __init__(self, home: str, cache: str, code: str, umask: int = -1) -> None:
        """Name the directories: of runs and objects, of the cache, of the worker's code.

        ``umask``: the user's own, which a command has; -1 where it is this process's. What is made here is private.
        """
        self.home, self.cache, self.code = Path(home), Path(cache), Path(code)
        self._umask = umask
        self.objects = Objects(self.home / "objects")
        self._ready: Optional[tuple[int, int]] = None  # pid, descriptor that its run's directory goes to

    def run(self, identity: str) -> RunDirectory:
        """Return the directory of a run, whether it is there or not."""
        return RunDirectory(self.home / "runs" / os.path.basename(identity))

    def warm(self) -> None:
        """Start a worker that imports what it needs, and waits for its run."""
        reading, writing = os.pipe()
        try:
            with contextlib.suppress(OSError):
                pid = launch(
                    self._argv("wait", str(reading)),
                    env=_environ("next"),
                    log=Path(os.devnull),
                    foreground=False,
                    keep=(reading,),
                    umask=self._umask,
                )
                self._ready = (pid, writing)
        finally:
            os.close(reading)
            if self._ready is None:
                os.close(writing)

    def start(self, run: RunDirectory) -> int:
        """Start a run's worker in a session of its own; return its pid. OSError where it cannot be."""
        ready, self._ready = self._ready, None
        if ready is not None:
            pid, descriptor = ready
            name = os.fsencode(run.path) + b"\n"
            try:
                if name.count(b"\n") == 1 and os.write(descriptor, name) == len(name):
                    return pid
            except OSError:
                pass
            finally:
                os.close(descriptor)
        argv, environ = self._argv("start", str(run.path)), _environ(run.id)
        return launch(argv, env=environ, log=run.worker_log, foreground=False, umask=self._umask)

    def refusal(self) -> str:
        """Return a directory with a `mlrun` that says in one line that it cannot run here."""
        directory = self.code / "bin"
        tool = directory / "mlrun"
        if not tool.exists():
            directory.mkdir(exist_ok=True)
            aside = tool.with_name(f".mlrun.{os.getpid()}")
            aside.write_text(_REFUSAL)
            aside.chmod(0o755)
            aside.replace(tool)
        return str(directory)

    def tool(self, sha256: str, name: str) -> Path:
        """Return where a program lies that is named by its digest."""
        return self.cache / "tools" / sha256 / name

    def _argv(self, *words: str) -> "list[str]":
        return [sys.executable, *FLAGS, str(self.code / "runner" / "worker" / "__main__.py"), *words]


def _environ(run: str) -> "dict[str, str]":
    """A worker's variables: not those of this connection, which bash takes for a reason to read its start-up files."""
    environ = {name: value for name, value in os.environ.items() if name not in _CONNECTION}
    return {**environ, WORKER: run}


def place(text: Any, default: str) -> str:
    """Return an absolute directory from what the near end says of it, ~ being this user's home."""
    return os.path.abspath(os.path.expanduser(str(text or default)))
