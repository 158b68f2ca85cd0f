"""What a run gets: built once, taken again, and as its lock says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from virtualenv.seed.wheels.embed import get_embed_wheel

from runner.errors import EnvironmentBuildError
from runner.worker.spec import SpecFile
from tests.environments.wheels import make_wheel
from tests.needs import need, python

from .conftest import Host, module_of


def test_an_environment_is_built_once_and_then_reused(host: Host) -> None:
    first = host.prepare("red")
    assert host.names(first) == {"red", "blue"}
    assert not first.reused
    assert first.lock_origin == "resolved"
    assert first.why == "first use of these packages with this interpreter"
    again = host.prepare("red")
    assert again.reused
    assert again.lock_origin == "cache"
    assert (again.prefix, again.key, again.installed_digest) == (first.prefix, first.key, first.installed_digest)
    assert host.said == []


def test_the_command_finds_its_packages_and_pip(host: Host) -> None:
    environment = host.prepare("red")
    assert environment.variables == {"VIRTUAL_ENV": environment.prefix}
    program = "import red, sys; print(red.VERSION, sys.prefix)"
    done = subprocess.run([f"{environment.bin}/python", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", environment.prefix]
    assert (Path(environment.bin) / "red-tool").exists()
    subprocess.run([f"{environment.bin}/python", "-m", "pip", "--version"], check=True, capture_output=True)


def test_the_record_names_each_archive_by_its_hash(host: Host) -> None:
    wheel = make_wheel(host.wheels, "green")
    environment = host.prepare("green")
    package = next(one for one in environment.packages if one.name == "green")
    digest = subprocess.run(["sha256sum", str(wheel)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert package.sha256 == (digest,)
    assert package.url is not None
    assert package.url.endswith("green-1.0-py3-none-any.whl")
    assert digest in host.objects.read(environment.lock or "").decode()


def test_virtualenv_makes_it_where_there_is_one(host: Host) -> None:
    environment = host.prepare("blue", manager=None)
    assert environment.built_by.startswith("virtualenv ")
    assert environment.installed_by.startswith("uv ")
    by_uv = host.prepare("blue", manager="uv")
    assert by_uv.built_by.startswith("uv venv ")
    assert by_uv.key != environment.key
    assert by_uv.installed_digest == environment.installed_digest


def test_what_uv_seeds_out_of_an_index_is_a_gap(host: Host) -> None:
    host.installer.clear()
    environment = host.prepare(manager="uv")
    assert environment.built_by.startswith("uv venv ")
    seeds = {package.name for package in environment.packages}
    assert "pip" in seeds
    assert {gap.field for gap in environment.gaps} == {f"environment.packages.{name}" for name in seeds}
    assert not host.prepare(manager=None).gaps


@pytest.mark.parametrize("requirements", [(), ("blue",)])
@pytest.mark.parametrize("by", ["uv", "virtualenv"])
def test_uv_puts_virtualenvs_own_seeds_in_or_virtualenv_does(
    host: Host, by: str, requirements: tuple[str, ...]
) -> None:
    scriptless = host.root / "python"
    scriptless.write_text(f'#!/bin/sh\ncase "$1" in -c) exit 1;; esac\nexec {sys.executable} "$@"\n')
    scriptless.chmod(0o755)
    placed = {} if by == "uv" else {"python": str(scriptless)}
    environment = host.prepare(*requirements, manager=None, placed=placed)
    assert environment.built_by.startswith("virtualenv ")
    assert host.names(environment) == set(requirements)
    versions = {one.name: one.version for one in environment.packages}
    assert versions["pip"] == get_embed_wheel("pip", "{}.{}".format(*sys.version_info)).version
    assert ("setuptools" in versions) == (sys.version_info < (3, 12))
    site = next(Path(environment.prefix).glob("lib/*/site-packages"))
    assert (by == "virtualenv") is any(site.glob("pip-*.virtualenv"))
    subprocess.run([f"{environment.bin}/pip", "--version"], check=True, capture_output=True)


def test_a_pip_that_the_project_asks_for_is_not_the_seeds(host: Host) -> None:
    make_wheel(host.wheels, "pip", "9999.0")
    environment = host.prepare("pip", manager=None)
    assert {one.version for one in environment.packages if one.name == "pip"} == {"9999.0"}


def test_without_virtualenv_uv_makes_it(host: Host) -> None:
    environment = host.prepare("blue", manager=None, placed={"python": python("3.10")})
    assert environment.built_by.startswith("uv venv ")
    assert any("No module named virtualenv" in line for line in host.said)


def test_no_requirements_at_all_are_an_empty_environment(host: Host) -> None:
    environment = host.prepare()
    assert host.names(environment) == set()
    assert b"packages = []" in host.objects.read(environment.lock or "")


def test_an_unpinned_requirement_does_not_drift_until_asked(host: Host) -> None:
    host.prepare("blue")
    make_wheel(host.wheels, "blue", "2.0")
    assert host.prepare("blue").packages[0].version == "1.0"
    upgraded = host.prepare("blue", placed={"upgrade": True})
    assert upgraded.packages[0].version == "2.0"
    assert upgraded.lock_origin == "resolved"
    assert host.prepare("blue").packages[0].version == "2.0"


def test_the_key_is_of_the_packages_not_of_the_words(host: Host) -> None:
    one, other = host.prepare("red"), host.prepare("red>=1", "blue")
    assert one.key == other.key
    assert other.reused


def test_a_pinned_lock_installs_what_was_installed(host: Host) -> None:
    spec = host.spec("blue")
    first = host.carry_out(spec)
    make_wheel(host.wheels, "blue", "2.0")
    host.prepare("blue", placed={"upgrade": True})
    again = host.carry_out(first.pin(spec))
    assert again.lock_origin == "pinned"
    assert again.reused
    assert again.installed_digest == first.installed_digest


def test_a_swapped_archive_is_refused(host: Host) -> None:
    spec = host.spec("blue")
    first = host.carry_out(spec)
    make_wheel(host.wheels, "blue", text="EVIL = True")
    elsewhere = Host(host.root / "elsewhere")
    elsewhere.objects.add(host.objects.read(first.lock or ""))
    with pytest.raises(EnvironmentBuildError, match="Hash mismatch") as caught:
        elsewhere.carry_out(first.pin(spec))
    assert "not the one that was locked" in caught.value.hint
    assert not list((elsewhere.cache / "envs").glob("*/*/"))


def test_uvs_reason_is_quoted_in_one_line(host: Host) -> None:
    with pytest.raises(EnvironmentBuildError, match="nothing-like-this") as caught:
        host.prepare("nothing-like-this")
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("the requirements cannot be resolved: ")
    assert caught.value.hint


def test_build_dependencies_are_installed_too_and_give_way(host: Host) -> None:
    make_wheel(host.wheels, "blue", "2.0")
    make_wheel(host.wheels, "tool")
    environment = host.prepare("blue==2.0", build_requirements=("blue==1.0", "tool"))
    assert {(one.name, one.version) for one in environment.packages} >= {("blue", "2.0"), ("tool", "1.0")}
    assert "note: build_dependencies and dependencies exclude each other: the dependencies win" in host.said


def test_the_python_asked_for_is_the_one_that_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = Path(python("3.10"))
    monkeypatch.setenv("PATH", f"{executable.parent}:{os.environ['PATH']}")
    environment = host.prepare("blue", python="3.10")
    assert environment.interpreter is not None
    assert environment.interpreter.version.startswith("3.10.")
    done = subprocess.run([f"{environment.bin}/python", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == environment.interpreter.version


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.12", "3.13", "pypy3.9"])
def test_each_python_gets_an_environment_that_works(host: Host, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = shutil.which("pypy3") if version.startswith("pypy") else python(version)
    need("pypy", executable, "there is no PyPy here")
    monkeypatch.setenv("PATH", f"{Path(executable or '').resolve().parent}:{os.environ['PATH']}")
    environment = host.prepare("red", python=version)
    assert environment.interpreter is not None
    program = "import platform, red, sys; print(platform.python_implementation(), sys.version_info[:2], red.VERSION)"
    done = subprocess.run([f"{environment.bin}/python", "-c", program], capture_output=True, text=True, check=True)
    name, series = ("PyPy", version[4:]) if version.startswith("pypy") else ("CPython", version)
    assert done.stdout.split() == [name, f"({series.split('.')[0]},", f"{series.split('.')[1]})", "1.0"]
    assert host.prepare("red", python=version).reused
    subprocess.run([f"{environment.bin}/python", "-m", "pip", "--version"], check=True, capture_output=True)


def test_a_python_that_is_not_here_is_named_with_what_to_do(host: Host) -> None:
    with pytest.raises(
        EnvironmentBuildError, match=r"Python 3\.2 .*python_env\.yaml.* is not on this host; found "
    ) as caught:
        host.prepare(python="3.2", source="python_env.yaml", placed={"offline": True})
    assert "uv python install 3.2" in caught.value.hint


def test_another_build_of_the_recorded_python_is_a_gap(host: Host) -> None:
    spec = host.spec("blue")
    first = host.carry_out(spec)
    assert first.interpreter is not None
    from dataclasses import replace

    theirs = replace(first.interpreter, build="elsewhere", path="/nowhere/python", sha256="0" * 64)
    pinned = replace(first, interpreter=theirs).pin(spec)
    again = host.carry_out(pinned)
    assert [gap.field for gap in again.gaps] == ["environment.interpreter"]
    assert again.interpreter == first.interpreter


def test_credentials_reach_uv_and_nothing_that_is_kept(host: Host) -> None:
    host.installer["UV_INDEX"] = "https://ada:s3cret@packages.invalid/simple"
    environment = host.prepare("red")
    kept = [path for path in host.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert environment.lock
    assert not [path for path in kept if b"s3cret" in path.read_bytes()]


def test_a_failing_index_does_not_show_its_password(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    host.installer = {"UV_DEFAULT_INDEX": "https://ada:s3cret@127.0.0.1:1/simple"}
    with pytest.raises(EnvironmentBuildError) as caught:
        host.prepare("red")
    assert "s3cret" not in f"{caught.value.message}{caught.value.hint}{host.said}"
    assert "127.0.0.1" in caught.value.message


def test_the_warm_path_starts_no_process(host: Host, tmp_path: Path) -> None:
    host.prepare("red")
    program = f"""
import sys, json
from pathlib import Path
sys.addaudithook(lambda event, args: started.append(event) if event in ("subprocess.Popen", "os.posix_spawn") else None)
started = []
sys.path[:0] = {sys.path!r}
from runner.worker.environment.prepare import prepare
from runner.worker.facts import Placement
from runner.worker.files import read_json
from runner.worker.objects import Objects
from runner.worker.spec import RunSpec
from runner.worker.codec import decode
data = json.load(sys.stdin)
root = Path({str(host.root)!r})
environment = prepare(
    RunSpec.from_json(data["spec"]), decode(Placement, data["placement"]), Objects(root / "store" / "objects"),
    root / "project", print, scratch=root / "scratch", installer=data["installer"])
print(environment.reused, len(started))
"""
    from runner.worker.codec import encode

    data = {"spec": host.spec("red").to_json(), "placement": encode(host.placement), "installer": host.installer}
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(data), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "0"]


def test_a_container_needs_an_engine(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(host.root))
    with pytest.raises(EnvironmentBuildError, match="there is no container engine on this host") as caught:
        host.prepare(kind="container", image="python:3")
    assert "apt-get install podman" in caught.value.hint


def test_the_hosts_own_python_is_taken_as_it_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    environment = host.prepare(kind="host")
    assert (environment.prefix, environment.bin, environment.variables) == ("", "", {})
    assert environment.interpreter is not None
    assert environment.interpreter.version == ".".join(map(str, sys.version_info[:3]))
    assert [gap.field for gap in environment.gaps] == ["environment.lock"]


def test_a_changed_requirements_file_is_another_question(host: Host) -> None:
    file = host.project / "requirements.txt"
    file.write_text("blue\n")
    first = host.prepare("-r requirements.txt", files=(SpecFile("requirements.txt", "1" * 64),))
    file.write_text("red\n")
    second = host.prepare("-r requirements.txt", files=(SpecFile("requirements.txt", "2" * 64),))
    assert (host.names(first), host.names(second)) == ({"blue"}, {"red", "blue"})


def test_wheels_in_the_project_are_locked_by_where_they_lie_in_it(host: Host) -> None:
    make_wheel(host.project / "wheels", "green")
    environment = host.prepare("--find-links wheels", "green", "./wheels/green-1.0-py3-none-any.whl")
    lock = host.objects.read(environment.lock or "").decode()
    assert str(host.project) not in lock
    assert 'path = "wheels/green-1.0-py3-none-any.whl"' in lock


def test_the_module_that_was_installed_is_the_published_one(host: Host) -> None:
    environment = host.prepare("blue")
    assert module_of(environment, "blue").read_text() == "VERSION = '1.0'\n\n"
