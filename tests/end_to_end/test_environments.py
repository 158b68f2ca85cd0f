"""Environments through the command line: locked at first use, kept, reused, renewed when asked."""

import json
import os
import shutil
import signal
import zipfile
from pathlib import Path

import pytest

from runner.worker.environment.upkeep import remove, shelved
from tests.end_to_end.conftest import Mlrun, Project, until
from tests.environments.projects import make_project

PYTHON_ENV = "python_env.yaml"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of wheels that pip's configuration names, and no index: nothing comes from the network."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


def wheel(directory: Path, name: str, version: str, text: str = "") -> None:
    """Write a wheel with one module that prints its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = '{version}'\n{text}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)


@pytest.fixture
def tool(project: Project, wheels: Path) -> Project:
    """A project that prints the version of the package it depends on."""
    wheel(wheels, "tool", "1.0")
    project.write(PYTHON_ENV, "dependencies: [tool]\n")
    project.write("MLproject", "entry_points:\n  main: {command: 'python -c \"import tool; print(tool.VERSION)\"'}\n")
    return project


def test_an_unpinned_requirement_does_not_drift_by_itself(mlrun: Mlrun, tool: Project, wheels: Path):
    assert mlrun("run", tool.path).ok().out == "1.0\n"
    wheel(wheels, "tool", "2.0")
    assert mlrun("run", tool.path).ok().out == "1.0\n"
    assert mlrun("run", tool.path, "--upgrade").ok().out == "2.0\n"
    assert mlrun("run", tool.path).ok().out == "2.0\n"
    first = mlrun("list", "--json").json["runs"][-1]["id"]
    assert mlrun("rerun", first).ok().out == "1.0\n"


def test_the_record_names_packages_with_their_hashes(mlrun: Mlrun, tool: Project):
    mlrun("run", tool.path).ok()
    environment = mlrun.show()["environment"]
    [package] = [p for p in environment["packages"] if p["name"] == "tool"]
    assert package["version"] == "1.0"
    assert len(package["digests"][0]["sha256"]) == 64
    assert environment["interpreter"]["version"]
    assert environment["lock"]


def test_the_environment_is_reused_and_an_edited_one_is_not(mlrun: Mlrun, tool: Project, home: Path):
    mlrun("run", tool.path).ok()
    mlrun("run", tool.path).ok()
    assert mlrun.show()["environment"]["reused"] is True
    [module] = (home / "cache").rglob("site-packages/tool.py")
    module.write_text("VERSION = 'edited'\n")
    said = mlrun("run", tool.path).ok()
    assert said.out == "1.0\n"
    assert mlrun.show()["environment"]["reused"] is False


def test_lock_is_written_into_the_project_and_used(mlrun: Mlrun, tool: Project, wheels: Path, home: Path):
    mlrun("lock", tool.path).ok()
    assert (tool.path / "pylock.mlrun.toml").read_text().count("tool") >= 1
    wheel(wheels, "tool", "2.0")
    shutil.rmtree(home / "cache")
    assert mlrun("run", tool.path).ok().out == "1.0\n"
    assert mlrun.show()["environment"]["lock_origin"] == "project"
    mlrun("lock", tool.path, "--upgrade").ok()
    assert mlrun("run", tool.path).ok().out == "2.0\n"


def test_a_lock_with_the_projects_own_code_stays_as_it_is(mlrun: Mlrun, tool: Project, wheels: Path):
    make_project(tool.path, "mine")
    make_project(tool.path / "lib", "other")
    wheel(wheels, "more", "1.0")
    tool.write(PYTHON_ENV, "dependencies: [tool, more, -e ., ./lib]\n")
    mlrun("lock", tool.path).ok()
    lock = tool.path / "pylock.mlrun.toml"
    before = lock.read_text()
    assert 'path = ".", editable = true' in before
    assert "nothing new" in mlrun("lock", tool.path).ok().err
    wheel(wheels, "tool", "2.0")
    wheel(wheels, "more", "2.0")
    mlrun("lock", tool.path, "--upgrade", "tool").ok()
    assert [line for line in lock.read_text().splitlines() if "directory" in line] == [
        line for line in before.splitlines() if "directory" in line
    ]
    assert mlrun("run", tool.path).ok().out == "2.0\n"
    lock.unlink()
    assert mlrun("run", tool.path).ok().out == "2.0\n"
    assert mlrun("run", tool.path, "--upgrade", "more").ok().out == "2.0\n"


def test_an_environment_that_no_path_can_name_is_refused(mlrun: Mlrun, tool: Project, home: Path):
    """The command would have got the host's own Python, and the record would have said otherwise."""
    said = mlrun("run", tool.path, MLRUN_CACHE=str(home / "12:30"))
    assert said.code == 125
    assert "12:30/envs/" in said.err
    assert "no PATH can name one with a colon" in said.err
    assert mlrun.show()["run"]["status"] == "failed"
    assert mlrun("run", tool.path, "--env-manager", "local", "-P", "x=1", MLRUN_CACHE=str(home / "12:30")).code == 1


def test_paths_in_requirement_lines_may_hold_variables(mlrun: Mlrun, tool: Project, wheels: Path):
    make_project(tool.path / "lib", "mine")
    wheel(tool.path / "lib", "more", "1.0")
    tool.write("lists/base.txt", "tool\n")
    tool.write("requirements.txt", "-r ${WHERE}/base.txt\n-e ${PROJECT_ROOT}/lib\n./${LIB}/more-1.0-py3-none-any.whl\n")
    tool.write(PYTHON_ENV, "dependencies: [-r requirements.txt]\n")
    tool.write("MLproject", "entry_points:\n  main: {command: 'python -c \"import tool, more, mine\"'}\n")
    mlrun("run", tool.path, WHERE="lists", LIB="lib").ok()
    files = [one["path"] for one in mlrun.show()["environment"]["files"]]
    assert {"lists/base.txt", "lib/pyproject.toml", "lib/more-1.0-py3-none-any.whl"} <= set(files)
    mlrun("rerun", "latest").ok()
    said = mlrun("run", tool.path, LIB="lib")
    assert (said.code, "${WHERE}/base.txt" in said.err) == (125, True)


def test_a_lock_of_another_entry_points_environment_is_not_called_stale(mlrun: Mlrun, tool: Project):
    tool.write("other.yaml", "dependencies: ['tool>=1']\n")
    tool.write(
        "MLproject", "python_env: python_env.yaml\nentry_points:\n  main: {command: 'true'}\n"
        "  other: {command: 'true', python_env: other.yaml}\n"
    )  # fmt: skip
    mlrun("lock", tool.path).ok()
    mlrun("run", tool.path).ok()
    said = mlrun("run", tool.path, "-e", "other")
    assert said.code == 125
    assert "is for the environment of python_env.yaml, and this one is of other.yaml" in said.err
    assert "(`-e NAME`: an entry point's)" in said.err
    mlrun("run", tool.path, "-e", "other", "--upgrade").ok()


def test_each_environment_of_a_project_has_a_lock_of_its_own(mlrun: Mlrun, tool: Project, wheels: Path):
    command = "'python -c \"import tool; print(tool.VERSION)\"'"
    tool.write("envs/more.yaml", "dependencies: ['tool>=1']\n")
    tool.write(
        "MLproject", f"python_env: python_env.yaml\nentry_points:\n  main: {{command: {command}}}\n"
        f"  other: {{command: {command}, python_env: envs/more.yaml}}\n"
    )  # fmt: skip
    mlrun("lock", tool.path).ok()
    before = (tool.path / "pylock.mlrun.toml").read_bytes()
    wheel(wheels, "tool", "2.0")
    assert "pylock.mlrun-envs-more.toml" in mlrun("lock", tool.path, "-e", "other").ok().err
    assert (tool.path / "pylock.mlrun.toml").read_bytes() == before
    assert mlrun("run", tool.path).ok().out == "1.0\n"
    assert mlrun("run", tool.path, "-e", "other").ok().out == "2.0\n"
    assert mlrun.show()["environment"]["lock_origin"] == "project"
    mlrun("check", tool.path).ok()
    tool.write("envs/more.yaml", "dependencies: ['tool==2.0']\n")
    assert "pylock.mlrun-envs-more.toml is stale" in mlrun("run", tool.path, "-e", "other").err
    assert mlrun("run", tool.path).ok().out == "1.0\n"
    assert "nothing new" in mlrun("lock", tool.path).ok().err


def test_a_swapped_wheel_is_refused_on_a_rerun(mlrun: Mlrun, tool: Project, wheels: Path, home: Path):
    mlrun("run", tool.path).ok()
    shutil.rmtree(home / "cache")
    wheel(wheels, "tool", "1.0", "import os\n")
    said = mlrun("rerun", "latest", UV_CACHE_DIR=str(home / "other-uv-cache"))
    assert said.code == 125
    assert "hash" in said.err.lower()


def test_a_package_that_cannot_be_had_fails_the_run_in_preparation(mlrun: Mlrun, tool: Project):
    tool.write(PYTHON_ENV, "dependencies: [no-such-thing-at-all]\n")
    said = mlrun("run", tool.path)
    assert said.code == 125
    assert "no-such-thing-at-all" in said.err
    record = mlrun.show()
    assert (record["run"]["status"], record["result"]["reason"]) == ("failed", "prepare")


def test_a_running_command_holds_its_environment(mlrun: Mlrun, tool: Project, home: Path):
    tool.write("MLproject", "entry_points:\n  main: {command: 'echo ready; sleep 60; python -c \"import tool\"'}\n")
    run = mlrun("run", tool.path, "--detach").ok().out.strip()
    until(lambda: mlrun("logs", run).out == "ready\n")
    [shelved_one] = shelved(home / "cache")
    assert remove(home / "cache", shelved_one.key) is False
    worker = json.loads((home / "store/runs" / run / "start.json").read_text())["worker"]["pid"]
    os.kill(worker, signal.SIGKILL)
    assert remove(home / "cache", shelved_one.key) is False  # the orphan holds it still
    mlrun("cancel", run).ok()
    assert remove(home / "cache", shelved_one.key) is True
