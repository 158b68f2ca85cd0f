"""Runs in containers, by a real podman: as without a container, and pinned by the image's digest."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until
from tests.podman import IMAGE, Podman, install, make_image, shared


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    return install(shared(tmp_path_factory) / "podman")


@pytest.fixture(autouse=True)
def podman(storage: Podman, monkeypatch: pytest.MonkeyPatch) -> Podman:
    for name, value in storage.environ.items():
        monkeypatch.setenv(name, value)
    return storage


def contain(project: Project, command: str, *, image: str = IMAGE, more: str = "", entry: str = "") -> Project:
    project.write(
        "MLproject",
        f"name: demo\ndocker_env:\n  image: {image}\n{more}entry_points:\n  main:\n{entry}"
        f"    command: |\n      {command.replace('{', '{{').replace('}', '}}')}\n",
    )
    return project


def test_a_command_runs_in_its_image_as_it_would_outside(
    mlrun: Mlrun, project: Project, podman: Podman, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CALLERS", "it's mine")
    monkeypatch.setenv("UNRELATED", "x")
    environment = '  environment: [CALLERS, [FIXED, "a b"]]\n'
    script = (
        'cat /word; pwd; echo "$CALLERS|$FIXED|$PYTHONUNBUFFERED|$UNRELATED|$DECLARED"; echo "to stderr" >&2; '
        'echo made > out.txt; echo "{"\'"name": "m", "value": 0.5\'"}" >> "$MLRUN_METRICS"; exit 7'
    )
    contain(project, script, more=environment, entry="    environ: {DECLARED: yes it is}\n")
    said = mlrun("run", project.path)
    assert said.code == 7
    assert said.out == "one\n/mlflow/projects/code\nit's mine|a b|1||yes it is\n"
    assert "to stderr\n" in said.err
    made = project.path / "out.txt"
    assert (made.read_text(), made.stat().st_uid) == ("made\n", os.getuid())
    record = mlrun.show()
    container = record["environment"]["container"]
    assert container["id"]["sha256"] == record["environment"]["installed"]["sha256"] == podman.image(IMAGE)
    assert container["engine"].startswith("podman ")
    assert container["variables"] == ["CALLERS", "FIXED"]
    assert "it's mine" not in (mlrun.directory() / "record.json").read_text()
    assert [output["path"] for output in record["outputs"]] == ["out.txt"]
    assert record["result"]["exit_code"] == 7
    assert record["metrics"]["summary"][0]["name"] == "m" if "summary" in record["metrics"] else record["metrics"]
    assert podman.containers() == []


def test_a_rerun_takes_the_very_image_or_none(mlrun: Mlrun, project: Project, podman: Podman):
    make_image(podman, "localhost/moving:1", "first")
    contain(project, "cat /word", image="localhost/moving:1")
    assert mlrun("run", project.path).ok().out == "first\n"
    first = mlrun("list", "--json").json["runs"][0]["id"]
    podman("tag", "localhost/moving:1", "localhost/kept:1")
    make_image(podman, "localhost/moving:1", "second")
    assert mlrun("run", project.path).ok().out == "second\n"
    assert mlrun("rerun", first).ok().out == "first\n"
    podman("rmi", "localhost/kept:1")
    said = mlrun("rerun", first)
    assert said.code == 125
    assert "the image localhost/moving:1 as it was locked" in said.err
    assert "podman save" in said.err
    assert mlrun.show()["run"]["status"] == "failed"


def _started(mlrun: Mlrun, project: Project) -> str:
    run = mlrun("run", project.path, "--detach").ok().out.strip()
    until(lambda: "ready" in mlrun("logs", run).out)
    return run


def test_a_cancelled_command_hears_of_it_and_its_container_is_gone(mlrun: Mlrun, project: Project, podman: Podman):
    contain(project, "trap 'echo ending; exit 3' TERM; echo ready; while :; do sleep 0.1; done")
    run = _started(mlrun, project)
    assert podman.containers() == [f"mlrun-{run}"]
    mlrun("cancel", run).ok()
    assert mlrun("wait", run).code == 128 + signal.SIGTERM
    assert mlrun("logs", run).out == "ready\nending\n"
    assert mlrun.show(run)["run"]["status"] == "killed"
    assert podman.containers() == []


def test_a_command_is_ended_at_its_time_limit(mlrun: Mlrun, project: Project, podman: Podman):
    contain(project, "sleep 300; echo never", entry="    resources: {time: 1}\n")
    assert mlrun("run", project.path).code == 124
    assert mlrun.show()["result"]["reason"] == "timeout"
    assert podman.containers() == []


def test_a_command_that_will_not_end_is_killed(mlrun: Mlrun, project: Project, podman: Podman):
    contain(project, "trap '' INT TERM; echo ready; while :; do sleep 0.2; done")
    run = _started(mlrun, project)
    mlrun("cancel", run, "--kill").ok()
    assert mlrun("wait", run).code == 128 + signal.SIGKILL
    assert podman.containers() == []


@pytest.mark.parametrize("engine_too", [False, True], ids=["worker", "worker-and-engine"])
def test_a_container_that_lost_its_worker_is_orphaned_and_can_be_ended(
    mlrun: Mlrun, project: Project, podman: Podman, engine_too: bool
):
    contain(project, "echo ready; sleep 300")
    run = _started(mlrun, project)
    start = json.loads((Path(os.environ["MLRUN_HOME"]) / "runs" / run / "start.json").read_text())
    os.kill(start["worker"]["pid"], signal.SIGKILL)
    if engine_too:
        os.kill(start["child"]["pid"], signal.SIGKILL)
    assert until(lambda: mlrun.show(run)["run"]["status"] == "orphaned")
    mlrun("cancel", run).ok()
    assert until(lambda: mlrun.show(run)["run"]["status"] == "killed")
    assert podman.containers() == []
