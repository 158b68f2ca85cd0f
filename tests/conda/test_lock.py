"""Locks of conda projects: written by `mlrun lock`, used by runs, renewed, refused when stale."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from runner.errors import EnvironmentBuildError
from runner.records import schemas
from runner.worker.environment.conda import lockfile
from tests.conda.channel import HERE, Channel
from tests.end_to_end.conftest import Mlrun, Project
from tests.environments.projects import make_project
from tests.environments.wheels import make_wheel

NAME = f"condalock.mlrun.{HERE}.json"
OTHER = "osx-arm64"


@pytest.fixture
def mlrun(tmp_path: Path, shared_tools: None) -> Mlrun:
    return Mlrun(tmp_path)


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    channel = Channel(tmp_path / "channel")
    channel.python()
    channel.module("green")
    return channel


@pytest.fixture
def project(tmp_path: Path, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> Project:
    make_wheel(tmp_path / "wheels", "red")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    project = Project(tmp_path / "project")
    project.path.mkdir()
    project.write("MLproject", "entry_points: {main: {command: 'python main.py'}}\n")
    project.write("conda.yaml", "channels: [../channel]\ndependencies: [python, green, {pip: [red]}]\n")
    project.write("main.py", "import green, red\nprint(green.VERSION, red.VERSION)\n")
    return project


def test_a_lock_with_the_project_itself_stays_as_it_is(mlrun: Mlrun, project: Project, tmp_path: Path):
    make_project(project.path, "mine")
    project.write("conda.yaml", "channels: [../channel]\ndependencies: [python, {pip: [red, -e .]}]\n")
    project.write("main.py", "import mine\nprint(mine.VALUE)\n")
    assert mlrun("run", project.path).ok().out == "1\n"
    mlrun("lock", project.path).ok()
    own = b'directory = { path = \\".\\", editable = true }'
    assert own in (project.path / NAME).read_bytes()
    make_wheel(tmp_path / "wheels", "red", "2.0")
    mlrun("lock", project.path, "--upgrade", "red").ok()
    after = (project.path / NAME).read_bytes()
    assert own in after
    assert b"red-2.0" in after
    assert mlrun("run", project.path).ok().out == "1\n"


def test_a_committed_lock_is_what_runs_install(mlrun: Mlrun, project: Project, channel: Channel, tmp_path: Path):
    said = mlrun("lock", project.path).ok()
    assert f"{NAME}: 3 packages for Python 3." in said.err
    written = json.loads((project.path / NAME).read_bytes())
    assert list(Draft202012Validator(schemas.load("conda-lock")).iter_errors(written)) == []
    channel.module("green", "2.0")
    make_wheel(tmp_path / "wheels", "red", "2.0")
    assert mlrun("run", project.path).ok().out == "1.0 1.0\n"
    environment = mlrun.show()["environment"]
    assert environment["lock_origin"] == "project"
    assert "nothing new" in mlrun("lock", project.path).ok().err
    mlrun("lock", project.path, "--upgrade").ok()
    assert mlrun("run", project.path).ok().out == "2.0 2.0\n"


def test_a_single_package_is_renewed(mlrun: Mlrun, project: Project, channel: Channel, tmp_path: Path):
    mlrun("lock", project.path).ok()
    channel.module("green", "2.0")
    make_wheel(tmp_path / "wheels", "red", "2.0")
    mlrun("lock", project.path, "--upgrade", "red").ok()
    assert mlrun("run", project.path).ok().out == "1.0 2.0\n"
    mlrun("lock", project.path, "--upgrade", "green").ok()
    assert mlrun("run", project.path).ok().out == "2.0 2.0\n"
    said = mlrun("lock", project.path, "--upgrade", "nonsense")
    assert said.code == 125
    assert "no such package" in said.err


def test_a_run_renews_a_single_package(mlrun: Mlrun, project: Project, channel: Channel, tmp_path: Path):
    assert mlrun("run", project.path).ok().out == "1.0 1.0\n"
    channel.module("green", "2.0")
    make_wheel(tmp_path / "wheels", "red", "2.0")
    assert mlrun("run", project.path, "--upgrade", "green").ok().out == "2.0 1.0\n"
    assert mlrun("run", project.path).ok().out == "2.0 1.0\n"


def test_a_stale_lock_stops_a_run(mlrun: Mlrun, project: Project):
    mlrun("lock", project.path).ok()
    project.write("conda.yaml", "channels: [../channel]\ndependencies: [python, green>=1, {pip: [red]}]\n")
    said = mlrun("run", project.path)
    assert said.code == 125
    assert f"{NAME} is stale" in said.err
    assert mlrun("list", "--json").ok().json["runs"] == []  # told before there is a run
    assert f"{NAME} is stale" in mlrun("check", project.path).out
    mlrun("lock", project.path).ok()
    mlrun("run", project.path).ok()


def test_each_environment_of_a_project_has_a_lock_of_its_own(mlrun: Mlrun, project: Project, channel: Channel):
    project.write("envs/more.yaml", "channels: [../channel]\ndependencies: [python, green>=1]\n")
    command = "'python -c \"import green; print(green.VERSION)\"'"
    project.write(
        "MLproject", f"entry_points:\n  main: {{command: {command}}}\n"
        f"  more: {{command: {command}, conda_env: envs/more.yaml}}\n"
    )  # fmt: skip
    mlrun("lock", project.path).ok()
    before = (project.path / NAME).read_bytes()
    said = mlrun("run", project.path, "-e", "more")
    assert said.code == 125
    assert f"{NAME} is for the environment of conda.yaml, and this one is of envs/more.yaml" in said.err
    channel.module("green", "2.0")
    mlrun("lock", project.path, "-e", "more").ok()
    own = project.path / f"condalock.mlrun-envs-more.{HERE}.json"
    assert (own.exists(), (project.path / NAME).read_bytes()) == (True, before)
    assert mlrun("run", project.path).ok().out == "1.0\n"
    assert mlrun("run", project.path, "-e", "more").ok().out == "2.0\n"
    mlrun("check", project.path).ok()
    project.write("envs/more.yaml", "channels: [../channel]\ndependencies: [python, green]\n")
    assert f"{own.name} is stale" in mlrun("run", project.path, "-e", "more").err
    assert mlrun("run", project.path).ok().out == "1.0\n"


def test_a_lock_follows_a_file_that_is_renamed(mlrun: Mlrun, project: Project, channel: Channel):
    mlrun("lock", project.path).ok()
    channel.module("green", "2.0")
    (project.path / "conda.yaml").rename(project.path / "env.yaml")
    project.write("MLproject", "conda_env: env.yaml\nentry_points: {main: {command: 'python main.py'}}\n")
    assert "is for the environment of conda.yaml, and this one is of env.yaml" in mlrun("run", project.path).err
    mlrun("lock", project.path).ok()
    assert [path.name for path in project.path.glob("condalock.*")] == [NAME]
    assert mlrun("run", project.path).ok().out == "1.0 1.0\n"


def test_a_lock_for_another_platform(mlrun: Mlrun, project: Project, channel: Channel):
    for name in ("python", "native"):
        channel.package(name, "3.11.7" if name == "python" else "1.0", subdir=OTHER)
    channel.package("native", "1.0")
    text = "channels: [../channel]\ndependencies: [python, native, green, {pip: [red]}]\n"
    project.write("conda.yaml", text)
    mlrun("lock", project.path, "--platform", HERE, "--platform", "macosx-arm64").ok()
    other = lockfile.read((project.path / f"condalock.mlrun.{OTHER}.json").read_bytes())
    assert {one.subdir for one in other.packages} == {OTHER, "noarch"}
    assert any(one.startswith("__osx=") for one in other.virtual)
    assert mlrun("run", project.path).ok().out == "1.0 1.0\n"
    project.write("conda.yaml", text.replace("native", "native>=1"))
    said = mlrun("lock", project.path).ok()  # both are brought up to date
    assert said.err.count("wrote") == 2
    channel.package("native", "2.0")  # not for the other
    project.write("conda.yaml", text.replace("native", "native>=2"))
    before = (project.path / NAME).read_bytes()
    assert mlrun("lock", project.path).code == 125
    assert (project.path / NAME).read_bytes() == before
    said = mlrun("lock", project.path, "--platform", "amiga")
    assert said.code == 2
    assert "linux-64" in said.err


def test_a_lock_of_another_entry_points_environment_is_not_called_stale(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points: {main: {command: ls}, b: {conda_env: b.yaml, command: ls}}\n")
    project.write("b.yaml", "channels: [../channel]\ndependencies: [green]\n")
    mlrun("lock", project.path, "-e", "b").ok()
    said = mlrun("run", project.path)
    assert f"error: {NAME} is for the environment of b.yaml, and this one is of conda.yaml\n" in said.err
    mlrun("run", project.path, "-e", "b").ok()


def test_packages_as_of_a_date(mlrun: Mlrun, project: Project, channel: Channel):
    channel.module("green", "2.0", timestamp=1_750_000_000_000)  # June 2025
    project.write("conda.yaml", "channels: [../channel]\ndependencies: [python, green]\n")
    project.write("main.py", "import green\nprint(green.VERSION)\n")
    mlrun("lock", project.path, "--exclude-newer", "2024-06-01").ok()
    assert mlrun("run", project.path).ok().out == "1.0\n"
    assert f"{NAME} is the project's lock" in mlrun("run", project.path, "--exclude-newer", "30d").err
    channel.module("green", "1.5", timestamp=0, told={"timestamp": None})
    said = mlrun("lock", project.path, "--upgrade", "--exclude-newer", "2024-06-01").ok()
    assert "note: the channels do not say how old these are, and they are taken: green 1.5\n" in said.err
    assert mlrun("run", project.path).ok().out == "1.5\n"
    channel.remove(next(channel.path.glob("noarch/green-1.5-*")))
    said = mlrun("lock", project.path, "--upgrade", "--exclude-newer", "2020-01-01")
    assert said.code == 125
    assert "cutoff date of 2020-01-01" in said.err
    assert "hint: take a later --exclude-newer, or none" in said.err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no JSON"),
        (b"[]", "should be dict"),
        (b'{"platform": "linux-64"}', "lacks the key 'packages'"),
        (b'{"platform": "linux-64", "packages": [], "version": 99}', "version 99"),
    ],
)
def test_what_is_no_lock_is_told(data: bytes, words: str):
    with pytest.raises(EnvironmentBuildError, match=words) as caught:
        lockfile.read(data, "x.json")
    assert "mlrun lock" in caught.value.hint
