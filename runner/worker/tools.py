"""Other people's programs (git, uv, virtualenv, ps), called by argv and never through a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

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


def stream(
    argv: Argv,
    say: Callable[[str], None],
    *,
    cwd: Optional[os.PathLike[str]] = None,
    env: Optional[Mapping[str, str]] = None,
) -> Finished:
    """Run a program and hand each line of its output to ``say`` as it comes; both streams count as one."""
    lines: list[bytes] = []
    with subprocess.Popen(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            say(line.decode("utf-8", "replace").rstrip())
    return Finished(tuple(os.fsdecode(word) for word in argv), process.returncode, b"", b"".join(lines))
