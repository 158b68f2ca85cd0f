"""uv for a machine on which that of here does not run: this side is another machine by what its kernel says of it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import uv

from tests.end_to_end.conftest import Mlrun, Project
from tests.environments.index import Index, serving
from tests.environments.wheels import make_uv_wheel, make_wheel
from tests.machines import Machine
from tests.needs import need

UV = Path(uv.find_uv_bin())
VERSION = subprocess.run([UV, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout.split()[1]
HERE = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
_PROCESSOR = 18  # byte of an ELF file that says which processor it is for


@pytest.fixture
def mlrun(tmp_path: Path) -> Mlrun:
    """The command on a machine with a processor of 32 bits: so it is told by the kernel, and so by `uname`."""
    by = ("setarch", "linux32")
    told = subprocess.run([*by, "uname", "-m"], capture_output=True, text=True, check=False, timeout=60).stdout.strip()
    need("ssh", told not in ("", HERE), "the kernel does not say that it is a machine of 32 bits")
    return Mlrun(tmp_path, *by)


@pytest.fixture
def bare(project: Project) -> Project:
    """A project whose environment has pip alone."""
    project.write("MLproject", "entry_points:\n  main: {command: 'python -m pip --version > /dev/null && echo done'}\n")
    project.write("requirements.txt", "")
    project.commit()
    return project


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index of this side, which the other does not reach; it has a uv of this test's own."""
    make_uv_wheel(tmp_path / "wheels", VERSION, f"musllinux_1_1_{HERE}", UV.read_bytes() + str(tmp_path).encode())
    with serving(tmp_path / "wheels") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        yield index


@pytest.fixture
def theirs(isolated: Machine) -> Iterator[Path]:
    """Where the user of the other machine has a uv."""
    path = isolated.home / ".cargo" / "bin" / "uv"
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path
    path.unlink()


def made_by(mlrun: Mlrun) -> str:
    return str(mlrun.show()["environment"]["installed_by"])


def test_a_uv_for_the_machine_is_fetched_and_sent_once(mlrun: Mlrun, bare: Project, machine: Machine, index: Index):
    said = mlrun("run", bare.path, "--on", "lab").ok()
    assert said.out == "done\n"
    assert f"fetching uv for linux-{HERE}" in said.err
    assert said.err.count(f"sending uv {VERSION} for linux-{HERE} to lab\n") == 1
    assert made_by(mlrun) == f"uv {VERSION}"
    for wheel in index.wheels.iterdir():
        wheel.unlink()
    again = mlrun("run", bare.path, "--on", "lab").ok()
    assert "uv" not in again.err
    mlrun("host", "add", "other", "lab", "--cache", f"~/{bare.path.parent.name}").ok()
    other = mlrun("run", bare.path, "--on", "other").ok()
    assert "fetching" not in other.err
    assert f"sending uv {VERSION} for linux-{HERE} to other" in other.err


def test_the_uv_that_its_makers_publish_runs_there(mlrun: Mlrun, bare: Project, machine: Machine):
    said = mlrun("run", bare.path, "--on", "lab").ok()
    assert f"fetching uv for linux-{HERE}" in said.err
    assert made_by(mlrun) == f"uv {VERSION}"


def test_a_uv_that_is_there_and_does_not_run_is_replaced(
    mlrun: Mlrun, bare: Project, theirs: Path, index: Index, monkeypatch: pytest.MonkeyPatch
):
    program = bytearray(UV.read_bytes()[: 1 << 16])
    program[_PROCESSOR] ^= 0xFF
    theirs.write_bytes(program)
    theirs.chmod(0o755)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    refused = mlrun("run", bare.path, "--on", "lab")
    assert refused.code == 125
    assert "/.cargo/bin/uv cannot be started: Exec format error" in refused.err
    monkeypatch.delenv("PIP_NO_INDEX")
    assert mlrun("run", bare.path, "--on", "lab").ok().out == "done\n"


def test_a_uv_that_is_there_and_runs_is_used(mlrun: Mlrun, bare: Project, theirs: Path, index: Index):
    theirs.write_bytes(UV.read_bytes())
    theirs.chmod(0o755)
    for wheel in index.wheels.iterdir():
        wheel.unlink()
    said = mlrun("run", bare.path, "--on", "lab").ok()
    assert f"resolving requirements.txt with uv {VERSION}" in said.err
    assert "fetching" not in said.err
    assert "sending uv" not in said.err


def test_a_run_of_another_processor_runs_again_with_packages_sent(
    mlrun: Mlrun, project: Project, machine: Machine, index: Index, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("UV_CACHE_DIR", str(home / "uv"))  # uv keeps there for which processor a Python is
    told = subprocess.run([*mlrun.by, "uname", "-m"], capture_output=True, text=True, check=True, timeout=60).stdout
    for processor in (told.strip(), HERE):
        make_wheel(index.wheels, "tiny", text=f"MADE_FOR = {processor!r}", tag=f"py3-none-linux_{processor}")
    project.write("MLproject", "entry_points:\n  main: {command: 'python -c \"import tiny; print(tiny.MADE_FOR)\"'}\n")
    project.write("requirements.txt", "tiny\n")
    project.commit()
    assert mlrun("run", project.path, "--run-name", "first").ok().out == told
    with (home / ".config" / "mlrun" / "hosts.toml").open("a") as file:
        file.write("[hosts.alone]\naddress = 'lab'\nship_packages = true\n")
    again = mlrun("rerun", "first", "--on", "alone")
    assert f"{HERE}\n" in again.out, again.err
    assert "the recorded lock is for linux-" in again.err


@pytest.mark.usefixtures("machine")
def test_where_no_uv_can_be_had_one_line_says_so(mlrun: Mlrun, bare: Project, index: Index):
    for wheel in index.wheels.iterdir():
        wheel.unlink()
    said = mlrun("run", bare.path, "--on", "lab")
    assert said.code == 125
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(
        f"error: lab has no uv that runs there, and uv {VERSION} cannot be fetched for linux-{HERE}: "
    )
    assert "hint: let this machine reach an index that has it, or install uv there" in said.err
    assert "failed" in mlrun("list").ok().out


def test_a_disk_from_which_nothing_may_be_run_is_told(mlrun: Mlrun, bare: Project, isolated: Machine, index: Index):
    place = isolated.mount(bare.path.parent.name, "noexec")
    mlrun("host", "add", "strict", "lab", "--cache", f"{place}/cache").ok()
    said = mlrun("run", bare.path, "--on", "strict")
    assert said.code == 125
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    told = (
        f"error: uv for linux-{HERE} does not run on strict: the one that was sent cannot be started: Permission denied"
    )
    assert line == told
    assert "hint: is its cache on a disk that programs may not be run from?" in said.err
    assert "failed" in mlrun("list").ok().out


def test_a_check_says_what_will_be_sent(mlrun: Mlrun, theirs: Path):
    lines = mlrun("host", "check", "lab").out.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.split()[:1] == ["uv"])
    assert "does not run there" in lines[at]
    assert f"the same version for linux-{HERE} is fetched" in lines[at + 1]
    theirs.write_text("#!/bin/sh\necho uv 0.4.2\n")
    theirs.chmod(0o755)
    assert "/.cargo/bin/uv is too old: uv 0.4.2" in mlrun("host", "check", "lab").out
