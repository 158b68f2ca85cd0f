"""Environments on the lab machine: built there from the same lock, with an index it reaches, or with packages sent."""

import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project
from tests.environments.wheels import make_wheel
from tests.machines import Machine

PRINTS = "entry_points:\n  main: {command: 'python -c \"import tiny; print(tiny.VERSION)\"; python -m pip --version'}\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def index(machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An index of wheels on the near side, which the machine reaches over the link."""
    folder = tmp_path / "index" / "simple" / "tiny"
    make_wheel(folder, "tiny", "1.0")
    handler = functools.partial(Quiet, directory=str(tmp_path / "index"))
    server = http.server.ThreadingHTTPServer((machine.near_address, 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{machine.near_address}:{server.server_port}/simple/")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def packaged(project: Project) -> Project:
    project.write("MLproject", PRINTS)
    project.write("requirements.txt", "tiny\n")
    project.commit()
    return project


def test_the_environment_is_built_there(mlrun: Mlrun, packaged: Project, index: Path):
    said = mlrun("run", packaged.path, "--on", "lab").ok()
    assert said.out.startswith("1.0\npip ")
    environment = mlrun.show()["environment"]
    packages = {one["name"]: one for one in environment["packages"]}
    assert set(packages) == {"pip", "tiny"}
    assert packages["tiny"]["digests"]
    assert environment["lock"] is not None
    make_wheel(index, "tiny", "2.0")
    again = mlrun("run", packaged.path, "--on", "lab").ok()
    assert again.out.startswith("1.0\n")
    assert mlrun.show()["environment"]["reused"]
    assert mlrun("run", packaged.path, "--on", "lab", "--upgrade").ok().out.startswith("2.0\n")


def test_home_and_cache_may_be_on_two_disks(mlrun: Mlrun, packaged: Project, index: Path, isolated: Machine):
    place = isolated.mount(packaged.path.parent.name)
    mlrun("host", "add", "scratch", "lab", "--cache", f"{place}/cache").ok()
    assert mlrun("run", packaged.path, "--on", "scratch").ok().out.startswith("1.0\n")


def test_uv_caches_where_the_host_has_its_cache(mlrun: Mlrun, packaged: Project, index: Path, machine):
    usual, given = machine.home / ".cache" / "uv", machine.home / "elsewhere"
    shutil.rmtree(usual, ignore_errors=True)  # of former tests
    config = json.dumps({"address": "lab", "cache": str(given if not machine.isolated else "/home/lab/elsewhere")})
    mlrun("run", packaged.path, "-b", "ssh", "-c", config).ok()
    assert (given / "uv").is_dir()
    assert not usual.exists()
    shutil.rmtree(given)


def test_the_lock_made_here_serves_there(mlrun: Mlrun, packaged: Project, index: Path):
    assert mlrun("run", packaged.path).ok().out.startswith("1.0\n")
    lock = mlrun.show()["environment"]["lock"]
    make_wheel(index, "tiny", "2.0")
    packaged.write("requirements.txt", "tiny  # the same\n")
    packaged.write("requirements.txt", "tiny\n")
    assert mlrun("run", packaged.path, "--on", "lab").ok().out.startswith("1.0\n")
    assert mlrun.show()["environment"]["lock"] == lock


def test_a_link_names_the_packages(mlrun: Mlrun, packaged: Project, index: Path):
    (packaged.path / "requirements.txt").rename(packaged.path / "base.txt")
    (packaged.path / "requirements.txt").symlink_to("base.txt")
    mlrun("run", packaged.path).ok()
    lock = mlrun.show()["environment"]["lock"]
    mlrun("run", packaged.path, "--on", "lab").ok()
    assert mlrun.show()["environment"]["lock"] == lock


def test_a_run_made_here_runs_again_there_and_back(mlrun: Mlrun, packaged: Project, index: Path, monkeypatch):
    command = "pip list --format=freeze | grep tiny > out"
    packaged.write("MLproject", f"outputs: [out]\nentry_points:\n  main: {{command: '{command}'}}\n")
    packaged.commit()
    mlrun("run", packaged.path, "--run-name", "here").ok()
    make_wheel(index, "tiny", "2.0")
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "file:///nowhere")
    said = mlrun("rerun", "here", "--on", "lab", "--check", "--run-name", "there").ok()
    assert "identical" in said.err
    assert mlrun.show("there")["environment"]["lock"] == mlrun.show("here")["environment"]["lock"]
    mlrun("rerun", "there", "--check").ok()


def test_packages_are_sent_to_a_machine_without_an_index(
    mlrun: Mlrun, packaged: Project, isolated, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "tiny", "1.0", requires=("other",))
    make_wheel(wheels, "other", "3.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    refused = mlrun("run", packaged.path, "--on", "lab")
    assert refused.code == 125
    with (home / ".config" / "mlrun" / "hosts.toml").open("a") as file:
        file.write("[hosts.alone]\naddress = 'lab'\nship_packages = true\n")
    said = mlrun("run", packaged.path, "--on", "alone").ok()
    assert said.out.startswith("1.0\npip ")
    assert {one["name"] for one in mlrun.show()["environment"]["packages"]} == {"pip", "tiny", "other"}
    assert mlrun("run", packaged.path, "--on", "alone").ok().out.startswith("1.0\n")
