"""The real command with a real Slurm of one node: what a cluster's user does, and sees."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

import runner
from tests.end_to_end.conftest import Mlrun, Project, until
from tests.slurm import Cluster, _shared_cluster, cluster, login_node, own_cluster

__all__ = ["_shared_cluster", "cluster", "login_node", "own_cluster"]

SHELL_ONLY = Path(__file__).parents[2] / "example_projects" / "shell_only"
SLURM = ("-b", "slurm", "--env-manager", "local")


def command(project: Project, text: str, more: str = "") -> Path:
    project.write("MLproject", f"name: demo\nentry_points:\n  main:\n    command: {text!r}\n{more}")
    return project.path


def test_an_example_runs_as_a_job(mlrun: Mlrun, cluster: Cluster):
    said = mlrun("run", SHELL_ONLY, "-P", "greeting=good day", *SLURM, "-c", '{"partition": "debug"}').ok()
    assert said.out == "good day, world\n"
    assert "submitted as job" in said.err
    record = mlrun.show()
    execution = record["execution"]
    assert (execution["launcher"], execution["cluster"], execution["partition"]) == ("slurm", "lab", "debug")
    assert execution["node"] == os.uname().nodename
    assert execution["job_id"].isdigit()
    assert execution["queued"] >= 0
    assert record["run"]["status"] == "succeeded"
    assert f"slurm {execution['job_id']}, cluster lab, partition debug" in mlrun("show", "latest").ok().out


def test_what_it_asks_for_is_asked_of_slurm(mlrun: Mlrun, project: Project, cluster: Cluster):
    asked = "    resources: {cpus: 3, memory: 300M, time: 90}\n"
    path = command(project, "scontrol show job -o $SLURM_JOB_ID", asked)
    job = mlrun("run", path, *SLURM, "-c", '{"comment": "two words", "nice": 5}').ok().out
    for word in ("CPUs/Task=3", "TimeLimit=00:05:00", "MinMemoryNode=300M", "Comment=two words", "Nice=5", "Requeue=0"):
        assert f" {word} " in job
    run = mlrun.directory()
    assert f" JobName={run.name} " in job
    assert f" StdOut={run}/slurm.log " in job
    assert not list(project.path.glob("slurm*"))


def test_a_job_waits_and_is_taken_out_of_the_queue(mlrun: Mlrun, project: Project, cluster: Cluster):
    path = command(project, "echo never")
    run = mlrun("run", path, *SLURM, "-c", '{"begin": "now+1hour"}', "--detach").ok().out.strip()
    until((mlrun.directory(run) / "launch.json").exists, 60)
    assert mlrun("list", "--json").ok().json["runs"][0]["status"] == "submitted"
    assert "is pending (BeginTime)" in mlrun("show", run).ok().out
    mlrun("cancel", run).ok()
    assert mlrun.show(run)["run"]["status"] == "killed"
    job = mlrun.show(run)["execution"]["job_id"]
    assert cluster.call("squeue", "-h", "-t", "all", "-j", job, "-o", "%T") == "CANCELLED"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupting_the_command_line_ends_the_job(
    mlrun: Mlrun, project: Project, cluster: Cluster, number: int, code: int
):
    path = command(project, "trap 'echo told; exit 3' INT TERM; echo ready; sleep 300 & wait")
    process = mlrun.popen("run", path, *SLURM)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b"told\n")
    assert mlrun.show()["run"]["status"] == "killed"


def test_a_job_outlives_its_command_line_and_is_found_again(mlrun: Mlrun, project: Project, cluster: Cluster):
    wait = f"until [ -e {mlrun.cwd}/go ]; do sleep 0.1; done"
    path = command(project, f"echo ready; {wait}; echo done > result.txt", "    outputs: [result.txt]\n")
    process = mlrun.popen("run", path, *SLURM)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate()
    assert mlrun("list", "--json").ok().json["runs"][0]["status"] == "running"
    (mlrun.cwd / "go").touch()
    assert mlrun("logs", "-f", "latest").ok().out == "ready\n"
    mlrun("wait", "latest").ok()
    assert [output["path"] for output in mlrun.show()["outputs"]] == ["result.txt"]
    assert not (project.path / "result.txt").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"partition": "nowhere"}', ("Invalid partition name specified", "sinfo -s")),
        ('{"mem": "1T"}', ("Memory specification can not be satisfied", "lower `memory`")),
        ('{"gres": "gpu:1"}', ("Invalid generic resource", "no such accelerators")),
        ('{"nonsense": "1"}', ("unrecognized option '--nonsense", "long names of sbatch")),
    ],
)
def test_what_slurm_refuses_is_said_in_one_line(
    mlrun: Mlrun, project: Project, cluster: Cluster, config: str, words: tuple[str, ...]
):
    said = mlrun("run", project.path, *SLURM, "-c", config)
    assert said.code == 125
    assert all(word in said.err for word in words), said.err
    assert said.err.partition("error: ")[2].count("\n") == 3  # a line, a blank one, a hint
    assert mlrun.show()["result"]["reason"] == "submit"


@pytest.mark.parametrize("config", ['{"array": "1-3"}', '{"--partition": "debug"}', '{"partition": ["a"]}'])
def test_an_option_that_is_not_the_users_to_set_leaves_no_run(
    mlrun: Mlrun, project: Project, cluster: Cluster, config: str
):
    said = mlrun("run", project.path, *SLURM, "-c", config)
    assert said.code == 2
    assert "hint: " in said.err
    assert mlrun("list", "--json").ok().json["runs"] == []


def test_a_machine_without_slurm_takes_no_run(mlrun: Mlrun, project: Project, tmp_path: Path):
    (tmp_path / "bin").mkdir()
    for name in ("git", "bash", "sh"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    said = mlrun("run", project.path, *SLURM, PATH=str(tmp_path / "bin"))
    assert said.code == 125
    assert "there is no Slurm here" in said.err
    assert "--on cluster" in said.err
    assert mlrun("list", "--json").ok().json["runs"] == []


def test_killed_at_once(mlrun: Mlrun, project: Project, cluster: Cluster):
    path = command(project, "trap true INT TERM; echo ready; while true; do sleep 1; done")
    process = mlrun.popen("run", path, *SLURM)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    mlrun("cancel", "latest", "--kill").ok()
    assert process.wait(60) == 137
    process.communicate()


def test_a_host_may_be_this_machine_with_slurm(mlrun: Mlrun, project: Project, cluster: Cluster):
    mlrun("host", "add", "queue", "local", "--launcher", "slurm", "--partition", "debug", "--option", "nice=7").ok()
    path = command(project, "scontrol show job -o $SLURM_JOB_ID")
    said = mlrun("run", path, "--on", "queue", "--env-manager", "local").ok()
    assert " Nice=7 " in said.out
    assert mlrun.show()["execution"]["backend"] == "slurm"


def test_a_project_with_secrets(mlrun: Mlrun, project: Project, cluster: Cluster):
    text = "printf %s $TOKEN | wc -c; tr '\\0' '\\n' < /proc/$PPID/environ | grep -c ^TOKEN="
    path = command(project, text, "    secrets: [TOKEN]\n")
    said = mlrun("run", path, *SLURM, TOKEN="hush-hush")
    assert said.out.split() == ["9", "0"]  # the command has it; the job's own environment never had
    assert not [file for file in cluster.base.rglob("*") if file.is_file() and b"hush-hush" in file.read_bytes()]


def test_a_script_logs_into_its_run_from_the_node(mlrun: Mlrun, project: Project, cluster: Cluster):
    project.write(
        "log.py",
        "import json, os, urllib.request\n"
        "body = {'run_id': os.environ['MLFLOW_RUN_ID'], 'key': 'rmse', 'value': 0.25, 'timestamp': 1, 'step': 0}\n"
        "token = 'Bearer ' + os.environ['MLFLOW_TRACKING_TOKEN']\n"
        "headers = {'Authorization': token, 'Content-Type': 'application/json'}\n"
        "url = os.environ['MLFLOW_TRACKING_URI'] + '/api/2.0/mlflow/runs/log-metric'\n"
        "urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).read()\n",
    )
    mlrun("run", command(project, f"{sys.executable} log.py"), *SLURM).ok()
    assert [(each["name"], each["last"]) for each in mlrun.show()["metrics"]["series"]] == [("rmse", 0.25)]


def test_python_runs_jobs(project: Project, cluster: Cluster):
    path = command(project, "true")
    done = runner.run(path, env_manager="local", backend="slurm", backend_config={"partition": "debug"})
    again = runner.rerun(done.run_id, backend="slurm")
    records = [json.loads((each.directory / "record.json").read_text()) for each in (done, again)]
    assert [record["execution"]["launcher"] for record in records] == ["slurm", "slurm"]
    with pytest.raises(runner.MlrunError, match="array"):
        runner.run(path, env_manager="local", backend="slurm", backend_config={"array": "1-3"})


def test_a_job_that_will_never_begin_says_so(mlrun: Mlrun, project: Project, cluster: Cluster):
    process = mlrun.popen("run", command(project, "true"), *SLURM, "-c", '{"time": 500}')
    assert process.stderr is not None
    lines = iter(process.stderr.readline, b"")
    assert next(line for line in lines if b"PartitionTimeLimit" in line).endswith(
        b"(PartitionTimeLimit): it will not begin as it is, see `scontrol show job`\n"
    )
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_slurm_is_asked_once_for_all_runs(mlrun: Mlrun, project: Project, cluster: Cluster, tmp_path: Path):
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} >> {calls}\nexec {shutil.which(name)} "$@"\n')
        (programs / name).chmod(0o755)
    path = command(project, "true")
    for _ in range(3):
        mlrun("run", path, *SLURM, "-c", '{"hold": true}', "--detach", PATH=f"{programs}:{os.environ['PATH']}").ok()
    until(lambda: len(list(Path(os.environ["MLRUN_HOME"]).glob("runs/*/launch.json"))) == 3, 90)
    calls.unlink()
    rows = mlrun("list", "--json").ok().json["runs"]  # its own PATH has no such programs: runs know how they are asked
    assert {row["status"] for row in rows} == {"submitted"}
    assert calls.read_text() == "squeue\n"
    mlrun("cancel", *[row["id"] for row in rows]).ok()


def test_the_environment_of_a_waiting_job_is_not_pruned(mlrun: Mlrun, project: Project, cluster: Cluster):
    project.write("python_env.yaml", "python: '3'\n")
    path = command(project, "python -c 'print(1)'")
    run = mlrun("run", path, "-b", "slurm", "-c", '{"hold": true}', "--detach").ok().out.strip()
    until((mlrun.directory(run) / "launch.json").exists, 120)
    for lock in Path(os.environ["MLRUN_CACHE"]).glob("envs/*/*.lock"):
        os.utime(lock, (0, 0))  # the job has waited for long
    assert mlrun("env", "prune", "--older-than", "1d", "--json").ok().json["removed"] == []
    cluster.call("scontrol", "release", mlrun.show(run)["execution"]["job_id"])
    mlrun("wait", run).ok()
    for lock in Path(os.environ["MLRUN_CACHE"]).glob("envs/*/*.lock"):
        os.utime(lock, (0, 0))
    assert len(mlrun("env", "prune", "--older-than", "1d", "--json").ok().json["removed"]) == 1


def test_over_ssh_a_job_waits_runs_and_comes_home_without_the_near_side(
    mlrun: Mlrun, project: Project, login_node: Cluster
):
    project.write("data.txt", "from here\n")
    path = command(project, "echo ready; sleep 1; cat data.txt > result.txt", "    outputs: [result.txt]\n")
    options = ("--on", "queue", "--env-manager", "local", "-c", '{"options": ["hold"]}')
    process = mlrun.popen("run", path, *options)
    run = until(lambda: mlrun("list", "--json").json["runs"], 60)[0]["id"]
    until(lambda: "is pending (JobHeldUser)" in mlrun("show", run).out, 90)
    process.kill()
    process.communicate()
    assert mlrun("list", "--json").ok().json["runs"][0]["status"] == "submitted"
    login_node.call("scontrol", "release", login_node.call("squeue", "-h", "-n", run, "-o", "%A"))
    assert mlrun("logs", "-f", run).ok().out == "ready\n"
    mlrun("wait", run).ok()
    mlrun("artifacts", run, "-o", project.path / "out").ok()
    assert (project.path / "out" / "result.txt").read_text() == "from here\n"
    execution = mlrun.show(run)["execution"]
    assert (execution["launcher"], execution["node"], execution["partition"]) == ("slurm", "lab-machine", "debug")
    assert mlrun.show(run)["code"]["uri"]


def test_over_ssh_a_pending_job_is_cancelled(mlrun: Mlrun, project: Project, login_node: Cluster):
    options = ("--on", "queue", "--env-manager", "local", "-c", '{"options": ["hold"]}')
    process = mlrun.popen("run", command(project, "true"), *options)
    run = until(lambda: mlrun("list", "--json").json["runs"], 60)[0]["id"]
    until(lambda: "is pending (JobHeldUser)" in mlrun("show", run).out, 90)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert login_node.call("squeue", "-h", "-t", "all", "-n", run, "-o", "%T") == "CANCELLED"


def test_a_run_goes_to_a_cluster_behind_ssh_and_back(mlrun: Mlrun, project: Project, login_node: Cluster):
    path = command(project, "cat data.txt > result.txt", "    inputs: [data.txt]\n    outputs: [result.txt]\n")
    project.write("data.txt", "from here\n")
    project.write(".gitignore", "data.txt\n")
    project.commit()
    assert ", and answers" in mlrun("host", "check", "queue").out
    mlrun("run", path, "--env-manager", "local", "--isolated", "--run-name", "here").ok()
    said = mlrun("rerun", "here", "--on", "queue", "--check", "--run-name", "there").ok()
    assert "identical" in said.err
    there = mlrun.show("there")["execution"]
    assert (there["backend"], there["launcher"], there["node"]) == ("ssh", "slurm", "lab-machine")
    assert "identical" in mlrun("rerun", "there", "--check", "--run-name", "back").ok().err
    back = mlrun.show("back")["execution"]
    assert (back["backend"], back.get("job_id")) == ("local", None)
    for name in ("there", "back"):
        mlrun("verify", name).ok()
