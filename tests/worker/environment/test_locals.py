"""`-e .` and `.`: the project's own code in its environment."""

import subprocess
from pathlib import Path

from runner.worker.facts import InstalledEnvironment
from tests.environments.projects import make_project

from .conftest import Host


def value_in(environment: InstalledEnvironment, module: str = "mine") -> str:
    program = f"import {module}, red; print({module}.VALUE)"
    argv = [f"{environment.bin}/python", "-I", "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def test_an_editable_project_runs_as_it_is_edited(host: Host) -> None:
    make_project(host.project, "mine", "red")
    environment = host.prepare("-e .")
    assert host.names(environment) == {"mine", "red", "blue"}
    assert value_in(environment) == "1"
    (host.project / "mine.py").write_text("VALUE = 20\n")  # of another size: within a second, Python goes by that
    again = host.prepare("-e .", manifest="1" * 64)
    assert again.reused
    assert value_in(again) == "20"


def test_a_copied_project_is_installed_again_when_its_source_changes(host: Host) -> None:
    make_project(host.project, "mine", "red")
    assert value_in(host.prepare(".")) == "1"
    (host.project / "mine.py").write_text("VALUE = 2\n")
    again = host.prepare(".", manifest="1" * 64)
    assert not again.reused
    assert value_in(again) == "2"


def test_two_projects_never_share_what_points_into_one(host: Host) -> None:
    make_project(host.project, "mine", "red")
    first = host.prepare("-e .")
    other = Host(host.root / "other")
    other.placement = type(host.placement)(**{**vars(host.placement), "root": str(other.project)})
    make_project(other.project, "mine", "red")
    (other.project / "mine.py").write_text("VALUE = 3\n")
    second = other.prepare("-e .")
    assert second.key != first.key
    assert (value_in(first), value_in(second)) == ("1", "3")
    assert second.installed_digest == first.installed_digest


def test_in_a_fresh_directory_the_environment_lies_with_the_run(host: Host) -> None:
    make_project(host.project, "mine", "red")
    environment = host.prepare("-e .", placed={"root": None})
    assert environment.prefix.startswith(str(host.root / "scratch"))
    assert value_in(environment) == "1"
    assert not list(host.cache.glob("envs/*"))


def test_a_build_leaves_nothing_in_the_project(host: Host) -> None:
    make_project(host.project, "mine", "red")
    kept = host.project / "other.egg-info"
    kept.mkdir()
    before = sorted(path.name for path in host.project.iterdir())
    for requirement in ("-e .", "."):
        host.prepare(requirement)
        assert sorted(path.name for path in host.project.iterdir() if path.name != "__pycache__") == before


def test_a_lock_of_a_project_names_it_by_its_place(host: Host) -> None:
    make_project(host.project / "lib", "mine", "red")
    spec = host.spec("mine @ file:./lib")
    first = host.carry_out(spec)
    lock = host.objects.read(first.lock or "").decode()
    assert str(host.root / "project") not in lock
    assert 'directory = { path = "lib" }' in lock
    again = host.carry_out(first.pin(spec))
    assert again.reused
    assert value_in(again) == "1"
    assert Path(again.prefix) == Path(first.prefix)
