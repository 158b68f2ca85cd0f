import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.worker.execution.execute import killed_by_kernel
from runner.worker.execution.memory import Kills, count_kills
from runner.worker.execution.supervise import Ended
from runner.worker.results import Outcome, Usage
from tests.worker.runs import FLAGS, WORKER


@pytest.fixture
def cage():
    """A memory control group of 96 MB, of either version."""
    name = f"mlrun-test-{os.getpid()}"
    first, second = Path("/sys/fs/cgroup/memory", name), Path("/sys/fs/cgroup", name)
    cage, limit = (first, "memory.limit_in_bytes") if first.parent.exists() else (second, "memory.max")
    try:
        cage.mkdir()
        (cage / limit).write_text(str(96 << 20))
    except OSError as error:
        cage.rmdir() if cage.exists() else None
        pytest.skip(f"no control group can be made here: {error}")
    yield cage
    cage.rmdir()


def carry_out_in(cage, run):
    enter = f'echo $$ > {cage}/cgroup.procs; exec "$@"'
    argv = ["bash", "-c", enter, "bash", sys.executable, *FLAGS, str(WORKER), "start", str(run.path)]
    assert subprocess.run(argv, env={**os.environ, "MLRUN_WORKER": run.id}, check=False, timeout=60).returncode == 0
    return run.read(Outcome)


def test_the_kernel_says_that_it_ran_out_of_memory(bench, cage):
    outcome = carry_out_in(cage, bench.prepared("python3 -c 'x = bytearray(300 << 20)'"))
    assert (outcome.status, outcome.reason) == ("failed", "out-of-memory")
    assert "memory" in outcome.error.message


@pytest.mark.parametrize("kills", [0, 1, 2])
def test_what_the_kernel_killed_of_a_run_that_succeeded_is_a_gap(bench, cage, kills):
    eat = "python3 -c 'x = bytearray(300 << 20)'; " * kills
    outcome = carry_out_in(cage, bench.prepared(f"{eat}echo on"))
    assert (outcome.status, outcome.reason) == ("succeeded", None)
    told = [gap.reason for gap in outcome.gaps if gap.field == "result"]
    assert len(told) == bool(kills)
    assert all(f"the kernel killed {kills} process" in reason for reason in told)


def test_this_kernel_counts():
    if not Path("/proc/vmstat").exists():
        pytest.skip("there is no /proc")
    assert count_kills().machine is not None


def ended(code=None, number=None, cancelled=None):
    return Ended(code, number, cancelled, timed_out=False, usage=Usage(0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("how", "group", "machine", "verdict"),
    [
        (ended(number=9), 1, 1, True),
        (ended(code=1), 1, 1, True),  # a process of the command was killed, and the command complained
        (ended(number=9), 0, 1, True),
        (ended(code=137), 0, 1, True),
        (ended(code=1), 0, 1, False),  # somebody else's process
        (ended(code=0), 1, 1, False),
        (ended(number=9, cancelled=15), 1, 1, False),
        (ended(number=9), 0, 0, False),
        (ended(number=9), None, None, False),
    ],
)
def test_the_verdict(how, group, machine, verdict):
    assert killed_by_kernel(how, Kills(0, 0), Kills(group, machine)) is verdict
