"""Runs in containers, by a real podman: as without a container, and pinned by the image's digest."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until
from tests.podman import IMAGE, Podman, install, make_image, shared


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    return install(shared(tmp_path_factory) / "podman")


@pytest.fixture(autouse=True)
def engine(storage: Podman, monkeypatch: pytest.MonkeyPatch) -> Podman:
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
    mlrun: Mlrun, project: Project, engine: Podman, monkeypatch: pytest.MonkeyPatch
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
    assert container["id"]["sha256"] == record["environment"]["installed"]["sha256"] == engine.image(IMAGE)
    assert container["engine"].startswith(f"{engine.name} ")
    assert container["variables"] == ["CALLERS", "FIXED"]
    assert "it's mine" not in (mlrun.directory() / "record.json").read_text()
    assert [output["path"] for output in record["outputs"]] == ["out.txt"]
    assert record["result"]["exit_code"] == 7
    assert [series["name"] for series in record["metrics"]["series"]] == ["m"]
    assert is_gone(mlrun, engine)
    assert f"container {IMAGE} (sha256:{engine.image(IMAGE)[:12]}), {engine.name}" in mlrun("show", "latest").ok().out


def test_a_rerun_takes_the_very_image_or_none(mlrun: Mlrun, project: Project, engine: Podman):
    make_image(engine, "localhost/moving:1", "first")
    contain(project, "cat /word", image="localhost/moving:1")
    assert mlrun("run", project.path).ok().out == "first\n"
    first = mlrun("list", "--json").json["runs"][0]["id"]
    engine("tag", "localhost/moving:1", "localhost/kept:1")
    make_image(engine, "localhost/moving:1", "second")
    assert mlrun("run", project.path).ok().out == "second\n"
    assert mlrun("rerun", first).ok().out == "first\n"
    engine("rmi", "localhost/kept:1")
    said = mlrun("rerun", first)
    assert said.code == 125
    assert "the image localhost/moving:1 as it was locked" in said.err
    assert f"{engine.name} save" in said.err
    assert mlrun.show()["run"]["status"] == "failed"


def test_a_locked_project_keeps_its_image(mlrun: Mlrun, project: Project, engine: Podman):
    before = make_image(engine, "localhost/locked:1", "before")
    contain(project, "cat /word", image="localhost/locked:1", more="  environment: [NOT_SET]\n")
    said = mlrun("lock", project.path).ok()
    lock = json.loads((project.path / "image.mlrun.json").read_text())
    assert (lock["image"], lock["id"]) == ("localhost/locked:1", before)
    assert f"the image sha256:{before[:12]}" in said.err
    assert "nothing new" in mlrun("lock", project.path).ok().err
    engine("tag", "localhost/locked:1", "localhost/locked-before:1")
    make_image(engine, "localhost/locked:1", "after")
    assert mlrun("run", project.path, NOT_SET="x").ok().out == "before\n"
    assert mlrun.show()["environment"]["lock_origin"] == "project"
    project.write("MLproject", (project.path / "MLproject").read_text().replace("locked:1", "locked:2"))
    said = mlrun("run", project.path, NOT_SET="x")
    assert said.code == 125
    assert "image.mlrun.json is for the image localhost/locked:1" in said.err
    assert len(mlrun("list", "--json").ok().json["runs"]) == 1  # told before there is another run
    assert "image.mlrun.json is for the image localhost/locked:1" in mlrun("check", project.path).out
    project.write("image.mlrun.json", "[" * 100_000)
    assert "error: image.mlrun.json is no JSON: " in mlrun("run", project.path, NOT_SET="x").err
    project.write("MLproject", (project.path / "MLproject").read_text().replace("locked:2", "locked:1"))
    said = mlrun("lock", project.path, "--upgrade")
    assert "the image localhost/locked:1 is here as it was, and podman" in said.err


def test_no_value_is_on_a_command_line_or_with_the_engine(mlrun: Mlrun, project: Project, engine: Podman):
    script = "test ${#TOKEN} = 12 && test ${#COPIED} = 6 && echo ready; sleep 300"
    contain(project, script, more="  environment: [COPIED]\n", entry="    secrets: [TOKEN]\n")
    run = mlrun("run", project.path, "--detach", TOKEN="s3cr3t value", COPIED="c0p1ed").ok().out.strip()
    until(lambda: "ready" in mlrun("logs", run).out)
    shown = engine("inspect", f"mlrun-{run}") + _command_lines()
    for path in (Path(os.environ["MLRUN_HOME"]) / "runs" / run).rglob("*"):
        shown += path.read_text(errors="replace") if path.is_file() else ""
    mlrun("cancel", run).ok()
    shown += (mlrun.directory(run) / "record.json").read_text()
    assert "s3cr3t" not in shown
    assert "c0p1ed" not in shown
    assert "TOKEN" in shown


def _command_lines() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(found)


def test_an_image_is_built_from_the_snapshot(mlrun: Mlrun, project: Project, engine: Podman):
    dockerfile = f"FROM {IMAGE}\nCOPY . /built/\nRUN echo cooked > /cooked\n"
    project.write("Dockerfile", dockerfile)
    project.write(".dockerignore", "private.txt\n")
    for name in ("private.txt", "public.txt", "ignored.txt"):
        project.write(name, name)
    project.write(".gitignore", "ignored.txt\n")
    contain(project, "cat /cooked; ls /built", image="mlrun-test-never-pulled")
    project.commit()
    said = mlrun("run", project.path, "--build-image").ok()
    assert said.out.split() == ["cooked", "Dockerfile", "MLproject", "public.txt"]
    record = mlrun.show()
    assert record["environment"]["lock_origin"] == "built"
    assert mlrun("run", project.path, "--build-image").ok().out == said.out
    assert mlrun.show()["environment"]["why"] == "built before from the same source"
    assert mlrun("rerun", "latest").ok().out == said.out
    assert mlrun.show()["environment"]["lock_origin"] == "pinned"
    assert mlrun("run", project.path, "--build-image", "--upgrade").ok().out == said.out
    assert mlrun.show()["environment"]["why"] == "built from the project"


def test_without_a_dockerfile_the_project_is_put_upon_the_image(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "pwd; ls; cat /word")
    said = mlrun("run", project.path, "--build-image").ok()
    assert said.out == "/mlflow/projects/code\nMLproject\none\n"


def test_a_build_that_fails_says_why(mlrun: Mlrun, project: Project, engine: Podman):
    project.write("Dockerfile", f"FROM {IMAGE}\nCOPY not-there.txt /\n")
    contain(project, "true")
    said = mlrun("run", project.path, "--build-image")
    assert said.code == 125
    assert "the image cannot be built from Dockerfile" in said.err
    assert "not-there.txt" in said.err
    assert "hint: what git ignores, and what `.dockerignore` names, is not there for a build to copy" in said.err
    (project.path / "Dockerfile").unlink()
    contain(project, "true", image="localhost/not-there:1")
    assert "the image cannot be built from localhost/not-there:1: " in mlrun("run", project.path, "--build-image").err


def test_paths_and_volumes_are_seen_where_they_are(mlrun: Mlrun, project: Project, engine: Podman, tmp_path: Path):
    outside = tmp_path / "a, b" / "data.csv"
    outside.parent.mkdir()
    outside.write_text("1,2\n")
    (project.path / "given").mkdir(parents=True)
    (project.path / "given" / "x").write_text("x\n")
    parameter = "    parameters: {table: path}\n"
    volumes = f'  volumes: ["$(pwd)/given:/given:ro", "${{PWD}}/given:/again", "{tmp_path}:/all"]\n'
    contain(project, "cat TABLE /given/x /again/x; echo no > TABLE || echo readonly", more=volumes, entry=parameter)
    text = (project.path / "MLproject").read_text().replace("TABLE", "{table}")
    project.write("MLproject", text)
    said = mlrun("run", project.path, "-P", f"table={outside}").ok()
    assert said.out == "1,2\nx\nx\nreadonly\n"
    assert outside.read_text() == "1,2\n"
    project.write("MLproject", text.replace("/given:/again", "/gone:/again"))
    said = mlrun("run", project.path, "-P", f"table={outside}")
    assert said.code == 125
    assert "gone is not there" in said.err


def test_a_volume_of_the_engines_own_is_told_from_a_directory(mlrun: Mlrun, project: Project, engine: Podman):
    (project.path / "given").mkdir(parents=True)
    contain(project, "ls /given", more='  volumes: ["given:/given", "./given:/mine"]\n')
    said = mlrun("run", project.path).ok()
    assert said.err.count("is a volume that the engine keeps") == 1
    assert "that one is './given:/given'" in said.err
    engine("volume", "rm", "given")


@pytest.mark.parametrize("word", ["v={}:{}:ro", "volume={}:{}", "mount=type=bind,source={},dst={}"])
def test_a_volume_of_the_users_takes_the_place_of_our_own(
    mlrun: Mlrun, project: Project, engine: Podman, tmp_path: Path, word: str
):
    contain(project, "ls /mlflow/projects/code")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    argument = word.format(tmp_path / "other", "/mlflow/projects/code/")
    assert mlrun("run", project.path, "-A", argument).ok().out == "mine\n"


def test_arguments_reach_the_engine_and_stand_over_our_own(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "pwd; hostname; tty -s || echo no terminal")
    own = ["-A", "workdir=/tmp", "-A", "h=ada", "-A", f"name=mine-{os.getpid()}"]
    assert mlrun("run", project.path, *own, "-A", "network=none").ok().out == "/tmp\nada\nno terminal\n"
    assert mlrun.show()["environment"]["container"]["arguments"][:2] == ["workdir=/tmp", "h=ada"]
    assert mlrun("rerun", "latest").ok().out.startswith("/tmp\nada\n")
    assert "no terminal" not in mlrun("run", project.path, "-A", "tty").ok().out
    for wrong in ("detach", "--tty", "rm"):
        said = mlrun("run", project.path, "-A", wrong)
        assert said.code == 125
        assert f"-A {wrong}" in said.err


@pytest.mark.parametrize(
    ("entrypoint", "command", "out"),
    [
        ('["/bin/sh", "-c"]', "cat /word", "one\n"),
        ('["/wrap"]', "cat /word", "wrapped\none\n"),
        ('["/usr/bin/python3", "-u"]', "train.py --alpha 1 && echo both", "-u train.py --alpha 1\nboth\n"),
    ],
    ids=["shell", "exec", "interpreter"],
)
def test_an_entrypoint_is_heeded_where_it_can_be(
    mlrun: Mlrun, project: Project, engine: Podman, entrypoint: str, command: str, out: str
):
    project.write("wrap", '#!/bin/sh\necho wrapped\nexec "$@"\n').chmod(0o755)
    project.write("python", '#!/bin/sh\necho "$@"\n').chmod(0o755)
    recipe = f"FROM {IMAGE}\nCOPY wrap /wrap\nCOPY python /usr/bin/python3\nENTRYPOINT {entrypoint}\n"
    project.write("Dockerfile", recipe)
    contain(project, command)
    assert mlrun("run", project.path, "--build-image").ok().out == out


def test_an_entrypoint_that_does_not_run_the_command_is_no_success(mlrun: Mlrun, project: Project, engine: Podman):
    project.write("Dockerfile", f'FROM {IMAGE}\nENTRYPOINT ["/bin/true"]\n')
    contain(project, "echo here")
    said = mlrun("run", project.path, "--build-image")
    assert said.code == 125
    assert "the image's ENTRYPOINT (/bin/true) did not run the command" in said.err
    assert mlrun("run", project.path, "--build-image", "-A", "entrypoint=").ok().out == "here\n"


def test_why_an_image_is_taken_is_told(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "true", image="localhost/nowhere:1")
    assert "has no image localhost/nowhere:1: a run would pull it" in mlrun("env", "why", project.path).ok().out
    contain(project, "true", more="  environment: [SURELY_NOT_SET]\n")
    assert f"the image sha256:{engine.image(IMAGE)[:12]} is here" in mlrun("env", "why", project.path).ok().out
    lock = {"image": IMAGE, "id": "0" * 64, "version": 1}
    project.write("image.mlrun.json", json.dumps(lock))
    assert "has not the image of image.mlrun.json" in mlrun("env", "why", project.path).ok().out


def test_a_rerun_reads_its_lock_from_the_store(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "cat")
    assert mlrun("run", project.path, stdin="read\n").ok().out == "read\n"
    mlrun("gc").ok()
    assert mlrun("rerun", "latest", stdin="read\n").ok().out == "read\n"


def test_an_interrupt_reaches_the_command(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.1; done")
    process = mlrun.popen("run", project.path)
    until(lambda: mlrun("logs", "latest").out == "ready\n")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"ready\ninterrupted\n")
    assert is_gone(mlrun, engine)


def test_a_container_does_not_outlive_its_engines_client(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "echo ready; sleep 300")
    run = _started(mlrun, project)
    start = json.loads((Path(os.environ["MLRUN_HOME"]) / "runs" / run / "start.json").read_text())
    os.kill(start["child"]["pid"], signal.SIGKILL)
    assert mlrun("wait", run).code == 128 + signal.SIGKILL
    assert is_gone(mlrun, engine)


def test_what_the_engine_refuses_is_said(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "true")
    said = mlrun("run", project.path, "-A", "no-such-option")
    assert said.code == 125
    assert "the container could not be started: " in said.err
    assert "no-such-option" in said.err
    assert mlrun.show()["result"]["reason"] == "submit"


def test_a_gpu_that_is_not_there_is_said(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "true", entry="    resources: {gpus: 1}\n")
    said = mlrun("run", project.path)
    assert "nvidia.com/gpu=0" in said.err
    assert "hint: the engine has no GPU to give" in said.err


def test_another_user_cannot_read_the_runs_directory(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "true")
    said = mlrun("run", project.path, "-A", "user=4321")
    assert said.code == 125
    assert "leave `-A user` out" in said.err


def test_an_image_without_a_shell_is_said(mlrun: Mlrun, project: Project, engine: Podman):
    project.write("empty/word", "")
    archive = subprocess.run(["tar", "-C", project.path / "empty", "-c", "."], capture_output=True, check=True).stdout
    engine("import", "--quiet", "-", "localhost/without-shell:1", stdin=archive)
    contain(project, "true", image="localhost/without-shell:1")
    said = mlrun("run", project.path)
    assert said.code == 125
    assert "take an image that has one" in said.err


@pytest.mark.parametrize("image", ["'--privileged'", "'a b'"])
def test_what_is_no_image_is_refused_before_there_is_a_run(mlrun: Mlrun, project: Project, image: str):
    contain(project, "true", image=image)
    for words in (("run",), ("lock",)):
        said = mlrun(*words, project.path)
        assert said.code == 125
        assert "is no name of an image" in said.err
    assert mlrun("list", "--json").json["runs"] == []


def test_an_image_that_cannot_be_pulled_is_said(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "true", image="127.0.0.1:9/nobody/nothing:1")
    said = mlrun("run", project.path)
    assert said.code == 125
    assert f"the image 127.0.0.1:9/nobody/nothing:1 is not here, and {engine.name}" in said.err
    assert "hint:" in said.err


def test_clients_inside_reach_the_tracking_endpoint(mlrun: Mlrun, project: Project, engine: Podman):
    body = '{"run_id": "\'$MLFLOW_RUN_ID\'", "key": "logged", "value": 2.5, "timestamp": 1, "step": 0}'
    script = (
        'wget -q -O - --header "Authorization: Bearer $MLFLOW_TRACKING_TOKEN" '
        f"--header 'Content-Type: application/json' --post-data '{body}' "
        '"$MLFLOW_TRACKING_URI/api/2.0/mlflow/runs/log-metric"'
    )
    contain(project, script)
    mlrun("run", project.path).ok()
    assert [series["name"] for series in mlrun.show()["metrics"]["series"]] == ["logged"]


def test_without_an_engine_nothing_is_run(mlrun: Mlrun, project: Project, tmp_path: Path):
    contain(project, "true")
    said = mlrun("run", project.path, PATH=str(tmp_path), MLRUN_CONTAINER_ENGINE="")
    assert said.code == 125
    assert "there is no container engine on this host" in said.err
    assert mlrun("list", "--json").json["runs"] == []
    said = mlrun("run", project.path, "-c", '{"container_engine": "nosuch"}')
    assert said.code == 125
    assert "the container engine 'nosuch' is not on this host" in said.err


def is_gone(mlrun: Mlrun, engine: Podman) -> bool:
    """Whether nothing is left of the latest run's container; other tests may have theirs meanwhile."""
    return f"mlrun-{mlrun.show()['run']['id']}" not in engine.containers()


def _started(mlrun: Mlrun, project: Project) -> str:
    run = mlrun("run", project.path, "--detach").ok().out.strip()
    until(lambda: "ready" in mlrun("logs", run).out)
    return run


def test_a_cancelled_command_hears_of_it_and_its_container_is_gone(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "trap 'echo ending; exit 3' TERM; echo ready; while :; do sleep 0.1; done")
    run = _started(mlrun, project)
    assert f"mlrun-{run}" in engine.containers()
    mlrun("cancel", run).ok()
    assert mlrun("wait", run).code == 128 + signal.SIGTERM
    assert mlrun("logs", run).out == "ready\nending\n"
    assert mlrun.show(run)["run"]["status"] == "killed"
    assert is_gone(mlrun, engine)


def test_a_command_is_ended_at_its_time_limit(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "sleep 300; echo never", entry="    resources: {time: 1}\n")
    assert mlrun("run", project.path).code == 124
    assert mlrun.show()["result"]["reason"] == "timeout"
    assert is_gone(mlrun, engine)


def test_a_command_that_will_not_end_is_killed(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "trap '' INT TERM; echo ready; while :; do sleep 0.2; done")
    run = _started(mlrun, project)
    mlrun("cancel", run, "--kill").ok()
    assert mlrun("wait", run).code == 128 + signal.SIGKILL
    assert is_gone(mlrun, engine)


@pytest.mark.parametrize("engine_too", [False, True], ids=["worker", "worker-and-engine"])
def test_a_container_that_lost_its_worker_is_orphaned_and_can_be_ended(
    mlrun: Mlrun, project: Project, engine: Podman, engine_too: bool
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
    assert is_gone(mlrun, engine)


def test_a_container_that_nobody_saw_end_is_lost(mlrun: Mlrun, project: Project, engine: Podman):
    contain(project, "echo ready; sleep 300")
    run = _started(mlrun, project)
    start = json.loads((Path(os.environ["MLRUN_HOME"]) / "runs" / run / "start.json").read_text())
    for process in ("worker", "child"):
        os.kill(start[process]["pid"], signal.SIGKILL)
    assert engine("ps", "--quiet", "--filter", f"label=org.mlrun.run={run}")
    engine("rm", "--force", "--time", "0", f"mlrun-{run}")
    assert until(lambda: mlrun.show(run)["run"]["status"] == "lost")
    assert not (Path(os.environ["MLRUN_HOME"]) / "runs" / run / ".variables").exists()


def test_the_python_api_takes_arguments_as_mlflow_does(project: Project, engine: Podman, tmp_path: Path):
    import runner

    contain(project, "pwd; tty -s && echo terminal")
    given = {"workdir": "/tmp", "tty": True, "interactive": False}
    submitted = runner.run(project.path, docker_args=given)
    run = Path(os.environ["MLRUN_HOME"]) / "runs" / submitted.run_id
    assert (run / "stdout.log").read_text().split() == ["/tmp", "terminal"]
