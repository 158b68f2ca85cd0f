"""apptainer, which cannot be had here, and docker with GPUs and slow registries: executables of their names do it."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until

# It keeps what it was asked in `calls`, and runs a command on this machine as if that were the container.
_FAKE = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).resolve().parent
words = sys.argv[1:]
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(words) + "\\n")
images = json.loads((here / "images.json").read_text())

def inner():
    return words[words.index("sh"):] if "sh" in words else words

def become():
    (here / "pid").write_text(str(os.getpid()))
    os.execvp("sh", inner())

if words == ["--version"]:
    print((here / "version").read_text())
elif words[:2] == ["image", "inspect"]:
    name = words[2]
    found = images.get(name) or next((one for one in images.values() if one["Id"] == name), None)
    if found is None:
        sys.exit("Error response from daemon: No such image: " + name)
    print(json.dumps([found]))
elif words[0] == "pull" and (here / "slow").exists():
    (here / "pulling").write_text(str(os.getpid()))
    time.sleep(300)
elif words[0] == "pull" and here.joinpath("registry.json").exists():
    pulled = json.loads((here / "registry.json").read_text())
    if words[-1] not in pulled:
        sys.exit("Error response from daemon: manifest for %s not found" % words[-1])
    (here / "images.json").write_text(json.dumps({{**images, **pulled}}))
elif words[0] == "pull":
    pathlib.Path(words[2]).write_text("an image of " + words[3])
elif words[0] in ("run", "exec") and "--interactive" in words or "--cleanenv" in words:
    become()
elif words[0] == "exec":
    os.kill(int((here / "pid").read_text()), getattr(signal, "SIG" + words[-1].split()[2]))
elif words[0] == "rm":
    os.kill(int((here / "pid").read_text()), signal.SIGKILL)
else:
    sys.exit("no such verb: " + words[0])
"""

_ID = "sha256:" + "a" * 64
_DIGEST = "example.org/py@sha256:" + "b" * 64


class Fake:
    """An engine that is none."""

    def __init__(self, directory: Path, name: str, version: str) -> None:
        directory.mkdir()
        self.directory, self.program = directory, directory / name
        self.program.write_text(_FAKE)
        self.program.chmod(0o755)
        (directory / "version").write_text(version)
        self.images()

    def images(self, **images: Any) -> None:
        (self.directory / "images.json").write_text(json.dumps(images))

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.directory / "calls").read_text().splitlines()]

    def call(self, verb: str) -> list[str]:
        return next(words for words in self.calls if words[0] == verb)


def an_image(**config: Any) -> dict[str, Any]:
    return {"Id": _ID, "RepoDigests": [_DIGEST], "Os": "linux", "Architecture": "amd64", "Config": config}


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path / "bin", "docker", "Docker version 28.2.2, build e6534b4")
    monkeypatch.setenv("PATH", f"{fake.directory}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    fake.images(py=an_image(Env=["PYTHONHASHSEED=7", "OTHER=x"]))
    return fake


@pytest.fixture
def apptainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path / "bin", "singularity", "singularity-ce version 4.1.2-jammy")
    monkeypatch.setenv("MLRUN_CONTAINER_ENGINE", "apptainer")
    monkeypatch.setenv("PATH", f"{fake.directory}:{os.environ['PATH']}")
    return fake


def contain(project: Project, command: str, *, image: str = "py", entry: str = "") -> None:
    head = f"docker_env: {{image: {image}, environment: [[A, b], [odd.name, c]]}}\nentry_points:\n  main:\n"
    project.write("MLproject", f"{head}{entry}    command: |\n      {command}\n")


def test_docker_is_the_first_choice_where_its_engine_answers(mlrun: Mlrun, project: Project, docker: Fake):
    contain(project, 'echo "$A $PYTHONHASHSEED"; exit 3', entry="    resources: {gpus: 2}\n")
    said = mlrun("run", project.path, "-A", "shm-size=8g", CUDA_VISIBLE_DEVICES="")
    assert (said.code, said.out) == (3, "b 7\n")
    record = mlrun.show()
    container = record["environment"]["container"]
    assert (container["engine"], container["digests"]) == ("docker 28.2.2", [_DIGEST])
    assert container["id"]["sha256"] == "a" * 64
    assert "result.usage" in [gap["field"] for gap in record["gaps"]]
    words = docker.call("run")
    assert words[words.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"
    assert words[words.index("--gpus") + 1] == "2"
    assert words[words.index("--env") + 1] == "odd.name"
    assert words[words.index("sh") - 1] == _ID
    assert words[words.index("sh") - 2] == "--shm-size=8g"
    assert f"type=bind,source={project.path},target=/mlflow/projects/code/" in words
    assert not any(words[0] == "pull" for words in docker.calls)


def test_docker_pulls_what_it_has_not_and_a_rerun_by_digest(mlrun: Mlrun, project: Project, docker: Fake):
    docker.images()
    (docker.directory / "registry.json").write_text(json.dumps({"py": an_image(), _DIGEST: an_image()}))
    contain(project, "echo done")
    said = mlrun("run", project.path).ok()
    assert "pulling the image py" in said.err
    assert docker.call("pull") == ["pull", "py"]
    docker.images()
    (docker.directory / "registry.json").write_text(json.dumps({_DIGEST: an_image()}))
    mlrun("rerun", "latest").ok()
    assert docker.calls[-2][0] == "image"
    assert ["pull", _DIGEST] in docker.calls
    docker.images()
    (docker.directory / "registry.json").write_text(json.dumps({_DIGEST: {**an_image(), "Id": "c", "RepoDigests": []}}))
    said = mlrun("rerun", "latest")
    assert said.code == 125
    assert "cannot be had on this host: the registry answers with another one" in said.err
    contain(project, "true", image="gone:1")
    said = mlrun("run", project.path)
    assert "the image gone:1 is not here, and docker 28.2.2 cannot pull it: manifest for gone:1 not found" in said.err
    assert "--build-image" in said.err


def test_a_run_is_cancelled_while_its_image_is_pulled(mlrun: Mlrun, project: Project, docker: Fake):
    docker.images()
    (docker.directory / "slow").touch()
    contain(project, "true")
    run = mlrun("run", project.path, "--detach").ok().out.strip()
    pid = int(until(lambda: (path := docker.directory / "pulling").exists() and path.read_text()))
    mlrun("cancel", run).ok()
    assert mlrun("wait", run).code == 128 + signal.SIGTERM
    assert mlrun.show(run)["run"]["status"] == "killed"
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_apptainer_runs_the_file_that_it_pulled(mlrun: Mlrun, project: Project, apptainer: Fake):
    contain(project, 'echo "$A"; exit 5', entry="    resources: {gpus: 1}\n")
    said = mlrun("run", project.path)
    assert (said.code, said.out) == (5, "b\n")
    container = mlrun.show()["environment"]["container"]
    assert container["engine"] == "singularity 4.1.2-jammy"
    words = apptainer.call("exec")
    image = Path(words[words.index("sh") - 1])
    assert image.read_text() == "an image of docker://py"
    assert words[:2] == ["exec", "--cleanenv"]
    assert words[words.index("--pwd") + 1] == "/mlflow/projects/code/"
    assert f"{project.path}:/mlflow/projects/code/" in words
    assert "--nv" in words
    mlrun("rerun", "latest")
    assert mlrun.show()["environment"]["lock_origin"] == "pinned"
    image.write_text("another")
    said = mlrun("rerun", "latest")
    assert "cannot be had on this host: the file here is another one" in said.err


def test_apptainer_takes_a_file_of_the_project(mlrun: Mlrun, project: Project, apptainer: Fake):
    contain(project, "echo here", image="./own.sif")
    assert "the image ./own.sif is not there" in mlrun("run", project.path).err
    project.write("own.sif", "bytes")
    assert mlrun("run", project.path).ok().out == "here\n"
    words = apptainer.call("exec")
    assert words[words.index("sh") - 1] == str(project.path / "own.sif")


def test_a_command_that_apptainer_runs_is_ended_as_any_other(mlrun: Mlrun, project: Project, apptainer: Fake):
    contain(project, "trap 'echo ending; exit 4' TERM; echo ready; while :; do sleep 0.1; done")
    run = mlrun("run", project.path, "--detach").ok().out.strip()
    until(lambda: "ready" in mlrun("logs", run).out)
    mlrun("cancel", run).ok()
    assert mlrun("wait", run).code == 128 + signal.SIGTERM
    assert mlrun("logs", run).out == "ready\nending\n"
