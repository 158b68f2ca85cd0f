"""What happens when the machine or somebody else is unkind: full disks, hostile repositories, floods."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import MLRUN, Mlrun, Project, until
from tests.needs import need

LOCAL = ("--env-manager", "local")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=False, capture_output=True)
    need("root", mounted.returncode == 0, "only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_no_space_for_the_snapshot(mlrun: Mlrun, project: Project, small_disk: Path):
    (project.path / "large.bin").write_bytes(os.urandom(6 << 20))
    said = mlrun("run", project.path, *LOCAL, MLRUN_HOME=str(small_disk / "store"))
    assert said.code == 125
    assert "No space left" in said.err
    assert "hint: " in said.err
    assert said.out == ""


@pytest.mark.parametrize("room", [8, 16])
def test_no_space_for_the_launch_leaves_no_run(mlrun: Mlrun, project: Project, small_disk: Path, room: int):
    home = str(small_disk / "store")
    before = mlrun("run", project.path, *LOCAL, MLRUN_HOME=home).ok()
    fill(small_disk, room << 10)
    said = mlrun("run", project.path, *LOCAL, MLRUN_HOME=home)
    assert said.code == 125
    assert "No space left" in said.err
    assert "hint: " in said.err
    [run] = mlrun("list", "--json", MLRUN_HOME=home).ok().json["runs"]
    assert run["status"] == "succeeded", before.err
    assert [path.name for path in (small_disk / "store/runs").iterdir()] == [run["id"]]


@pytest.mark.parametrize("room", [32, 68])
def test_no_space_for_the_worker_is_said(mlrun: Mlrun, project: Project, small_disk: Path, room: int):
    home = str(small_disk / "store")
    mlrun("run", project.path, *LOCAL, MLRUN_HOME=home).ok()
    fill(small_disk, room << 10)
    said = mlrun("run", project.path, *LOCAL, MLRUN_HOME=home)
    assert said.code == 125
    assert "there is no room to work in" in said.err
    assert "hint: free some space" in said.err
    runs = mlrun("list", "--json", MLRUN_HOME=home).ok().json["runs"]
    assert [run["status"] for run in runs] == ["failed", "succeeded"]


def test_a_run_lost_on_a_full_disk_says_so(mlrun: Mlrun, project: Project, small_disk: Path):
    project.write("MLproject", "entry_points: {main: {command: 'exec sleep 60'}}\n")
    home = str(small_disk / "store")
    run = small_disk / "store/runs" / mlrun("run", project.path, *LOCAL, "--detach", MLRUN_HOME=home).ok().out.strip()
    until((run / "start.json").exists)
    start = json.loads((run / "start.json").read_bytes())
    for one in ("worker", "child"):
        os.kill(start[one]["pid"], signal.SIGKILL)
    fill(small_disk, 0)
    until(lambda: mlrun("list", "--json", MLRUN_HOME=home).ok().json["runs"][0]["status"] == "lost")
    error = mlrun("show", "latest", "--json", MLRUN_HOME=home).ok().json["result"]["error"]
    assert error["message"].endswith("gone without a word: the disk of the store is full")


def test_a_record_is_shown_where_it_cannot_be_sealed(mlrun: Mlrun, project: Project, small_disk: Path):
    home = str(small_disk / "store")
    mlrun("run", project.path, *LOCAL, MLRUN_HOME=home).ok()
    [run] = (small_disk / "store/runs").iterdir()
    for name in ("record.json", "record.json.sha256", "contents.sha256"):
        (run / name).unlink()
    fill(small_disk, 0)
    assert mlrun("show", "latest", "--json", MLRUN_HOME=home).ok().json["run"]["status"] == "succeeded"
    assert "succeeded" in mlrun("show", "latest", MLRUN_HOME=home).ok().out
    (small_disk / "fill").unlink()
    mlrun("show", "latest", MLRUN_HOME=home).ok()
    assert mlrun("verify", "latest", MLRUN_HOME=home).code == 0


def fill(disk: Path, room: int) -> None:
    """Leave so many bytes on a small disk."""
    there = os.statvfs(disk)
    with (disk / "fill").open("wb") as stream:
        stream.write(bytes(there.f_bavail * there.f_frsize - room))


def test_no_space_while_the_command_runs(mlrun: Mlrun, project: Project, small_disk: Path):
    project.write("MLproject", "entry_points:\n  main: {command: 'yes | head -c 20000000'}\n")
    home = str(small_disk / "store")
    said = mlrun("run", project.path, *LOCAL, MLRUN_HOME=home)
    assert said.code != 0
    for path in (small_disk / "store").rglob("std*.log"):
        path.unlink()
    [run] = mlrun("list", "--json", MLRUN_HOME=home).ok().json["runs"]
    assert run["status"] in ("failed", "lost")


def test_a_home_that_cannot_be_written(mlrun: Mlrun, project: Project, tmp_path: Path):
    disk = tmp_path / "readonly"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], check=False, capture_output=True)
    need("root", mounted.returncode == 0, "only root can mount a read-only disk")
    try:
        for argv in (["run", project.path, *LOCAL], ["list"], ["show", "latest"]):
            said = mlrun(*argv, MLRUN_HOME=str(disk / "store"), MLRUN_CACHE=str(disk / "cache"))
            assert said.code == 125
            assert "Read-only file system" in said.err
            assert len(said.err.splitlines()) == 3
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_hostile_local_repository_runs_no_code(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write("data.txt", "x")
    project.commit()
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    project.git("config", "core.fsmonitor", str(trap))
    project.git("config", "filter.evil.clean", str(trap))
    project.git("config", "filter.evil.smudge", str(trap))
    project.git("config", "diff.external", str(trap))
    project.git("config", "diff.evil.textconv", str(trap))
    project.git("config", "core.hooksPath", str(tmp_path))
    for hook in ("post-checkout", "post-index-change", "pre-commit"):
        shutil.copy(trap, tmp_path / hook)
    project.write(".gitattributes", "* filter=evil diff=evil\n")
    project.write("data.txt", "y")
    mlrun("run", project.path, *LOCAL).ok()
    assert not (tmp_path / "sprung").exists()
    mlrun("rerun", "latest").ok()
    assert not (tmp_path / "sprung").exists()


def test_a_clone_runs_no_code_before_its_entry_point(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write(".gitattributes", "* filter=evil\n")
    project.write(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch {tmp_path}/sprung\n')
    project.commit()
    hook = project.path / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    hook.chmod(0o755)
    mlrun("run", f"file://{project.path}", *LOCAL)
    mlrun("run", f"ext::sh -c touch% {tmp_path}/sprung", *LOCAL)
    mlrun("run", f"--upload-pack=touch {tmp_path}/sprung", *LOCAL)
    mlrun("run", f"file://{project.path}", "-v", f"--output={tmp_path}/sprung", *LOCAL)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["../escaped", "/tmp/mlrun-escaped", "a/../../escaped"])
def test_a_zip_cannot_write_outside(mlrun: Mlrun, tmp_path: Path, name: str):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("MLproject", "entry_points:\n  main: {command: echo ran}\n")
        archive.writestr(name, "gotcha")
    said = mlrun("run", tmp_path / "evil.zip", *LOCAL)
    assert said.code == 125
    assert not list(tmp_path.parent.rglob("escaped"))
    assert not Path("/tmp/mlrun-escaped").exists()


def test_a_zip_link_that_leads_outside(mlrun: Mlrun, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("MLproject", "entry_points:\n  main: {command: cat link/secret}\n")
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path / "outside"))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    said = mlrun("run", tmp_path / "evil.zip", *LOCAL)
    assert said.code == 125
    assert "secret" not in said.out


def test_a_child_that_prints_a_gigabyte(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'head -c 1073741824 /dev/zero'}\n")
    digest, size, peak = hashlib.sha256(), 0, 0
    with subprocess.Popen([*MLRUN, "run", "-q", project.path, *LOCAL], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            size += len(block)
            digest.update(block)
            if size % (64 << 20) < len(block):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, int(status.partition("VmRSS:")[2].split()[0]))
    assert process.returncode == 0
    assert size == 1 << 30
    assert peak < 200_000  # KiB
    assert mlrun.show()["logs"]["stdout"]["digest"]["sha256"] == digest.hexdigest()


def test_a_reboot_leaves_no_run_running(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'exec sleep 300'}\n")
    run = mlrun("run", project.path, *LOCAL, "--detach").ok().out.strip()
    directory = Path(os.environ["MLRUN_HOME"]) / "runs" / run
    until((directory / "start.json").exists)
    mlrun("cancel", run).ok()
    # The same files, as a machine that went down in the middle of the run would have left them.
    for name in ("outcome.json", "outputs.json", "record.json", "record.json.sha256", "cancel.json"):
        (directory / name).unlink(missing_ok=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for name in ("claim.json", "start.json"):
        path = directory / name
        text = path.read_text().replace(boot, "00000000-0000-0000-0000-000000000000")
        path.chmod(0o600)
        path.write_text(text)
    (Path(os.environ["MLRUN_HOME"]) / "index.sqlite").unlink()
    assert mlrun("list", "--json").ok().json["runs"][0]["status"] == "lost"
    assert mlrun.show(run)["run"]["status"] == "lost"


@pytest.mark.parametrize(("began", "went"), [("-2h", "+3h"), ("+3h", "-2h")])
def test_a_clock_that_jumps(mlrun: Mlrun, project: Project, tmp_path: Path, began: str, went: str):
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    need("faketime", found, "libfaketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text(began)
    project.write("MLproject", f"entry_points:\n  main: {{command: 'sleep 1; echo {went} > {clock}; sleep 1'}}\n")
    mlrun(
        *("run", project.path, *LOCAL),
        LD_PRELOAD=str(found[0]),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    ).ok()
    record = mlrun.show()
    assert record["run"]["status"] == "succeeded"
    assert 2 <= record["run"]["duration"] < 600
    assert ("run.ended" in {gap["field"] for gap in record["gaps"]}) is (went == "-2h")


@pytest.mark.slow
def test_two_hundred_runs_at_once(mlrun: Mlrun, project: Project):
    project.commit()
    argv = [*MLRUN, "run", "-q", str(project.path), "--isolated", *LOCAL, "-P"]
    begun = time.monotonic()
    processes = [subprocess.Popen([*argv, f"word={n}"], stdout=subprocess.PIPE) for n in range(200)]
    outs = sorted(int(process.communicate(timeout=240)[0]) for process in processes)
    assert outs == list(range(200))
    runs = mlrun("list", "--all", "--json").ok().json["runs"]
    assert len({run["id"] for run in runs}) == 200
    assert {run["status"] for run in runs} == {"succeeded"}
    assert time.monotonic() - begun < 240
