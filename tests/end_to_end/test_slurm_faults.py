"""What a cluster can do to a run, done to it: daemons, nodes, workers and jobs that die at any moment."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until
from tests.end_to_end.test_slurm import SLURM, command
from tests.slurm import Cluster, _shared_cluster, cluster, own_cluster

__all__ = ["_shared_cluster", "cluster", "own_cluster"]

PATIENCE = 120.0


def detached(mlrun: Mlrun, path: Path, *more: str, until_there: str = "start.json", **env: str) -> Path:
    """Launch a run, and return its directory when a file of it is there."""
    identity = mlrun("run", path, *SLURM, *more, "--detach", **env).ok().out.strip()
    directory = Path(os.environ["MLRUN_HOME"]) / "runs" / identity
    until((directory / until_there).exists, PATIENCE)
    return directory


def pids(directory: Path, who: str) -> int:
    return int(json.loads((directory / "start.json").read_text())[who]["pid"])


def end(pid: int) -> None:
    """End what a dead worker left: a real node's Slurm does that by control groups, which this one lacks."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def status(mlrun: Mlrun, directory: Path) -> str:
    return str(mlrun.show(directory.name)["run"]["status"])


def ended(mlrun: Mlrun, directory: Path) -> tuple[str, str, str]:
    """Wait until a run has ended; its status, reason and error."""
    mlrun("wait", directory.name)
    record = mlrun.show(directory.name)
    return (
        record["run"]["status"],
        record["result"]["reason"] or "",
        (record["result"]["error"] or {}).get("message", ""),
    )


def test_a_job_cancelled_by_hand_ends_killed_with_its_logs(mlrun: Mlrun, project: Project, cluster: Cluster):
    directory = detached(mlrun, command(project, "echo ready; exec sleep 300"))
    until((directory / "stdout.log").read_bytes, PATIENCE)
    job = mlrun.show(directory.name)["execution"]["job_id"]
    cluster.call("scancel", job)
    assert ended(mlrun, directory) == ("killed", "", f"job {job} was cancelled by hand")
    assert mlrun.show(directory.name)["logs"]["stdout"]["size"] == 6


def test_a_pending_job_cancelled_by_hand(mlrun: Mlrun, project: Project, cluster: Cluster):
    config = '{"begin": "now+1hour"}'
    directory = detached(mlrun, command(project, "true"), "-c", config, until_there="launch.json")
    job = mlrun.show(directory.name)["execution"]["job_id"]
    cluster.call("scancel", job)
    assert ended(mlrun, directory) == ("killed", "", f"job {job} was cancelled by hand")
    assert not (directory / "work").exists()


def test_a_job_that_others_went_before(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    low, high = (f"PartitionName={name} Nodes=ALL PriorityTier={tier}" for name, tier in (("low", 1), ("high", 2)))
    own_cluster.stop("slurmctld")
    with (own_cluster.base / "slurm.conf").open("a") as conf:
        conf.write(f"PreemptType=preempt/partition_prio\nPreemptMode=CANCEL\n{low}\n{high}\n")
    own_cluster.run_daemon("slurmctld")
    own_cluster.until_idle()
    directory = detached(mlrun, command(project, "echo ready; exec sleep 300"), "-c", '{"partition": "low"}')
    job = mlrun.show(directory.name)["execution"]["job_id"]
    config = '{"partition": "high", "exclusive": true}'
    mlrun("run", command(project, "true"), *SLURM, "-c", config).ok()
    assert ended(mlrun, directory) == ("killed", "", f"job {job} was preempted by Slurm")


def test_a_cluster_named_by_a_variable_of_sbatch_is_the_one_that_is_asked(
    mlrun: Mlrun, project: Project, cluster: Cluster
):
    said = mlrun("run", command(project, "true"), *SLURM, SBATCH_CLUSTERS="elsewhere")
    assert "'elsewhere' can't be reached now" in said.err  # there is no database that knows of clusters
    assert json.loads((mlrun.directory() / "launching.json").read_text())["route"] == "elsewhere"


def test_slurms_own_time_limit_leaves_an_orderly_end(mlrun: Mlrun, project: Project, cluster: Cluster):
    path = command(project, "echo early > out.txt; echo ready; exec sleep 300", "    outputs: [out.txt]\n")
    said = mlrun("run", path, *SLURM, "-c", '{"time": 1}')
    assert said.code == 124
    record = mlrun.show()
    assert record["result"]["reason"] == "timeout"
    assert record["logs"]["stdout"]["size"] == 6
    assert [output["stored"] for output in record["outputs"]] == [True]


def test_a_limit_that_comes_without_a_warning(mlrun: Mlrun, project: Project, cluster: Cluster):
    directory = detached(mlrun, command(project, "echo ready; exec sleep 300"))
    until((directory / "stdout.log").read_bytes, PATIENCE)  # from then on it is the command that is ended
    with (directory / "slurm.log").open("a") as log:  # as slurmd writes it, which here takes a minute at least
        log.write("slurmstepd-x: error: *** JOB 1 ON x CANCELLED AT 2026-11-24T07:02:51 DUE TO TIME LIMIT ***\n")
    os.kill(pids(directory, "worker"), signal.SIGTERM)
    assert ended(mlrun, directory)[:2] == ("failed", "timeout")
    assert mlrun.show(directory.name)["logs"]["stdout"]["size"] == 6


def test_more_memory_than_was_asked_for(mlrun: Mlrun, project: Project, cluster: Cluster):
    take = f"{sys.executable} -c 'x = bytearray(400 << 20); import time; time.sleep(60)'"
    path = command(project, take, "    resources: {memory: 100M}\n")
    said = mlrun("run", path, *SLURM)
    assert said.code == 125
    assert "ran out of memory" in said.err
    record = mlrun.show()
    assert (record["run"]["status"], record["result"]["reason"]) == ("failed", "out-of-memory")


def test_a_worker_killed_on_the_node(mlrun: Mlrun, project: Project, cluster: Cluster):
    directory = detached(mlrun, command(project, "exec sleep 300"))
    os.kill(pids(directory, "worker"), signal.SIGKILL)
    try:
        state, _, message = ended(mlrun, directory)
        assert state == "lost"
        assert "ended by signal 9" in message
    finally:
        end(pids(directory, "child"))


LATE = "Batch job submission failed: Socket timed out on send/recv operation"
WRAPPERS = {
    "killed before sbatch": "kill -9 $PPID; exit 1",
    "killed after sbatch": '{sbatch} "$@" >/dev/null; kill -9 $PPID; exit 1',
    "the answer is lost": f"""{{sbatch}} "$@" >/dev/null; echo "sbatch: error: {LATE}" >&2; exit 1""",
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Slurm's commands, of which one may be replaced."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("squeue", "scontrol", "scancel", "sbatch"):
        (directory / name).symlink_to(str(shutil.which(name)))
    return directory


def replaced(programs: Path, text: str) -> str:
    sbatch = programs / "sbatch"
    sbatch.unlink()
    sbatch.write_text("#!/bin/sh\n" + text.replace("{sbatch}", str(shutil.which("sbatch"))) + "\n")
    sbatch.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("how", "state"),
    [("killed before sbatch", "lost"), ("killed after sbatch", "succeeded"), ("the answer is lost", "succeeded")],
)
def test_the_login_nodes_worker_dies_at_the_launch(
    mlrun: Mlrun, project: Project, cluster: Cluster, programs: Path, how: str, state: str
):
    path = command(project, "echo once >> $MLRUN_RUN_DIR/begun")
    directory = detached(mlrun, path, until_there="launching.json", PATH=replaced(programs, WRAPPERS[how]))
    assert ended(mlrun, directory)[0] == state
    assert (directory / "begun").exists() == (state == "succeeded")
    names = cluster.call("squeue", "-h", "-t", "all", "-o", "%j").split()
    assert names.count(directory.name) == (state == "succeeded")


def test_the_login_nodes_worker_dies_while_the_job_waits(
    mlrun: Mlrun, project: Project, cluster: Cluster, programs: Path
):
    path = command(project, "true")
    env = {"PATH": replaced(programs, WRAPPERS["killed after sbatch"])}
    directory = detached(mlrun, path, "-c", '{"begin": "now+1hour"}', until_there="launching.json", **env)
    until(lambda: status(mlrun, directory) == "submitted", PATIENCE)
    assert (directory / "launch.json").exists()
    mlrun("cancel", directory.name).ok()
    assert status(mlrun, directory) == "killed"


@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupted_while_sbatch_is_at_work(
    mlrun: Mlrun, project: Project, cluster: Cluster, programs: Path, tmp_path: Path, when: str
):
    wait = f"touch {tmp_path}/there; until [ -e {tmp_path}/go ]; do sleep 0.1; done"
    text = f'{wait}; exec {{sbatch}} "$@"' if when == "before" else f'{{sbatch}} "$@"; {wait}'
    path = command(project, "trap 'echo told; exit 3' INT; echo ready; sleep 300 & wait")
    process = mlrun.popen("run", path, *SLURM, PATH=replaced(programs, text))
    assert process.stdout is not None
    until((tmp_path / "there").exists, PATIENCE)
    if when == "after":  # the job begins before its submission has come to its end
        assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    until(lambda: list(Path(os.environ["MLRUN_HOME"]).glob("runs/*/cancel.json")), PATIENCE)
    (tmp_path / "go").touch()
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out in ((b"told\n",) if when == "after" else (b"", b"ready\ntold\n"))
    assert mlrun.show()["run"]["status"] == "killed"


def test_the_controller_goes_and_comes_back_while_a_run_is_followed(
    mlrun: Mlrun, project: Project, own_cluster: Cluster
):
    path = command(project, "echo ready; until [ -e $MLRUN_RUN_DIR/go ]; do sleep 0.1; done; echo done")
    directory = detached(mlrun, path)
    following = mlrun.popen("logs", "-f", directory.name)
    assert following.stdout is not None
    assert following.stdout.readline() == b"ready\n"
    own_cluster.stop("slurmctld")
    [row] = mlrun("list", "--json").ok().json["runs"]
    assert row["status"] == "unreachable"
    said = mlrun("cancel", directory.name)
    assert said.code == 125
    assert "Slurm does not answer" in said.err
    assert len(said.err.strip().splitlines()) == 3
    own_cluster.run_daemon("slurmctld")
    until(lambda: status(mlrun, directory) == "running", PATIENCE)
    (directory / "go").touch()
    out, err = following.communicate(timeout=PATIENCE)
    assert out == b"done\n"
    assert b"does not answer" in err


def test_a_controller_that_is_down_takes_no_run(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    own_cluster.stop("slurmctld")
    said = mlrun("run", command(project, "true"), *SLURM)
    assert said.code == 125
    assert "Unable to contact slurm controller" in said.err
    assert "hint: `scontrol ping`" in said.err
    assert mlrun.show()["result"]["reason"] == "submit"


def test_a_pending_run_cancelled_while_the_controller_is_down_never_begins(
    mlrun: Mlrun, project: Project, own_cluster: Cluster
):
    path = command(project, "echo begun")
    directory = detached(mlrun, path, "-c", '{"hold": true}', until_there="launch.json")
    job = mlrun.show(directory.name)["execution"]["job_id"]
    own_cluster.stop("slurmctld")
    assert mlrun("cancel", directory.name).code == 125
    own_cluster.run_daemon("slurmctld")
    until(lambda: own_cluster.call("scontrol", "release", job, check=False) is not None, PATIENCE)
    assert ended(mlrun, directory)[0] == "killed"
    assert not (directory / "start.json").exists()


def test_a_node_that_is_gone(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    directory = detached(mlrun, command(project, "exec sleep 300"))
    own_cluster.stop("slurmd")
    own_cluster.call("scontrol", "update", f"NodeName={os.uname().nodename}", "State=DOWN", "Reason=test")
    try:
        state, reason, message = ended(mlrun, directory)
        assert (state, reason) == ("failed", "node-fail")
        assert "lost its node" in message
    finally:
        end(pids(directory, "child"))
        os.kill(pids(directory, "worker"), signal.SIGKILL)


def test_a_job_that_slurm_has_forgotten(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    directory = detached(mlrun, command(project, "exec sleep 300"))
    job = mlrun.show(directory.name)["execution"]["job_id"]
    worker, child = pids(directory, "worker"), pids(directory, "child")
    own_cluster.stop("slurmctld")
    os.kill(worker, signal.SIGKILL)
    end(child)
    own_cluster.run_daemon("slurmctld", "-c")
    until(lambda: own_cluster.call("scontrol", "ping", check=False).endswith("UP"), PATIENCE)
    state, _, message = ended(mlrun, directory)
    assert state == "lost"
    assert message == f"Slurm knows nothing of job {job} any more, and it had begun"


def test_a_node_that_does_not_see_the_run_directory(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    Path(os.environ["MLRUN_HOME"]).mkdir(parents=True)
    own_cluster.blind(Path(os.environ["MLRUN_HOME"]))
    said = mlrun("run", command(project, "true"), *SLURM)
    assert said.code == 125
    assert "the node could not write into the run directory" in said.err
    assert "share" in said.err
    record = mlrun.show()
    assert (record["run"]["status"], record["result"]["reason"]) == ("failed", "submit")


def test_a_node_without_the_python_of_the_worker(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    own_cluster.blind(Path(sys.prefix))
    said = mlrun("run", command(project, "true"), *SLURM)
    assert said.code == 125
    assert "not found" in said.err
    assert "has to be there on the nodes too" in said.err


def test_a_node_without_the_environment(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    cache = Path(os.environ["MLRUN_CACHE"])
    cache.mkdir(parents=True)
    own_cluster.blind(cache)
    project.write("python_env.yaml", "python: '3'\n")
    said = mlrun("run", command(project, "true"), "-b", "slurm")
    assert said.code == 125
    assert f"the node {os.uname().nodename} does not see the environment" in said.err


def test_a_run_of_another_cluster_is_not_taken_for_lost(mlrun: Mlrun, project: Project, own_cluster: Cluster):
    directory = detached(mlrun, command(project, "true"), "-c", '{"hold": true}', until_there="launch.json")
    for name in ("launching.json", "launch.json"):
        path = directory / name
        text = path.read_text().replace('"lab"', '"other"').replace('"job": "', '"job": "999')
        path.unlink()
        path.write_text(text)
    record = mlrun.show(directory.name)
    assert record["run"]["status"] == "unreachable"
    [row] = mlrun("list", "--json").ok().json["runs"]
    assert row["status"] == "unreachable"
