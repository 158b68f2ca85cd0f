"""Interpreters: found, told apart, remembered."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.environment.interpreters import discovery
from runner.worker.environment.interpreters.identity import Interpreters, same, spoken
from runner.worker.spec import EnvironmentSpec
from tests.needs import python


def search(tmp_path: Path, own: "str | None" = None, **environ: str) -> discovery.Search:
    interpreters = Interpreters(tmp_path / "cache", environ)

    def no_uv():
        pytest.fail("uv was asked")

    return discovery.Search(interpreters, own, environ, lambda _: None, no_uv, offline=True)


def fake(place: Path, version: str, implementation: str = "cpython", abi: str = "") -> Path:
    """Write an executable that says of itself what an interpreter would."""
    path = place / "bin" / "python"
    path.parent.mkdir(parents=True)
    major, minor = version.split(".")[:2]
    answer = {
        "path": str(path),
        "version": version,
        "implementation": implementation,
        "cache_tag": f"{implementation}-{major}{minor}",
        "abi": abi or f"{implementation}-{major}{minor}-x86_64-linux-gnu",
        "build": f"main {place.name}",
        "platform": "linux-x86_64",
    }
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    path.chmod(0o755)
    return path


def found(tmp_path: Path, request: str) -> str:
    environ = {"PYENV_ROOT": str(tmp_path / "pyenv"), "HOME": str(tmp_path), "UV_PYTHON_DOWNLOADS": "never"}
    return search(tmp_path, **environ).find(EnvironmentSpec("virtualenv", python=request)).interpreter.path


def test_builds_that_answer_to_one_number_are_told_apart(tmp_path: Path) -> None:
    kept = tmp_path / "pyenv" / "versions"
    plain, newer = fake(kept / "3.93.1", "3.93.1"), fake(kept / "3.93.10", "3.93.10")
    preview = fake(kept / "3.93.11rc1", "3.93.11rc1")
    threads = fake(kept / "3.93.10t", "3.93.10", abi="cpython-393t-x86_64-linux-gnu")
    pypy = fake(kept / "pypy3.93-7.3.99", "3.93.20", "pypy", "pypy393-pp73-x86_64-linux-gnu")
    assert found(tmp_path, "3.93") == str(newer)
    assert found(tmp_path, "3.93.1") == str(plain)
    assert found(tmp_path, "3.93.11rc1") == str(preview)
    assert found(tmp_path, "3.93t") == str(threads)
    assert found(tmp_path, "pypy3.93") == str(pypy)
    assert found(tmp_path, "pypy>=3.92") == str(pypy)
    with pytest.raises(
        EnvironmentBuildError, match=r"Python pypy3\.94 is not on this host; found .*pypy3\.93\.20"
    ) as caught:
        found(tmp_path, "pypy3.94")
    assert caught.value.hint == "install it: `uv python install pypy3.94` or `pyenv install pypy3.94`"
    told = {spoken(one) for path in (newer, threads, pypy) if (one := Interpreters(tmp_path, {}).identify(path))}
    assert told == {"3.93.10", "3.93.10t", "pypy3.93.20"}


def test_condas_interpreter_is_the_last_resort(tmp_path: Path) -> None:
    conda = fake(tmp_path / "miniforge3" / "envs" / "old", "3.93.5")
    listed = fake(tmp_path / "elsewhere", "3.94.0")
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"{tmp_path / 'gone'}\n{listed.parent.parent}\n")
    assert found(tmp_path, "3.93") == str(conda)
    assert found(tmp_path, "3.94") == str(listed)
    own = fake(tmp_path / "pyenv" / "versions" / "3.93.1", "3.93.1")
    assert found(tmp_path, "3.93") == str(own)


def test_another_build_of_a_version_is_not_the_same(tmp_path: Path) -> None:
    kept = tmp_path / "pyenv" / "versions"
    one = Interpreters(tmp_path, {}).identify(fake(kept / "one", "3.93.1"))
    other = Interpreters(tmp_path, {}).identify(fake(kept / "other", "3.93.1"))
    assert one is not None
    assert other is not None
    assert not same(one, other)


def test_a_virtual_environment_is_its_base(tmp_path: Path) -> None:
    interpreter = Interpreters(tmp_path, os.environ).identify(Path(sys.executable))
    assert interpreter is not None
    assert interpreter.path == os.path.realpath(sys._base_executable)
    assert interpreter.version == ".".join(map(str, sys.version_info[:3]))


def test_who_an_interpreter_is_is_asked_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    wrapper = tmp_path / "bin" / "python"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho x >> {asked}\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    one = Interpreters(tmp_path / "cache", os.environ).identify(wrapper)
    other = Interpreters(tmp_path / "cache", os.environ).identify(wrapper)
    assert one == other
    assert one is not None
    assert asked.read_text() == "x\n"
    wrapper.write_text(f'#!/bin/sh\necho y >> {asked}\nexec {sys.executable} "$@"\n')
    Interpreters(tmp_path / "cache", os.environ).identify(wrapper)
    assert asked.read_text() == "x\ny\n"


def test_a_shim_is_asked_again_where_another_version_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    shim = tmp_path / "python"
    shim.write_text(f'#!/bin/sh\necho x >> {asked}\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYENV_DIR", raising=False)  # set where a shim started all this
    Interpreters(tmp_path / "cache", os.environ).identify(shim)
    (tmp_path / ".python-version").write_text("3.9\n")
    Interpreters(tmp_path / "cache", os.environ).identify(shim)
    assert asked.read_text() == "x\nx\n"


def test_what_is_no_python_is_none(tmp_path: Path) -> None:
    interpreters = Interpreters(tmp_path, os.environ)
    assert interpreters.identify(Path("/bin/true")) is None
    assert interpreters.identify(tmp_path / "nothing") is None
    assert interpreters.identify(Path(os.devnull)) is None


def test_a_damaged_memory_is_no_matter(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"version": 1, "known": 3}', '{"version": 9}'):
        (tmp_path / "interpreters.json").write_text(text)
        assert Interpreters(tmp_path, os.environ).identify(Path(sys.executable)) is not None


def test_the_newest_of_a_series_is_found_where_pyenv_keeps_it(tmp_path: Path) -> None:
    real = Path(python("3.10")).resolve().parent.parent
    versions = tmp_path / "pyenv" / "versions"
    versions.mkdir(parents=True)
    (versions / real.name).symlink_to(real)
    (versions / "3.9.99").mkdir()
    found = search(tmp_path, PYENV_ROOT=str(tmp_path / "pyenv")).find(EnvironmentSpec("virtualenv", python="3.10"))
    assert found.interpreter.version.startswith("3.10.")
    assert found.gaps == ()


def test_a_range_takes_mlruns_own_where_it_fits(tmp_path: Path) -> None:
    found = search(tmp_path, sys.executable, PATH=os.environ["PATH"]).find(
        EnvironmentSpec("virtualenv", python=">=3.9")
    )
    assert found.interpreter.version == ".".join(map(str, sys.version_info[:3]))


def test_two_copies_of_one_interpreter_are_the_same(tmp_path: Path) -> None:
    real = Path(os.path.realpath(sys._base_executable))
    one = Interpreters(tmp_path, os.environ).identify(real)
    assert one is not None
    other = Interpreters(tmp_path, os.environ).identify(Path(sys.executable))
    assert other is not None
    assert same(one, other)


def test_the_host_is_the_first_python_on_path(tmp_path: Path) -> None:
    interpreters = Interpreters(tmp_path, os.environ)
    found = discovery.host(interpreters, {"PATH": f"{tmp_path}:{Path(sys.executable).parent}"})
    assert found is not None
    assert found[0] == Path(sys.executable).parent / "python"
    assert discovery.host(interpreters, {"PATH": str(tmp_path)}) is None
    assert shutil.which("python", path=str(tmp_path)) is None
