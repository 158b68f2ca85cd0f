"""Volumes, arguments, variables and mounts: what a project and a user write, as an engine and a shell read it."""

import csv
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import EnvironmentBuildError
from runner.worker.containers import arguments, commandline, inside
from runner.worker.containers.commandline import Wanted, argv
from runner.worker.containers.engines import Engine
from runner.worker.containers.inside import Mount
from runner.worker.containers.volumes import expand, target
from runner.worker.spec import Input


@pytest.mark.parametrize(
    ("volume", "expanded"),
    [
        ("$(pwd)/d:/d:ro", "{project}/d:/d:ro"),
        ("$( pwd )/d:/d", "{project}/d:/d"),
        ("`pwd`/d:/d", "{project}/d:/d"),
        ("${PWD}/d:/d", "{project}/d:/d"),
        ('"$PWD/d":/d', "{project}/d:/d"),
        ("./d:/d", "{project}/d:/d"),
        ("../project/d:/d", "{project}/d:/d"),
        (".:/d", "{project}:/d"),
        ("$DATA/d:/$NAME", "{project}/d:/x"),
        ("~/d:/d", "{project}/d:/d"),
        ("named:/d", "named:/d"),
        ("/anonymous", "/anonymous"),
    ],
)
def test_a_volume_is_what_a_shell_makes_of_it(tmp_path: Path, volume: str, expanded: str):
    project = tmp_path / "project"
    (project / "d").mkdir(parents=True)
    environ = {"DATA": str(project), "NAME": "x", "HOME": str(project), "PWD": "/elsewhere"}
    assert expand(volume, project, environ) == expanded.format(project=project)


@pytest.mark.parametrize(
    ("volume", "message"),
    [("$NOT_SET/d:/d", r"uses \$NOT_SET, which is not set"), ("/not/there:/d", "/not/there is not there")],
)
def test_a_volume_that_is_nowhere_is_refused(tmp_path: Path, volume: str, message: str):
    with pytest.raises(EnvironmentBuildError, match=message):
        expand(volume, tmp_path, {})


def test_where_a_volume_lies():
    assert [target(volume) for volume in ("/a:/b/", "/a:/b:ro", "/c", "d:/e")] == ["/b", "/b", "/c", "/e"]


def test_arguments_are_flags_and_options():
    given = ("tty", "name=x=y", "v=/a:/b", "e", "net=none", "w=/app", "w=/other")
    assert list(arguments.words(given[:4])) == ["--tty", "--name=x=y", "-v", "/a:/b", "-e"]
    assert arguments.names(given) == {"tty", "name", "volume", "e", "network", "workdir"}
    assert arguments.value(given, "workdir") == "/other"
    assert arguments.value(given, "user") == ""


@pytest.mark.parametrize("argument", ["d", "detach=true", "rm", "restart=always", "", "--tty", "-v=/a:/b", "a b", "=x"])
def test_arguments_that_cannot_be_are_refused(argument: str):
    with pytest.raises(EnvironmentBuildError, match=r"^-A "):
        arguments.refuse([argument])


VALUES = st.binary(max_size=40).filter(lambda value: b"\0" not in value)


@settings(max_examples=60, deadline=None)
@given(value=VALUES)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_variables_come_in_as_they_are(shell: str, value: bytes, tmp_path_factory: pytest.TempPathFactory):
    file = tmp_path_factory.mktemp("variables") / "file"
    file.write_bytes(inside.script({b"VALUE": value, b"odd.name": b"left out"}))
    done = subprocess.run([shell, "-c", '. "$1"; env -0', "x", file], capture_output=True, env={}, check=True)
    variables = dict(line.split(b"=", 1) for line in done.stdout.split(b"\0") if line)
    assert variables[b"VALUE"] == value
    assert inside.odd({b"VALUE": value, b"odd.name": b""}) == ("odd.name",)


@pytest.mark.parametrize(("strict", "code"), [(False, 0), (True, 3)])
def test_the_shells_line_runs_a_command_and_empties_its_variables(tmp_path: Path, strict: bool, code: int):
    file = tmp_path / "variables"
    file.write_bytes(inside.script({b"VALUE": b"it's"}))
    words = inside.shell('echo "$VALUE"; (exit 3) | cat; true', file, strict=strict, alone=False)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "it's\n")
    assert file.stat().st_size == 0


def test_what_a_container_sees(tmp_path: Path):
    run, data = tmp_path / "run", tmp_path / "data.csv"
    inputs = (
        Input("table", str(data), parameter="table"),
        Input("inner.csv", "inner.csv"),
        Input("/data/*.csv", "/data/*.csv"),
        Input("brought", "brought.csv", parameter="brought"),
    )
    places = {"table": str(data), "brought": f"{run}/work/brought.csv", "/data/*.csv": "/data/*.csv"}
    found = inside.mounts(tmp_path / "project", run, inputs, places, ["/data"])
    assert found == (
        Mount(str(tmp_path / "project"), "/mlflow/projects/code/"),
        Mount(str(run), str(run)),
        Mount(str(data), str(data), readonly=True),
    )
    found = inside.mounts(tmp_path / "project", run, (), {}, ["/mlflow/projects/code"])
    assert [mount.target for mount in found] == [str(run)]


@given(path=st.text(st.characters(blacklist_characters="\n\r\0", blacklist_categories=["Cs"]), min_size=1))
def test_any_path_can_be_mounted(path: str):
    [fields] = csv.reader([commandline._mount(Mount(f"/{path}", f"/x/{path}", readonly=True))])
    assert fields == ["type=bind", f"source=/{path}", f"target=/x/{path}", "readonly"]


def wanted(**changes) -> Wanted:
    plain = {"image": "sha256:1", "name": "mlrun-1", "run": "1", "mounts": (), "volumes": (), "arguments": ()}
    return Wanted(**{**plain, "variables": (), "gpus": 0, "home": "/home", **changes})


def engine(kind: str) -> Engine:
    return Engine(kind, kind, f"{kind} 1")


@pytest.mark.parametrize(
    ("kind", "visible", "words"),
    [
        ("docker", "", ["--gpus", "2"]),
        ("docker", "3,5,7", ["--gpus", '"device=3,5"']),
        ("podman", "", ["--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=1"]),
        ("podman", "4,6", ["--device", "nvidia.com/gpu=4", "--device", "nvidia.com/gpu=6"]),
        ("apptainer", "", ["--nv"]),
    ],
)
def test_gpus_are_asked_for_in_each_engines_words(kind: str, visible: str, words: list[str]):
    line = argv(engine(kind), wanted(gpus=2), ["sh"], {"CUDA_VISIBLE_DEVICES": visible})
    at = line.index(words[0])
    assert list(line[at : at + len(words)]) == words
    assert not {"--gpus", "--device", "--nv"} & set(argv(engine(kind), wanted(), ["sh"], {}))


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("docker", "all", ["--gpus=all"]),
        ("podman", "all", ["--device", "nvidia.com/gpu=all"]),
        ("podman", "2", ["--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=1"]),
        ("podman", '"device=1,GPU-3"', ["--device", "nvidia.com/gpu=1", "--device", "nvidia.com/gpu=GPU-3"]),
        ("apptainer", "all", ["--nv"]),
    ],
)
def test_gpus_that_the_user_names_are_given(kind: str, value: str, words: list[str]):
    line = argv(engine(kind), wanted(arguments=(f"gpus={value}",), gpus=3), ["sh"], {})
    assert [word for word in line if "gpu" in word or word in ("--device", "--nv")] == words


def test_gpus_that_podman_cannot_be_told_are_refused():
    with pytest.raises(EnvironmentBuildError, match=r"^-A gpus=capabilities=utility: podman gives"):
        argv(engine("podman"), wanted(arguments=("gpus=capabilities=utility",)), ["sh"], {})


@pytest.mark.parametrize(
    ("kind", "uid", "environ", "words"),
    [
        ("docker", 1000, {}, {"--user": "1000:1000", "--group-add": "27"}),
        ("docker", 1000, {"DOCKER_HOST": "unix:///run/user/1000/docker.sock"}, {"--user": "0:0"}),
        ("docker", 0, {}, {"--user": "0:1000"}),
        ("podman", 1000, {}, {"--user": "1000:1000", "--userns": "keep-id", "--pid": "private"}),
        ("podman", 1001, {}, {"--user": "0:0", "--pid": "private"}),
        ("podman", 0, {}, {"--user": "0:1000", "--pid": "private"}),
    ],
)
def test_a_command_runs_as_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, uid: int, environ: dict, words: dict
):
    (tmp_path / "subuid").write_text("surely-nobody:1:1\n1000:100000:65536\n")
    monkeypatch.setattr(commandline, "_SUBUID", str(tmp_path / "subuid"))
    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(os, "getgid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [27, 1000])
    line = argv(engine(kind), wanted(), ["sh"], environ)
    found = {
        word: line[at + 1] for at, word in enumerate(line) if word in ("--user", "--userns", "--pid", "--group-add")
    }
    assert found == words


def test_what_the_user_says_stands_alone():
    line = argv(engine("podman"), wanted(arguments=("u=1", "net=none", "name=x", "pid=host", "t")), ["sh"], {})
    assert not {"--user", "--network", "--pid", "--interactive", "--name"} & set(line)
    assert line[line.index("-u") + 1] == "1"
    assert "--net=none" in line


@pytest.mark.parametrize(
    ("entrypoint", "prefix"),
    [
        ((), None),
        (("/opt/entry.sh",), None),
        (("/bin/bash", "-c"), ""),
        (("python3.12", "-m", "a b"), "python3.12 -m 'a b' "),
        (("/usr/bin/tini", "--"), None),
    ],
)
def test_entrypoints_that_do_not_pass_a_line_on_are_replaced(entrypoint: tuple[str, ...], prefix: str | None):
    assert inside.replaced(entrypoint) == prefix


def test_apptainer_cannot_take_a_colon():
    with pytest.raises(EnvironmentBuildError, match="no colon"):
        argv(engine("apptainer"), wanted(mounts=(Mount("/a:b", "/c"),)), ["sh"], {})
