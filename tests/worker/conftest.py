"""A bench for runs, which sees to it that no test leaves a process."""

import os
import signal
from pathlib import Path

import pytest

from tests.worker.runs import Bench


@pytest.fixture
def bench(tmp_path):
    """A store, a cache and a small project."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("print('trained')\n")
    bench = Bench(tmp_path, project)
    yield bench
    for process in bench.workers:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert leftovers(tmp_path) == []


def leftovers(tmp_path):
    """Processes whose environment names the test's directory; they are ended, and reported."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        name = process.name
        try:
            environ = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"MLRUN_RUN_DIR={tmp_path}".encode() in environ and int(name) != os.getpid():
            os.kill(int(name), signal.SIGKILL)
            found.append(command)
    return found
