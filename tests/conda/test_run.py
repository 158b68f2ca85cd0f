"""Projects with a conda.yaml, run by the real command: channels, pip part, activation, rerun."""

import os
import sys
from pathlib import Path

import pytest

from tests.conda.channel import Channel
from tests.end_to_end.conftest import Mlrun, Project
from tests.environments.projects import make_project
from tests.environments.wheels import make_wheel


@pytest.fixture
def mlrun(tmp_path: Path, shared_tools: None) -> Mlrun:
    return Mlrun(tmp_path)


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    channel = Channel(tmp_path / "channel")
    channel.python()
    channel.module("green", text="def greet(): return 'hello'\n")
    return channel


@pytest.fixture
def project(tmp_path: Path, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> Project:
    make_wheel(tmp_path / "wheels", "red")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    project = Project(tmp_path / "project")
    project.path.mkdir()
    project.write(
        "MLproject",
        "conda_env: conda.yaml\n"
        "entry_points:\n"
        "  main: {parameters: {who: {type: string, default: you}}, command: 'python main.py {who}'}\n"
        "  show: {command: 'echo [$NATIVE_HOME] [$STORED] [$GREETING] [$VIRTUAL_ENV] [$CONDA_DEFAULT_ENV]'}\n",
    )
    project.write(
        "conda.yaml",
        "name: small\n"
        "channels: [../channel, nodefaults]\n"
        "dependencies: ['python>=3.8,<4', green=1.0, {pip: [red]}]\n"
        "variables: {GREETING: 'good day'}\n",
    )
    project.write("main.py", "import sys, green, red\nprint(green.greet(), red.VERSION, sys.argv[1])\n")
    return project


def test_a_conda_project_runs_and_runs_again_from_its_record(mlrun: Mlrun, project: Project, channel: Channel):
    assert mlrun("run", project.path, "-P", "who=world").ok().out == "hello 1.0 world\n"
    record = mlrun.show()
    environment = record["environment"]
    assert (environment["kind"], environment["lock_origin"]) == ("conda", "resolved")
    assert {one["name"] for one in environment["packages"]} == {"python", "green", "red"}
    assert all(one["digests"] for one in environment["packages"])
    assert environment["interpreter"]["version"] == ".".join(map(str, sys.version_info[:3]))
    channel.module("green", "1.0.1", text="def greet(): return 'changed'\n")
    again = mlrun("rerun", "latest").ok()
    assert again.out == "hello 1.0 world\n"
    assert mlrun.show()["environment"]["lock_origin"] == "pinned"
    assert mlrun.show()["environment"]["lock"] == environment["lock"]


def test_activation_scripts_and_stored_variables_reach_the_command(mlrun: Mlrun, project: Project, channel: Channel):
    channel.package(
        "native",
        files={
            "etc/conda/activate.d/a.sh": 'echo "noise of a script"\nexport NATIVE_HOME="$CONDA_PREFIX/native"\nfalse\n',
            "etc/conda/env_vars.d/native.json": '{"STORED": "yes"}',
        },
    )
    project.write("conda.yaml", (project.path / "conda.yaml").read_text().replace("green=1.0", "green=1.0, native"))
    said = mlrun("run", project.path, "-e", "show", VIRTUAL_ENV="/of/the/caller").ok()
    home = os.environ["MLRUN_CACHE"]
    native, stored, greeting, virtual, conda = said.out.strip().strip("[]").split("] [")
    assert native.startswith(f"{home}/envs/")
    assert native.endswith("/native")
    assert (stored, greeting, virtual) == ("yes", "good day", "")
    assert f"{conda}/native" == native


def test_the_pip_part_of_a_file_in_a_subdirectory_is_relative_to_it(mlrun: Mlrun, project: Project, tmp_path: Path):
    make_project(project.path, "outer")
    make_project(project.path / "conf", "inner")
    project.write("MLproject", "conda_env: conf/conda.yaml\nentry_points: {main: {command: python main.py}}\n")
    pip = "['--find-links links', -r lists/all.txt]"
    project.write("conf/conda.yaml", f"channels: [../channel]\ndependencies: [python, green, pip: {pip}]\n")
    project.write("conf/lists/all.txt", "-c limits.txt\n-e .\npink\n")
    project.write("conf/lists/limits.txt", "pink==1.0\n")
    make_wheel(project.path / "conf" / "links", "pink")
    project.write("main.py", "import green, pink, inner\nprint(inner.VALUE, pink.VERSION)\n")
    for argv in (("run", project.path), ("run", project.path, "--isolated"), ("rerun", "latest")):
        assert mlrun(*argv).ok().out == "1 1.0\n"
    mlrun("lock", project.path).ok()
    assert '{ path = \\"conf\\", editable = true }' in next(project.path.glob("condalock*")).read_text()
    assert mlrun("run", project.path).ok().out == "1 1.0\n"


def test_a_script_that_ends_the_shell_fails_the_run(mlrun: Mlrun, project: Project, channel: Channel):
    channel.package("native", files={"etc/conda/activate.d/a.sh": "echo no such GPU >&2\nexit 3\n"})
    project.write("conda.yaml", (project.path / "conda.yaml").read_text().replace("green=1.0", "green=1.0, native"))
    said = mlrun("run", project.path, "-e", "show")
    assert said.code == 125
    assert "an activation script of the environment has ended the shell: no such GPU" in said.err
    assert mlrun.show()["run"]["status"] == "failed"


def test_a_conda_project_as_a_virtual_environment(mlrun: Mlrun, project: Project):
    project.write("main.py", "import red\nprint(red.VERSION)\n")
    said = mlrun("run", project.path, "--env-manager", "virtualenv").ok()
    assert said.out == "1.0\n"
    assert "left out: green=1.0" in said.err


def test_every_command_understands_where_it_stands(mlrun: Mlrun, project: Project):
    assert "a run would resolve them" in mlrun("env", "why", ".", cwd=project.path).ok().out
    mlrun("check", ".", cwd=project.path).ok()
    mlrun("lock", ".", cwd=project.path).ok()
    assert mlrun("run", ".", cwd=project.path).ok().out == "hello 1.0 you\n"
    assert "ready" in mlrun("env", "why", ".", cwd=project.path).ok().out
    [listed] = mlrun("env", "list", "--json").ok().json["environments"]
    assert (listed["kind"], listed["state"]) == ("conda", "ready")
    mlrun("env", "verify").ok()


def test_a_channel_out_of_reach_is_told_plainly(mlrun: Mlrun, project: Project):
    project.write("conda.yaml", "channels: ['https://127.0.0.1:9/nowhere']\ndependencies: [green]\n")
    said = mlrun("run", project.path)
    assert said.code == 125
    assert "127.0.0.1:9" in said.err
    assert "hint: conda packages need the network" in said.err
    assert "Traceback" not in said.err
