"""virtualenv, started before it is known where its environment is to lie."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runner.worker.environment.interpreters.identity import Interpreters
from runner.worker.environment.site import Site
from runner.worker.environment.virtualenv.process import Virtualenv

from .conftest import Host


@pytest.fixture
def virtualenv(host: Host) -> Iterator[Virtualenv]:
    site = Site(host.spec(), host.placement, host.objects, host.project, host.said.append, host.root / "scratch", {})
    interpreter = Interpreters(host.cache, {}).identify(Path(sys.executable))
    assert interpreter is not None
    with closing(Virtualenv(site, interpreter)) as virtualenv:
        yield virtualenv


def processes(scratch: Path) -> list[str]:
    found = subprocess.run(["ps", "-wweo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if str(scratch) in line and not line.startswith("Z")]


def test_one_that_is_ready_makes_it_where_it_is_told(virtualenv: Virtualenv, host: Host) -> None:
    virtualenv.get_ready()
    prefix = host.root / "a b é"
    made = virtualenv.make(prefix)
    assert made.done.code == 0, made.done.complaint
    assert (prefix / "pyvenv.cfg").exists()
    assert Path(made.seeds[0]).name.startswith("pip-")
    assert not (host.root / "scratch" / "virtualenv").exists()


def test_one_that_is_not_needed_is_ended(virtualenv: Virtualenv, host: Host) -> None:
    virtualenv.get_ready()
    assert processes(host.root / "scratch")
    virtualenv.close()
    assert not processes(host.root / "scratch")


def test_one_whose_caller_is_killed_ends_and_makes_nothing(virtualenv: Virtualenv, host: Host) -> None:
    pid = os.fork()
    if pid == 0:
        virtualenv.get_ready()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + 20
    while processes(host.root / "scratch") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes(host.root / "scratch")
    assert list(host.root.rglob("pyvenv.cfg")) == []
