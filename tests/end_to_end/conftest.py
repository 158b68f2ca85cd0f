"""Drives the real command, as a user does: real git, uv, virtualenv, processes and signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 120  # seconds for one call
MLRUN = [sys.executable, "-m", "runner"]


@dataclass(frozen=True)
class Said:
    """What a call of `mlrun` printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> "Said":
        assert self.code == 0, self.err
        return self


class Mlrun:
    """The command, called in a directory, and by another program where one is named."""

    def __init__(self, cwd: Path, *by: str) -> None:
        self.cwd, self.by = cwd, by

    def __call__(self, *argv: str | Path, cwd: Path | None = None, stdin: str = "", **env: str) -> Said:
        done = subprocess.run(
            [*self.by, *MLRUN, *map(os.fspath, argv)],
            cwd=cwd or self.cwd,
            env={**os.environ, **env},
            input=stdin.encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        out, err = (data.decode("utf-8", "surrogateescape") for data in (done.stdout, done.stderr))
        assert "Traceback (most recent call last)" not in err or "mlrun" not in err, err
        return Said(done.returncode, out, err)

    def popen(self, *argv: str | Path, cwd: Path | None = None, **env: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*self.by, *MLRUN, *map(os.fspath, argv)],
            cwd=cwd or self.cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def show(self, run: str = "latest") -> Any:
        return self("show", run, "--json").ok().json

    def directory(self, run: str = "latest") -> Path:
        return Path(os.environ["MLRUN_HOME"]) / "runs" / self.show(run)["run"]["id"]


@dataclass(frozen=True)
class Project:
    """A project directory that tests write into."""

    path: Path

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def git(self, *argv: str) -> str:
        return subprocess.run(
            ["git", *argv], cwd=self.path, check=True, capture_output=True, text=True, timeout=60
        ).stdout.strip()

    def commit(self, message: str = "first") -> str:
        if not (self.path / ".git").exists():
            self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message, "--allow-empty")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def mlrun(tmp_path: Path) -> Mlrun:
    return Mlrun(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose `main` is a shell command that needs no environment."""
    made = Project(tmp_path / "project")
    made.write(
        "MLproject",
        "name: demo\nentry_points:\n  main:\n    parameters: {word: {default: hello}}\n    command: echo {word}\n",
    )
    return made


@pytest.fixture(autouse=True)
def no_process_stays() -> Iterator[None]:
    """End, and report, whatever a test's runs left behind; a worker may take a moment to go after its outcome."""
    yield
    mark = b"MLRUN_HOME=" + os.fsencode(os.environ["MLRUN_HOME"])
    end = time.monotonic() + 5
    while (left := _living(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    for pid, _ in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def _living(mark: bytes) -> list[tuple[int, bytes]]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in environ.split(b"\0") and int(entry.name) != os.getpid():
            found.append((int(entry.name), command.replace(b"\0", b" ")))
    return found


def until(true: Any, seconds: float = 20) -> Any:
    """Wait until a condition holds and return what it gave; an assertion error where it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.02)
    return pytest.fail(f"it never came true in {seconds} s")
