"""conda environments under hard times: kills at each step, swapped archives, edits, full disks, crowds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.codec import encode
from runner.worker.environment.upkeep import prune, shelved, verify
from runner.worker.spec import RunSpec
from tests.conda.channel import PREFIX
from tests.conda.conftest import CondaHost
from tests.conda.test_private import Quiet
from tests.needs import need
from tests.worker.environment.test_shelf import _PREPARE


def elsewhere(host: CondaHost, spec: RunSpec, number: int = 0, program: str = _PREPARE) -> "subprocess.Popen[str]":
    """Prepare in a process of its own, in a process group of its own."""
    data = {
        "root": str(host.root),
        "spec": spec.to_json(),
        "placement": encode(host.placement),
        "installer": host.installer,
    }
    words = [sys.executable, "-c", program, json.dumps(sys.path), json.dumps(data), str(number)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@pytest.fixture
def spec(host: CondaHost) -> RunSpec:
    """An environment with a python, a module, a file with the prefix in it, and a pip part."""
    channel = host.channel
    channel.python()
    channel.module("green")
    channel.package("native", "2.0", {"bin/native": f"#!/bin/sh\necho {PREFIX}\n", "share/large": os.urandom(2 << 20)})
    return host.asked("python", "green", "native", pip=("red",))


def expect_whole(host: CondaHost, spec: RunSpec) -> None:
    """The environment can be had, works, and nothing else was left."""
    found = host.carry_out(spec)
    assert host.run(found, "import green, red; print(green.VERSION, red.VERSION)") == "1.0 1.0"
    assert subprocess.check_output([f"{found.bin}/native"], text=True).strip() == found.prefix
    root = Path(found.prefix).parent
    assert [path.name for path in root.iterdir() if path.is_dir()] == [Path(found.prefix).name]
    assert verify(host.cache, root.name) is None
    assert host.carry_out(spec).reused


@pytest.mark.parametrize(
    ("whom", "step"),
    [
        ("worker", "solving"),
        ("worker", "resolving the pip part"),
        ("worker", "installing 3 conda packages"),  # py-rattler goes on for as long as it takes to see it
        ("worker", "installing 2 packages"),
        ("worker", "Installed 2 packages"),
        ("all", "installing 3 conda packages"),
        ("all", "installing 2 packages"),
    ],
)
def test_a_kill_at_each_step_leaves_nothing_that_is_taken_for_an_environment(
    host: CondaHost, spec: RunSpec, step: str, whom: str
) -> None:
    kill = {"worker": "os.kill(os.getpid(), 9)", "all": "os.killpg(os.getpgid(0), 9)"}[whom]
    say = f"lambda line: {kill} if line.startswith({step!r}) else None"
    before, _, after = _PREPARE.partition("lambda line: print(line, file=sys.stderr, flush=True)")
    process = elsewhere(host, spec, program=f"import os{before}{say}{after}")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    expect_whole(host, spec)


@pytest.mark.parametrize("delay", [0.02, 0.08])
def test_a_kill_in_the_midst_of_extraction(host: CondaHost, spec: RunSpec, delay: float) -> None:
    process = elsewhere(host, spec)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("installing 3 conda packages"):
            time.sleep(delay)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate()
    expect_whole(host, spec)


def test_a_swapped_archive_is_refused(host: CondaHost, spec: RunSpec) -> None:
    lock = host.carry_out(spec).lock
    channel = host.channel
    archive = channel.path / "noarch" / "green-1.0-0.tar.bz2"
    genuine = archive.read_bytes()
    channel.module("green", "1.0", text="print('evil')\n")
    assert archive.read_bytes() != genuine
    shutil.rmtree(host.cache / "envs")
    shutil.rmtree(host.cache / "downloads")
    pinned = host.asked("python", "green", "native", pip=("red",), lock=lock)
    with pytest.raises(
        EnvironmentBuildError, match=r"green-1\.0-0\.tar\.bz2 is not the archive that was locked"
    ) as caught:
        host.carry_out(pinned)
    assert "`--upgrade` (`mlrun run`, `mlrun lock`) if on purpose; else do not trust it" in caught.value.hint
    assert not [path for path in (host.cache / "envs").rglob("*") if path.name == "green.py"]
    archive.write_bytes(genuine)
    assert host.carry_out(pinned).lock == lock


def test_an_archive_that_is_damaged_in_the_cache_is_fetched_anew(host: CondaHost, spec: RunSpec) -> None:
    host.carry_out(spec)
    shutil.rmtree(host.cache / "envs")
    [archive] = host.cache.glob("downloads/conda/archives/*/green-*")
    archive.write_bytes(archive.read_bytes()[:-10])
    expect_whole(host, spec)


def test_a_channel_that_names_another_hash_is_refused(host: CondaHost) -> None:
    host.channel.package("native", files={"share/n": "n"}, told={"sha256": "0" * 64})
    with pytest.raises(EnvironmentBuildError, match=r"native-1\.0-0\.tar\.bz2 is not the archive .* sha256 0000"):
        host.conda("native")


def test_a_channel_without_sha256_is_held_to_its_md5_and_to_what_it_sent(host: CondaHost) -> None:
    host.channel.package("old", files={"share/o": "o"}, told={"sha256": None})
    found = host.conda("old")
    assert "names no sha256" in " ".join(host.said)
    [package] = found.packages
    [archive] = host.channel.path.glob("*/old-1.0-0.tar.bz2")
    import hashlib

    assert package.sha256 == (hashlib.sha256(archive.read_bytes()).hexdigest(),)
    host.channel.package("older", files={"share/o": "o"}, told={"sha256": None, "md5": "0" * 32})
    with pytest.raises(EnvironmentBuildError, match="md5 0000"):
        host.conda("older")


def _append(path: Path) -> None:
    path.chmod(0o644)
    path.write_text(path.read_text() + "\n# edited\n")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda at: _append(next(at.glob("lib/*/site-packages/green.py"))), r"green was edited \(.*green\.py\)"),
        (lambda at: _append(at / "bin" / "native"), r"native was edited \(bin/native\)"),
        (lambda at: (at / "bin" / "native").unlink(), r"native was edited \(bin/native\)"),
        (lambda at: _append(next(at.glob("lib/*/site-packages/red/__init__.py"))), r"red \(pip\) was edited"),
        (lambda at: next(at.glob("conda-meta/green*.json")).unlink(), r"green was removed from it"),
        (lambda at: (next(at.glob("lib/*/site-packages")) / "stray.py").touch(), r"stray\.py was added"),
        (lambda at: (at / "bin" / "python").unlink(), "its interpreter is gone"),
        (shutil.rmtree, "its interpreter is gone"),
    ],
    ids=["module", "prefixed", "removed", "pip", "meta", "stray", "python", "all"],
)
def test_damage_is_found_and_repaired(host: CondaHost, spec: RunSpec, damage, why: str) -> None:
    first = host.carry_out(spec)
    damage(Path(first.prefix))
    host.said.clear()
    again = host.carry_out(spec)
    assert not again.reused
    assert any(line.startswith("note: the environment is built again: ") for line in host.said)
    import re

    assert re.search(why, again.why)
    assert again.installed_digest == first.installed_digest
    assert host.carry_out(spec).reused


def test_an_edit_never_reaches_another_environment(host: CondaHost, spec: RunSpec) -> None:
    first = host.carry_out(spec)
    _append(next(Path(first.prefix).glob("lib/*/site-packages/green.py")))
    other = host.conda("python", "green")
    assert "edited" not in next(Path(other.prefix).glob("lib/*/site-packages/green.py")).read_text()


def test_running_in_it_is_no_edit(host: CondaHost, spec: RunSpec) -> None:
    first = host.carry_out(spec)
    host.run(first, "import green, red")
    assert host.carry_out(spec).reused


def test_a_moved_cache_is_found_out(host: CondaHost, spec: RunSpec) -> None:
    first = host.carry_out(spec)
    [root] = host.cache.glob("envs/*")
    moved = host.cache / "elsewhere"
    root.rename(moved)
    moved.rename(root.parent / root.name)
    Path(first.prefix).rename(root / "0badcafe")
    marker = json.loads((root / "environment.json").read_text())
    (root / "environment.json").write_text(json.dumps({**marker, "directory": "0badcafe"}))
    again = host.carry_out(spec)
    assert not again.reused
    assert "moved" in again.why


def test_a_crowd_builds_one_environment(host: CondaHost, spec: RunSpec) -> None:
    crowd = [elsewhere(host, spec, number) for number in range(6)]
    answers = [process.communicate(timeout=240)[0].split() for process in crowd]
    assert len({prefix for prefix, _ in answers}) == 1
    assert [reused for _, reused in answers].count("False") == 1


def test_it_is_listed_verified_and_pruned(host: CondaHost, spec: RunSpec) -> None:
    found = host.carry_out(spec)
    [one] = shelved(host.cache)
    assert (one.key, one.environment.kind, one.fault) == (found.key, "conda", None)
    _append(next(Path(found.prefix).glob("lib/*/site-packages/green.py")))
    assert "green was edited" in verify(host.cache, one.key)
    os.utime(f"{found.prefix}.lock", (1, 1))
    assert [each.key for each in prune(host.cache, unused_for=0).removed] == [found.key]
    assert shelved(host.cache) == ()


@pytest.fixture
def no_times(host: CondaHost) -> Iterator[None]:
    """Downloads on a disk that keeps no times of reading, as many servers have theirs."""
    disk = host.cache / "downloads"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "noatime", "tmpfs", disk], check=False, capture_output=True)
    need("root", mounted.returncode == 0, "a disk cannot be mounted here")
    yield
    subprocess.run(["umount", disk], check=True)


@pytest.mark.usefixtures("no_times")
def test_archives_that_a_build_is_about_to_use_are_not_pruned(host: CondaHost) -> None:
    for name in ("first", "second"):
        host.channel.package(name)
    pruned: list[str] = []

    class Served(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - its name is given
            if "second" in self.path:  # the first one's archive is hashed by now, and not yet used
                pruned.extend(one.path.parent.name for one in prune(host.cache, unused_for=0).provisions)
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Served, directory=str(host.channel.path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        channels = (f"http://127.0.0.1:{server.server_address[1]}",)
        shutil.rmtree(host.conda("first", channels=channels).prefix)
        [archive] = host.cache.glob("downloads/conda/archives/*/first-*")
        for path in (archive, archive.parent):
            os.utime(path, (time.time() - 2 * 3600,) * 2)
        found = host.conda("first", "second", channels=channels)
        server.shutdown()
    assert {one.name for one in found.packages} == {"first", "second"}
    assert "archives" not in pruned


def test_what_ended_py_rattler_is_told(host: CondaHost) -> None:
    class Deadly(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - its name is given
            for path in Path("/proc/self/task").glob("*/children"):
                for child in path.read_text().split():
                    if b"conda.tool" in Path("/proc", child, "cmdline").read_bytes():
                        os.kill(int(child), signal.SIGKILL)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Deadly, directory=str(host.channel.path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(
            EnvironmentBuildError, match=r"cannot be solved: py-rattler was ended by signal 9$"
        ) as caught:
            host.conda("first", channels=(f"http://127.0.0.1:{server.server_address[1]}",))
        server.shutdown()
    assert "run it again" in caught.value.hint


def test_a_channel_that_went_since_is_named(host: CondaHost) -> None:
    host.channel.package("first")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(host.channel.path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        channels = (f"http://127.0.0.1:{server.server_address[1]}",)
        lock = host.conda("first", channels=channels).lock
        server.shutdown()
    shutil.rmtree(host.cache / "envs")
    shutil.rmtree(host.cache / "downloads")
    with pytest.raises(
        EnvironmentBuildError, match=rf"{channels[0]}\S+/first-1\.0-0\.tar\.bz2 cannot be fetched: "
    ) as caught:
        host.conda("first", channels=channels, lock=lock)
    assert "need the network once" in caught.value.hint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False, capture_output=True)
    need("root", mounted.returncode == 0, "a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_no_half_environment(host: CondaHost, spec: RunSpec, small_disk: Path) -> None:
    tools = (host.cache / "tools").readlink()
    shutil.rmtree(host.cache)
    host.cache.symlink_to(small_disk)
    (host.cache / "tools").symlink_to(tools)
    with pytest.raises(EnvironmentBuildError, match="No space left on device") as caught:
        host.carry_out(spec)
    assert "mlrun env prune" in caught.value.hint
    assert "\n" not in caught.value.message
    assert [one for one in shelved(host.cache) if one.environment] == []
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    expect_whole(host, spec)
