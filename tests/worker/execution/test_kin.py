import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from runner.worker.execution import kin
from tests.worker.runs import until


@pytest.fixture
def family():
    """A shell with two children, in a session of its own."""
    shell = subprocess.Popen(["bash", "-c", "sleep 100 & sleep 100 & wait"], start_new_session=True)
    until(lambda: len(kin.descendants(shell.pid)) == 2)
    yield shell
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()


def test_descendants_are_found_in_every_way(family):
    expected = sorted(kin.descendants(family.pid))
    assert sorted(kin._below(family.pid, kin._parents_by_proc())) == expected
    if shutil.which("ps"):
        assert sorted(kin._below(family.pid, kin._parents_by_ps())) == expected
        assert sorted(kin.of_group(family.pid)) == sorted([family.pid, *expected])
    assert family.pid in kin.descendants(os.getpid())


def test_children_of_other_threads_are_found():
    code = (
        "import subprocess, threading, time\n"
        "threading.Thread(target=lambda: subprocess.run(['sleep', '100'])).start()\n"
        "time.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        until(lambda: len(kin.descendants(parent.pid)) == 1)
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def test_processes_of_a_run_are_known_by_its_id():
    if sys.platform != "linux":
        pytest.skip("the environment of other processes is seen on Linux only")
    run = f"{os.getpid()}-{time.monotonic_ns()}"
    environ = {**os.environ, "MLRUN_RUN_ID": run}
    child = subprocess.Popen(["sleep", "100"], env=environ)
    nested = subprocess.Popen(["sleep", "100"], env={**environ, kin.WORKER: "other"})
    try:
        until(lambda: kin.members(run) == [child.pid])
    finally:
        for process in (child, nested):
            process.kill()
            process.wait()


def test_ending_takes_those_that_listen_by_term_and_the_others_by_kill():
    deaf = subprocess.Popen(
        ["bash", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"], stdout=subprocess.PIPE
    )
    good = subprocess.Popen(["sleep", "100"])
    deaf.stdout.readline()
    began = time.monotonic()
    kin.end([deaf.pid, good.pid, 2**22 + 1], 0.3)
    assert time.monotonic() - began < 2
    deaf.stdout.close()
    assert deaf.wait(5) == -signal.SIGKILL
    good.wait()
