"""Locks of a project that no run could use: told before there is a run, by `mlrun check` too."""

import json
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import uv

from runner.environments.choice import Choice
from runner.environments.locks import inspect, refuse_unusable
from runner.environments.plan import plan
from runner.errors import EnvironmentBuildError
from runner.worker.environment.locks.belonging import specification
from runner.worker.spec import EnvironmentSpec
from tests.environments.wheels import make_wheel

_HASH = "ab" * 32
_WHEEL = f'{{url = "https://a/six-1.0-py3-none-any.whl", hashes = {{sha256 = "{_HASH}"}}}}'
_GOOD = f'lock-version = "1.0"\n[[packages]]\nname = "six"\nversion = "1.0"\nwheels = [{_WHEEL}]\n'
_NONE = "this is no pylock.toml (PEP 751): "
_HERE = (platform.python_version(), sysconfig.get_platform())

Look = Callable[[Path, EnvironmentSpec, Path], None]


def before_a_run(project: Path, wanted: EnvironmentSpec, cache: Path) -> None:
    refuse_unusable(project, wanted, cache, here=True, upgrade=False)


def by_check(project: Path, wanted: EnvironmentSpec, cache: Path) -> None:
    inspect(project, wanted)


LOOKS = pytest.mark.parametrize("look", [before_a_run, by_check])


def wanted_by(project: Path) -> EnvironmentSpec:
    return plan(project, Choice(), caller_environ={"HOME": "/nonexistent"}).spec


def refused(look: Look, project: Path, cache: Path) -> EnvironmentBuildError:
    with pytest.raises(EnvironmentBuildError) as caught:
        look(project, wanted_by(project), cache)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def of_mlrun(project: Path, body: str, *, python: str = _HERE[0], platform: str = _HERE[1], fresh: bool = True) -> None:
    wanted = wanted_by(project)
    header = {
        "specification": specification(wanted) if fresh else "0" * 64,
        "python": python,
        "platform": platform,
        "version": 1,
    }
    (project / "pylock.mlrun.toml").write_text(f"# The lock\n# Commit it\n# mlrun-lock: {json.dumps(header)}\n{body}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    return project


@LOOKS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{_GOOD}?\n", "pylock.toml, line 6: no valid TOML: "),
        ("", f"pylock.toml: {_NONE}its lock-version is missing"),
        ("lock-version = 7\n", f"pylock.toml: {_NONE}its lock-version is 7"),
        ('lock-version = "1.0"\npackages = 3\n', f"pylock.toml: {_NONE}`packages` is no list"),
        ('lock-version = "1.0"\npackages = [3]\n', f"pylock.toml: {_NONE}a package with a"),
        (f"{_GOOD}[[packages]]\nversion = '1'\n", f"pylock.toml, line 6: {_NONE}a package w"),
        (f"{_GOOD}[[packages]]\nname = 3\n", f"pylock.toml, line 6: {_NONE}a package with a"),
        (_GOOD.replace("sha256", "md5"), f"pylock.toml, line 2: {_NONE}six (six-1.0-py3-n"),
    ],
)
def test_a_pylock_that_is_none(project: Path, tmp_path: Path, look: Look, text: str, message: str) -> None:
    (project / "pylock.toml").write_text(text)
    assert refused(look, project, tmp_path / "cache").message.startswith(message)


@LOOKS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 1\n???", "uv.lock, line 2: no valid TOML: "),
        ("<<<<<<< HEAD\n", "uv.lock, line 1: no valid TOML: "),
        ('version = "one"\n', "uv.lock: this is no lock of uv: its `version` is no number"),
        ("version = 1\npackage = 3\n", "uv.lock: this is no lock of uv: `package` is no list"),
        ("version = 1\n[[package]]\nversion = '1'\n", "uv.lock: this is no lock of uv: `package` number 1 has no name"),
        ("[" * 100_000, "uv.lock"),
    ],
)
def test_a_uv_lock_that_is_none(project: Path, tmp_path: Path, look: Look, text: str, message: str) -> None:
    (project / "pyproject.toml").write_text("[project]\nname = 'a'\nversion = '1'\n")
    (project / "uv.lock").write_text(text)
    assert refused(look, project, tmp_path / "cache").message.startswith(message)


_PYPROJECT = """
[project]
name = "Demo_x"
version = "0.1"
requires-python = ">=3.9"
dependencies = ["blue>=1,<3 ; python_version > '3.6'", "Red [all] == 1.*"]
optional-dependencies = {plot = ["green ~= 1.0"]}

[dependency-groups]
lint = ["pink>=1"]
dev = ["grey", {include-group = "lint"}]

[tool.uv]
no-index = true
find-links = ["../wheels"]
"""


@pytest.fixture
def locked(project: Path, tmp_path: Path) -> Path:
    """A project that uv has locked."""
    for name in ("blue", "red", "green", "pink", "grey", "black"):
        make_wheel(tmp_path / "wheels", name)
    (project / "pyproject.toml").write_text(_PYPROJECT)
    assert uv_says(project) == ""
    return project


def uv_says(project: Path, *words: str) -> str:
    argv = [uv.find_uv_bin(), "lock", "-q", "--offline", *words]
    done = subprocess.run(argv, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr if done.returncode else ""


@LOOKS
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["blue', '["black", "blue', "pyproject.toml asks for black, and the lock does not know of it"),
        ('"green ~= 1.0"', "", "it was made for green, which pyproject.toml no longer asks for"),
        ("blue>=1", "blue>=1.0.1", "pyproject.toml asks for blue<3,>=1.0.1, and it was made for blue<3,>=1"),
        ('version = "0.1"', 'version = "0.2"', "it is of demo-x 0.1, and pyproject.toml says 0.2"),
        ("Demo_x", "other", "it is of demo-x, and the project is other"),
        ("pink>=1", "pink", "pyproject.toml asks for pink in the group lint, and it was made for pink>=1"),
    ],
)
def test_a_uv_lock_that_is_stale(locked: Path, tmp_path: Path, look: Look, old: str, new: str, message: str) -> None:
    look(locked, wanted_by(locked), tmp_path)
    assert old in _PYPROJECT
    (locked / "pyproject.toml").write_text(_PYPROJECT.replace(old, new))
    error = refused(look, locked, tmp_path)
    assert error.message == f"uv.lock is stale: {message}"
    assert error.hint == "`uv lock` brings it up to date"
    assert uv_says(locked, "--check")


@LOOKS
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Demo_x", "demo-X"),
        ('"0.1"', '"0.1.0"'),
        ("blue>=1,<3 ;", "BLUE <3.0, >= 1.0;"),
        ('"Red [all] == 1.*"', '"red[all]==1.*", "red[all]==1.*"'),
        (">=3.9", ">= 3.9"),
        ("[tool.uv]", "[tool.ruff]\nline-length = 99\n[tool.uv]"),
    ],
)
def test_a_uv_lock_that_is_not_stale(locked: Path, tmp_path: Path, look: Look, old: str, new: str) -> None:
    assert old in _PYPROJECT
    (locked / "pyproject.toml").write_text(_PYPROJECT.replace(old, new))
    look(locked, wanted_by(locked), tmp_path)
    assert uv_says(locked, "--check") == ""


@LOOKS
@pytest.mark.parametrize(
    ("text", "more"),
    [
        ('dependencies = ["lib"]', '[tool.uv.sources]\nlib = {path = "lib"}\n'),
        ('dependencies = ["blue @ file://WHEELS/blue-1.0-py3-none-any.whl"]', ""),
        ("dependencies = [\"blue; python_version < '3.12'\", \"blue>=1; python_version >= '3.12'\"]", ""),
        ("", "[dependency-groups]\nMy_Tests = ['blue']\n"),
        ("", "[dependency-groups]\ndev = ['blue']\n[tool.uv]\ndev-dependencies = ['red']\n"),
    ],
)
def test_a_uv_lock_with_more_than_ranges(project: Path, tmp_path: Path, look: Look, text: str, more: str) -> None:
    for name in ("blue", "red"):
        make_wheel(tmp_path / "wheels", name)
    (project / "lib").mkdir()
    (project / "lib" / "pyproject.toml").write_text("[project]\nname = 'lib'\nversion = '1'\n")
    head = "[project]\nname = 'p'\nversion = '1'\nrequires-python = '>=3.9'\n"
    own = more.partition("[tool.uv]\n")
    where = f"{own[0]}[tool.uv]\nno-index = true\nfind-links = ['WHEELS']\n{own[2]}"
    (project / "pyproject.toml").write_text(f"{head}{text}\n{where}".replace("WHEELS", str(tmp_path / "wheels")))
    assert uv_says(project) == ""
    look(project, wanted_by(project), tmp_path)


@LOOKS
@pytest.mark.parametrize(
    "text", ["dynamic = ['dependencies']", "dependencies = ['?']", "dependencies = ['blue']\n[tool]\nuv = 1"]
)
def test_what_only_uv_can_know_is_left_to_it(project: Path, tmp_path: Path, look: Look, text: str) -> None:
    (project / "pyproject.toml").write_text(f"[project]\nname = 'p'\n{text}\n")
    known = "[package.metadata]\nrequires-dist = [{name = 'blue'}]\n"
    (project / "uv.lock").write_text(f"version = 1\n[[package]]\nname = 'p'\nsource = {{virtual = '.'}}\n{known}")
    look(project, wanted_by(project), tmp_path)


@LOOKS
def test_a_lock_of_mlrun_that_cannot_be_used(project: Path, tmp_path: Path, look: Look) -> None:
    (project / "requirements.txt").write_text("six\n")
    (project / "pylock.mlrun.toml").write_bytes(b"\xff\x00 garbage")
    assert "does not say what it is for" in refused(look, project, tmp_path).message
    of_mlrun(project, f"{_GOOD}?\n")
    assert refused(look, project, tmp_path).message.startswith("pylock.mlrun.toml, line 9: no valid TOML")
    of_mlrun(project, _GOOD, fresh=False)
    assert refused(look, project, tmp_path).message.startswith("pylock.mlrun.toml is stale")
    of_mlrun(project, _GOOD)
    look(project, wanted_by(project), tmp_path)


def test_a_stale_lock_stops_only_what_would_use_it(project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("six\n")
    of_mlrun(project, _GOOD, platform="plan9-mips", fresh=False)
    before_a_run(project, wanted_by(project), tmp_path)
    of_mlrun(project, _GOOD, fresh=False)
    refuse_unusable(project, wanted_by(project), tmp_path, here=True, upgrade=True)
    refuse_unusable(project, wanted_by(project), tmp_path, here=False, upgrade=False)


@pytest.mark.parametrize(
    ("asked", "of", "stops"),
    [
        ("{0}.{1}", "{0}.{1}.99", True),
        (">={0}.{1}", "{0}.{1}.99", True),
        ("{0}.{1}", "3.4.1", False),
        (">={0}.{1}", "3.4.1", False),
        (">={0}.99", "{0}.{1}.99", False),
    ],
)
def test_the_python_decides_which_lock_is_used(project: Path, tmp_path: Path, asked: str, of: str, stops: bool) -> None:
    asked, of = (text.format(*sys.version_info) for text in (asked, of))
    (project / "python_env.yaml").write_text(f"python: '{asked}'\ndependencies: [six]\n")
    of_mlrun(project, _GOOD, python=of, fresh=False)
    if stops:
        refused(before_a_run, project, tmp_path)
    else:
        before_a_run(project, wanted_by(project), tmp_path)


def test_a_lock_is_read_once(project: Path, tmp_path: Path) -> None:
    (project / "pylock.toml").write_text(_GOOD)
    before_a_run(project, wanted_by(project), tmp_path)
    [seen] = (tmp_path / "locks").iterdir()
    assert seen.stat().st_size == 0
    (project / "pylock.toml").write_text("other")
    refused(before_a_run, project, tmp_path)
