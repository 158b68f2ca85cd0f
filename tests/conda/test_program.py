"""The user's own conda, mamba or micromamba: a stand-in on PATH that takes the same words, and does it for real."""

import json
import os
import shutil
from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.environment.conda import lockfile, rattler
from runner.worker.environment.conda.program import find
from tests.conda.conftest import CondaHost

# What `create` is asked for, as all three programs take it; the packages are solved and installed by py-rattler.
_STAND_IN = """#!{python}
import argparse, asyncio, hashlib, json, os, sys
from pathlib import Path
sys.stdout.reconfigure(line_buffering=True)
if sys.argv[1:] == ["--version"]:
    print("{name} 9.8.7")
    sys.exit()
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ.get("CONDA_ALWAYS_COPY")]) + "\\n")
import rattler
words = argparse.ArgumentParser()
for flag in ("--yes", "--quiet", "--override-channels", "--strict-channel-priority", "--no-channel-priority"):
    words.add_argument(flag, action="store_true")
words.add_argument("--prefix")
words.add_argument("--channel", action="append", default=[])
words.add_argument("--file")
words.add_argument("specs", nargs="*")
assert sys.argv[1] == "create"
asked = words.parse_args(sys.argv[2:])
async def main():
    if asked.file:
        first, *lines = Path(asked.file).read_text().splitlines()
        assert first == "@EXPLICIT"
        records = []
        for line in lines:
            url, _, digest = line.partition("#")
            path = url[len("file://"):]
            assert hashlib.md5(Path(path).read_bytes()).hexdigest() == digest
            record = await rattler.RepoDataRecord.from_package_archive(path)
            record.url = url
            records.append(record)
    else:
        records = await rattler.solve(asked.channel, asked.specs, virtual_packages=rattler.VirtualPackage.detect())
    await rattler.install(records, asked.prefix, cache_dir=Path({log!r}).with_name("pkgs"), show_progress=False)
try:
    asyncio.run(main())
except Exception as error:
    print("Collecting package metadata: done\\n")
    print("PackagesNotFoundError:", " ".join(str(error).split()))
    os._exit(1)
os._exit(0)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture(params=["conda", "micromamba"])
def program(request: pytest.FixtureRequest, host: CondaHost, tmp_path: Path, log: Path, monkeypatch) -> str:
    tools = rattler.environment(host.site())
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    text = _STAND_IN.format(python=f"{tools.bin}/python", name=request.param, log=str(log))
    (bin_ / request.param).write_text(text)
    (bin_ / request.param).chmod(0o755)
    for name in ("CONDA_EXE", "MAMBA_EXE", "MLFLOW_CONDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    name: str = request.param
    return name


def calls(log: Path) -> list[list[str]]:
    return [json.loads(line)[0] for line in log.read_text().splitlines()]


def test_the_program_solves_and_installs_what_is_locked(host: CondaHost, program: str, log: Path) -> None:
    channel = host.channel
    channel.python()
    channel.module("blue", "7.0")
    found = host.conda("python", "blue", pip=("red",), manager="conda", channel_priority="strict")
    assert (found.built_by, found.lock_origin) == (f"{program} 9.8.7", "resolved")
    assert host.run(found, "import blue, red; print(blue.VERSION, red.VERSION)") == "7.0 1.0"
    lock = lockfile.read(host.objects.read(found.lock))
    assert {one.name for one in lock.packages} == {"python", "blue"}
    assert [one.name for one in lock.pip_packages] == ["red"]
    solving, installing = calls(log)
    assert solving[:3] == ["create", "--yes", "--quiet"]
    assert "--strict-channel-priority" in solving
    assert "--file" in installing
    assert all(json.loads(line)[1] == "true" for line in log.read_text().splitlines())
    assert host.conda("python", "blue", pip=("red",), manager="conda", channel_priority="strict").reused
    shutil.rmtree(host.cache / "envs")
    again = host.conda("python", "blue", pip=("red",), manager="conda", lock=found.lock)
    assert again.installed_digest == found.installed_digest
    [installing] = calls(log)[2:]
    assert "--file" in installing
    assert not list(host.root.glob("scratch/solved"))


def test_it_is_not_used_unless_it_is_asked_for(host: CondaHost, program: str, log: Path) -> None:
    host.channel.package("native")
    assert host.conda("native").built_by.startswith("py-rattler")
    assert not log.exists()


def test_a_swapped_archive_is_refused_before_the_program_sees_it(host: CondaHost, program: str, log: Path) -> None:
    archive = host.channel.package("native", files={"share/n": "n"})
    found = host.conda("native", manager="conda")
    archive.write_bytes(archive.read_bytes() + b"x")
    shutil.rmtree(host.cache / "envs")
    before = len(calls(log))
    with pytest.raises(EnvironmentBuildError, match="is not the archive that was locked"):
        host.conda("native", manager="conda", lock=found.lock)
    assert len(calls(log)) == before


def test_what_it_refuses_is_one_line(host: CondaHost, program: str) -> None:
    with pytest.raises(EnvironmentBuildError, match=rf"{program} 9\.8\.7: PackagesNotFoundError: .*nowhere") as caught:
        host.conda("nowhere", manager="conda")
    assert "\n" not in caught.value.message


def test_without_any_program_py_rattler_does_it(host: CondaHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONDA_EXE", "MAMBA_EXE", "MLFLOW_CONDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    host.channel.package("native")
    assert host.conda("native", manager="conda").built_by.startswith("py-rattler")
    assert "py-rattler does it" in " ".join(host.said)


def test_which_program_it_is(tmp_path: Path) -> None:
    for place in ("home/bin/conda", "home/bin/mamba", "path/micromamba"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {path.name} 1.2\n")
        path.chmod(0o755)
    home, path = str(tmp_path / "home"), str(tmp_path / "path")
    assert find({"PATH": "/nowhere"}) is None
    assert find({"PATH": path}).name == "micromamba 1.2"
    assert find({"PATH": path, "MLFLOW_CONDA_HOME": home}).path == f"{home}/bin/conda"
    named = {"MLFLOW_CONDA_HOME": home, "MLFLOW_CONDA_CREATE_ENV_CMD": "mamba"}
    assert find({"PATH": path, **named}).path == f"{home}/bin/mamba"
    assert find({"PATH": "/nowhere", "CONDA_EXE": f"{home}/bin/conda"}).name == "conda 1.2"
