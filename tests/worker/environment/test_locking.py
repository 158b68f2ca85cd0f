"""Locks of the project, of other tools, and where each is from."""

import shutil
import subprocess
from pathlib import Path

import pytest

from runner.environments.choice import Choice
from runner.environments.lock import lock
from runner.environments.locked import LockAsk
from runner.environments.plan import plan
from runner.errors import EnvironmentBuildError, ProjectError
from tests.environments.projects import make_project
from tests.environments.wheels import make_wheel

from .conftest import Host


def locked(host: Host, **wishes):
    return all_locked(host, **wishes)[0]


def all_locked(host: Host, caller: "dict[str, str] | None" = None, **wishes):
    links = {"PIP_CONFIG_FILE": "/dev/null", "UV_FIND_LINKS": str(host.wheels), "PIP_NO_INDEX": "1"}
    return lock(
        host.project,
        Choice(),
        LockAsk(**wishes),
        placement=host.placement,
        objects=host.objects,
        caller_environ=caller or links,
        say=host.said.append,
    )


def planned(host: Host, **placed):
    environment = plan(host.project, Choice(), caller_environ={"PIP_CONFIG_FILE": "/dev/null"}).spec
    from dataclasses import replace

    host.said.clear()
    return host.carry_out(replace(host.spec(), environment=environment), **placed)


@pytest.fixture
def project(host: Host) -> Path:
    (host.project / "python_env.yaml").write_text("dependencies: [red]\n")
    return host.project


def version_of(environment, name: str) -> str:
    return next(one.version for one in environment.packages if one.name == name)


def test_a_lock_in_the_project_is_used(host: Host, project: Path) -> None:
    made = locked(host)
    assert (made.path, made.packages, made.changed) == (project / "pylock.mlrun.toml", 2, True)
    make_wheel(host.wheels, "blue", "2.0")
    environment = planned(host)
    assert environment.lock_origin == "project"
    assert version_of(environment, "blue") == "1.0"
    assert version_of(planned(host, upgrade=True), "blue") == "2.0"
    assert planned(host).reused


def test_locking_again_keeps_versions_until_upgraded(host: Host, project: Path) -> None:
    locked(host)
    make_wheel(host.wheels, "blue", "2.0")
    assert not locked(host).changed
    assert b"2.0" not in (project / "pylock.mlrun.toml").read_bytes()
    assert locked(host, upgrade=True).changed
    assert version_of(planned(host), "blue") == "2.0"


def test_a_stale_lock_stops_the_run_until_it_is_renewed(host: Host, project: Path) -> None:
    locked(host)
    make_wheel(host.wheels, "blue", "2.0")
    make_wheel(host.wheels, "green")
    (project / "python_env.yaml").write_text("dependencies: [red, green]\n")
    with pytest.raises(EnvironmentBuildError, match="stale") as caught:
        planned(host)
    assert "mlrun lock" in caught.value.hint
    assert locked(host).changed
    environment = planned(host)
    assert host.names(environment) == {"red", "blue", "green"}
    assert version_of(environment, "blue") == "1.0"


def test_a_lock_for_another_platform_is_left_with_a_word(host: Host, project: Path) -> None:
    path = locked(host).path
    path.write_text(path.read_text().replace('"platform":"linux', '"platform":"plan9'))
    assert planned(host).lock_origin == "resolved"
    assert any("plan9" in line for line in host.said)


@pytest.mark.parametrize("text", ["", "# mlrun-lock: {", 'lock-version = "1.0"\n'])
def test_a_lock_without_its_header_is_told_and_can_be_made_again(host: Host, project: Path, text: str) -> None:
    (project / "pylock.mlrun.toml").write_text(text)
    with pytest.raises(EnvironmentBuildError, match="does not say what it is for"):
        planned(host)
    assert locked(host).changed
    assert planned(host).lock_origin == "project"


def test_what_has_a_lock_of_its_own_gets_no_second(host: Host) -> None:
    (host.project / "pylock.toml").write_text('lock-version = "1.0"\npackages = []\n')
    with pytest.raises(ProjectError, match=r"pylock\.toml is a lock already"):
        locked(host)


def test_a_pylock_of_the_project_is_the_lock(host: Host) -> None:
    words = ["pip", "compile", "-", "--format", "pylock.toml", "--generate-hashes", "--no-index", "--find-links"]
    argv = [host.placement.uv, *words, str(host.wheels), "-q", "-o", "pylock.toml"]
    subprocess.run(argv, cwd=host.project, input=b"red==1.0\n", check=True, capture_output=True)
    environment = planned(host)
    assert environment.lock_origin == "project"
    assert host.names(environment) == {"red", "blue"}


def test_a_uv_lock_is_exported_and_must_be_up_to_date(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    pyproject = host.project / "pyproject.toml"
    text = (
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["red"]\n'
        f'[tool.uv]\nno-index = true\nfind-links = ["{host.wheels}"]\n'
    )
    pyproject.write_text(text)
    assert host.placement.uv
    subprocess.run([host.placement.uv, "lock", "-q"], cwd=host.project, check=True, capture_output=True)
    environment = planned(host)
    assert host.names(environment) == {"red", "blue"}
    assert not (host.project / ".venv").exists()
    pyproject.write_text(text.replace('"red"', '"red", "blue<1"'))
    with pytest.raises(EnvironmentBuildError, match=r"uv\.lock cannot be used") as caught:
        planned(host)
    assert "uv lock" in caught.value.hint


def test_a_lost_lock_object_is_resolved_again(host: Host) -> None:
    first = host.prepare("red")
    shutil.rmtree(host.root / "store")
    again = host.prepare("red")
    assert (again.lock_origin, again.reused, again.lock) == ("resolved", True, first.lock)


def test_a_lost_pinned_lock_is_told(host: Host) -> None:
    with pytest.raises(EnvironmentBuildError, match="pinned lock cannot be used"):
        host.prepare("red", lock="0" * 64)


def test_a_line_that_uv_refuses_is_quoted(host: Host) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"cannot be resolved: .*: --frobnicate$"):
        host.prepare("red", "--frobnicate")


def test_a_lock_that_cannot_be_written_is_told_and_nothing_is_left(host: Host, project: Path) -> None:
    (project / "pylock.mlrun.toml").mkdir()
    before = sorted(project.iterdir())
    with pytest.raises(ProjectError, match=r"cannot write .*pylock\.mlrun\.toml: Is a directory"):
        locked(host)
    assert sorted(project.iterdir()) == before


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("old", "name a Python that all of them support"),
        ("red==99", "check the names and versions in"),
        ("nowhere-connector", "check the names and versions in"),
        ("-e git+file:///nowhere#egg=red", "leave out the `-e`"),
        ("./broken", "see what its build says"),
        ("red<1,>2", "change the requirement lines"),
    ],
)
def test_what_to_do_goes_by_what_uv_says(host: Host, line: str, cure: str) -> None:
    make_wheel(host.wheels, "old", tag="cp27-none-any")
    make_project(host.project / "broken", "broken")
    (host.project / "broken" / "backend.py").write_text("raise SystemExit('requires python, and to connect')\n")
    about = host.project / "broken" / "pyproject.toml"
    about.write_text(about.read_text().replace('version = "0.1"', 'dynamic = ["version"]'))
    with pytest.raises(EnvironmentBuildError, match="cannot be resolved") as caught:
        host.prepare(line)
    assert caught.value.hint.startswith(cure), caught.value


def test_a_lock_that_is_damaged_is_made_again(host: Host, project: Path) -> None:
    path = locked(host).path
    whole = path.read_bytes()
    path.write_bytes(whole + b"???\n")
    assert locked(host).changed
    assert path.read_bytes() == whole
