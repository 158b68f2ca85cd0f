"""Which container engine is taken, told by executables that say who they are."""

from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.containers import engines
from runner.worker.containers.engines import answers, find

VERSIONS = {
    "docker": "Docker version 28.2.2, build e6534b4",
    "podman": "podman version 4.3.1",
    "apptainer": "apptainer version 1.3.0-1.el9",
    "singularity": "singularity-ce version 4.1.2",
}


@pytest.fixture
def install(tmp_path: Path):
    def install(*names: str, **versions: str) -> dict[str, str]:
        directory = tmp_path / "bin"
        directory.mkdir(exist_ok=True)
        for name in (*names, *versions):
            program = directory / name
            program.write_text(f"#!/bin/sh\necho '{versions.get(name) or VERSIONS[name]}'\n")
            program.chmod(0o755)
        return {"PATH": str(directory), "HOME": str(tmp_path)}

    return install


@pytest.fixture(autouse=True)
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """docker's socket, which is not there."""
    monkeypatch.setattr(engines, "_SOCKET", str(tmp_path / "docker.sock"))
    return tmp_path / "docker.sock"


def test_docker_goes_first_where_it_answers_and_not_where_it_cannot(install, socket: Path):
    environ = install(*VERSIONS)
    assert find("", environ).version == "podman 4.3.1"
    socket.touch()
    assert find("", environ).version == "docker 28.2.2"


def test_a_context_of_docker_is_an_engine(install, tmp_path: Path):
    environ = install("docker")
    assert not answers(environ)
    for content, there in (("{", False), ("[]", False), ('{"currentContext": "desktop"}', True)):
        (tmp_path / ".docker").mkdir(exist_ok=True)
        (tmp_path / ".docker" / "config.json").write_text(content)
        assert answers(environ) is there
    assert answers({**environ, "DOCKER_CONTEXT": "x"})


def test_podman_under_dockers_name_is_podman(install):
    engine = find("", install(docker=VERSIONS["podman"]))
    assert (engine.kind, Path(engine.program).name) == ("podman", "docker")


def test_apptainer_by_either_name(install):
    assert find("", install("singularity")).version == "singularity 4.1.2"
    assert find("apptainer", install("singularity")).kind == "apptainer"
    assert find("", install("singularity", "apptainer")).version == "apptainer 1.3.0-1.el9"


def test_an_engine_that_is_asked_for_is_taken(install, tmp_path: Path):
    environ = install(*VERSIONS)
    assert find("docker", environ).kind == "docker"
    assert find(str(tmp_path / "bin" / "podman"), {"PATH": ""}).kind == "podman"
    assert find("", {**environ, "MLRUN_CONTAINER_ENGINE": "apptainer"}).kind == "apptainer"
    assert find("podman", {**environ, "MLRUN_CONTAINER_ENGINE": "apptainer"}).kind == "podman"
    with pytest.raises(EnvironmentBuildError, match="the container engine 'nosuch' is not on this host"):
        find("nosuch", environ)
    with pytest.raises(EnvironmentBuildError, match="is none that mlrun knows"):
        find("podman", install(podman="lxc 1"))


def test_what_is_missing_is_said(install):
    with pytest.raises(EnvironmentBuildError, match="there is no container engine on this host") as caught:
        find("", install())
    assert "install podman" in caught.value.hint
    with pytest.raises(EnvironmentBuildError, match="its engine does not answer") as caught:
        find("", install("docker"))
    assert "systemctl start docker" in caught.value.hint


def test_what_an_engine_said_is_kept_until_its_file_changes(install, tmp_path: Path):
    environ, cache = install("podman"), tmp_path / "cache"
    program = tmp_path / "bin" / "podman"
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho podman version 4.3.1\n")
    assert [find("", environ, cache).version for _ in range(3)] == ["podman 4.3.1"] * 3
    assert (tmp_path / "asked").read_text() == "asked\n"
    install(podman="podman version 5.0.0")
    assert find("", environ, cache).version == "podman 5.0.0"
    for kept in (cache / "engines").iterdir():
        kept.write_bytes(b"\xff")
    assert find("", environ, cache).version == "podman 5.0.0"
