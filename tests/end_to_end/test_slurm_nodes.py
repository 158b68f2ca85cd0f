"""The real command with a Slurm of two nodes that hold jobs in control groups, as clusters do."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until
from tests.end_to_end.test_slurm import SLURM, command
from tests.end_to_end.test_slurm_faults import detached, ended, pids
from tests.needs import need
from tests.slurm import GROUPS, ConfinedCluster, make_base, need_slurm, used

EAT = f"{sys.executable} -c 'food = bytearray()\nwhile True: food.extend(bytes(1 << 20))'"
LITTLE = "    resources: {memory: 100M}\n"


@pytest.fixture(scope="module")
def _confined() -> Iterator[ConfinedCluster]:
    need_slurm()
    there = (GROUPS / "memory" / "memory.limit_in_bytes").exists() and (GROUPS / "freezer").is_dir()
    need("control-groups", there, "there are no control groups of the first version here")
    with used(ConfinedCluster(make_base())) as made:
        yield made


@pytest.fixture
def confined(_confined: ConfinedCluster, monkeypatch: pytest.MonkeyPatch) -> ConfinedCluster:
    monkeypatch.setenv("SLURM_CONF", str(_confined.conf))
    return _confined


def state(cluster: ConfinedCluster, job: str) -> str:
    return until(lambda: cluster.call("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").replace("COMPLETING", ""))


def test_the_kernel_denies_memory(mlrun: Mlrun, project: Project, confined: ConfinedCluster):
    said = mlrun("run", command(project, EAT, LITTLE), *SLURM)
    assert said.code == 137
    assert "no memory was left" in said.err
    record = mlrun.show()
    assert (record["run"]["status"], record["result"]["reason"]) == ("failed", "out-of-memory")
    assert state(confined, record["execution"]["job_id"]) == "OUT_OF_MEMORY"


def test_what_the_kernel_took_of_a_run_that_succeeded_is_told(
    mlrun: Mlrun, project: Project, confined: ConfinedCluster
):
    said = mlrun("run", command(project, f"{EAT} || echo on", LITTLE), *SLURM).ok()
    assert said.out == "on\n"
    record = mlrun.show()
    assert (record["run"]["status"], record["result"]["reason"]) == ("succeeded", None)
    told = "the kernel killed 1 process of its control group for want of memory while it ran"
    assert any(gap["field"] == "result" and told in gap["reason"] for gap in record["gaps"])
    assert told in mlrun("show", "latest").ok().out
    assert state(confined, record["execution"]["job_id"]) == "OUT_OF_MEMORY"
    mlrun("run", command(project, "echo enough", LITTLE), *SLURM).ok()
    assert not any(gap["field"] == "result" for gap in mlrun.show()["gaps"])


def test_the_kernel_takes_the_worker(mlrun: Mlrun, project: Project, confined: ConfinedCluster):
    """Then nobody but Slurm knows how the run ended."""
    path = command(project, f"echo ready; echo 1000 > /proc/$PPID/oom_score_adj; {EAT}", LITTLE)
    said = mlrun("run", path, *SLURM)
    assert said.code == 125
    assert said.out == "ready\n"
    record = mlrun.show()
    job, node = (record["execution"][name] for name in ("job_id", "node"))
    assert (record["run"]["status"], record["result"]["reason"]) == ("failed", "out-of-memory")
    assert record["result"]["error"]["message"] == f"job {job} ran out of memory on {node}"
    assert state(confined, job) == "OUT_OF_MEMORY"


def test_what_has_left_the_workers_tree_is_ended_with_it(mlrun: Mlrun, project: Project, confined: ConfinedCluster):
    directory = detached(mlrun, command(project, "setsid sleep 300 & echo $!; wait"))
    stray = int(until((directory / "stdout.log").read_text))
    os.kill(pids(directory, "worker"), signal.SIGKILL)
    assert ended(mlrun, directory)[0] == "lost"
    until(lambda: not Path(f"/proc/{stray}").exists())


def test_a_command_uses_several_nodes(mlrun: Mlrun, project: Project, confined: ConfinedCluster):
    path = command(project, "srun sh -c 'echo $SLURMD_NODENAME' | sort")
    said = mlrun("run", path, *SLURM, "-c", '{"nodes": 2, "ntasks": 2}').ok()
    assert said.out.split() == list(confined.nodes)
    assert mlrun.show()["execution"]["node"] == confined.nodes[0]
