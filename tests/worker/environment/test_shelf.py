"""Environments of the cache under hard times: damage, edits, kills, crowds, full and read-only disks."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError, StoreError
from runner.worker.codec import encode
from runner.worker.environment.cache import installed
from runner.worker.environment.cache.shelf import hold
from runner.worker.environment.upkeep import prune, remove, shelved, verify
from runner.worker.facts import InstalledEnvironment
from tests.environments.wheels import make_wheel
from tests.needs import need

from .conftest import Host, module_of

_PREPARE = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from runner.worker.codec import decode
from runner.worker.environment.prepare import prepare
from runner.worker.facts import Placement
from runner.worker.objects import Objects
from runner.worker.spec import RunSpec
data = json.loads(sys.argv[2])
root = Path(data["root"])
environment = prepare(
    RunSpec.from_json(data["spec"]), decode(Placement, data["placement"]), Objects(root / "store" / "objects"),
    root / "project", lambda line: print(line, file=sys.stderr, flush=True),
    scratch=root / f"scratch{sys.argv[3]}", installer=data["installer"])
print(environment.prefix, environment.reused)
"""


def argv(host: Host, number: int, *requirements: str) -> list[str]:
    """Return the words that prepare in a process of its own."""
    data = {
        "root": str(host.root),
        "spec": host.spec(*requirements).to_json(),
        "placement": encode(host.placement),
        "installer": host.installer,
    }
    return [sys.executable, "-c", _PREPARE, json.dumps(sys.path), json.dumps(data), str(number)]


def elsewhere(host: Host, number: int, *requirements: str) -> "subprocess.Popen[str]":
    """Prepare in a process of its own."""
    words, pipe = argv(host, number, *requirements), subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_an_edited_module_is_found_and_the_environment_built_again(host: Host) -> None:
    first = host.prepare("red")
    module = module_of(first, "blue")
    before = module.stat()
    module.write_text(module.read_text().replace("1.0", "6.6"))
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))  # size and mtime as before: ctime tells
    again = host.prepare("red")
    assert not again.reused
    assert again.why == "blue was edited (blue/__init__.py)"
    assert host.said[0] == "note: the environment is built again: blue was edited (blue/__init__.py)"
    assert "1.0" in module_of(again, "blue").read_text()
    assert again.installed_digest == first.installed_digest
    assert not Path(first.prefix).exists()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda prefix: (prefix / "bin" / "python").unlink(), "its interpreter is gone"),
        (shutil.rmtree, "its interpreter is gone"),
        (lambda prefix: (prefix / "pyvenv.cfg").unlink(), "it has lost its interpreter"),
        (lambda prefix: (prefix.parent / "environment.json").write_text("{"), "its marker is damaged"),
        (lambda prefix: (prefix.parent / "environment.json").write_bytes(b"\xff\xfe"), "its marker is damaged"),
        (lambda prefix: (prefix.parent / "environment.json").unlink(), "an earlier build was interrupted"),
        (lambda prefix: next(prefix.glob("lib/*/*/blue/data.txt")).unlink(), "blue was edited (blue/data.txt)"),
        (lambda prefix: shutil.rmtree(next(prefix.glob("lib/*/*/blue-*"))), "blue was removed from it"),
        (
            lambda prefix: (next(prefix.glob("lib/*/site-packages")) / "sitecustomize.py").write_text("1/0"),
            "sitecustomize.py was added to site-packages",
        ),
        (lambda prefix: append(prefix / "pyvenv.cfg", "include-system-site-packages = true"), "pyvenv.cfg was edited"),
        (lambda prefix: append(prefix / "bin" / "pip", "# more"), "bin/pip was edited"),
        (lambda prefix: (prefix / "bin" / "ls").write_text("#!/bin/sh\n"), "bin/ls was added"),
        (lambda prefix: relink(prefix / "bin" / "python3", "/usr/bin/python3"), "bin/python3 was edited"),
        (
            lambda prefix: append(next(prefix.glob("lib/*/*/_mlrun_opened.py")), "1/0"),
            "_mlrun_opened.py was edited",
        ),
        (lambda prefix: append(next(prefix.glob("lib/*/*/blue-*/RECORD")), "x,,"), "blue was edited"),
        (lambda prefix: append(prefix.with_name(f"{prefix.name}.watched"), "\0gone"), ""),
    ],
)
def test_damage_is_found_and_repaired(host: Host, damage, why: str) -> None:
    first = host.prepare("blue")
    damage(Path(first.prefix))
    again = host.prepare("blue")
    assert re.match(rf"(lib/\S*/)?{re.escape(why)}", again.why)
    assert again.reused is (why == "")
    assert host.prepare("blue").reused
    assert verify(host.cache, again.key or "") is None


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(f"{text}\n")


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def test_what_is_added_to_a_package_is_found_when_all_is_read(host: Host) -> None:
    first = host.prepare("blue")
    added = module_of(first, "blue").with_name("more.py")
    added.touch()
    assert re.fullmatch(
        r"lib/python[\d.]+/site-packages/blue/more\.py was added", verify(host.cache, first.key or "") or ""
    )
    added.unlink()
    (added.parent / "__pycache__").mkdir(exist_ok=True)
    (added.parent / "__pycache__" / "more.pyc").touch()
    assert verify(host.cache, first.key or "") is None


def test_what_python_2_compiles_beside_the_source_is_no_edit(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python2.7" / "site-packages"
    (site / "pack").mkdir(parents=True)
    for name in ("six.py", "six.pyc", "stray.pyc", "pack/a.py", "pack/a.pyo"):
        (site / name).touch()
    assert installed.top_level(tmp_path) == ("pack", "six.py", "stray.pyc")
    listed = installed.others(tmp_path).split(b"\0")
    names = [line.rpartition(b"/")[2] for line in listed]
    assert names == [b"a.py", b"six.py", b"stray.pyc"]


def test_a_list_that_was_lost_is_made_again(host: Host) -> None:
    first = host.prepare("blue")
    watched, others = (Path(f"{first.prefix}.{name}") for name in ("watched", "others"))
    before = watched.read_bytes()
    watched.unlink()
    assert host.prepare("blue").reused
    assert watched.read_bytes() == before
    append(others, "x")
    append(Path(first.prefix, "bin", "pip"), "# more")
    assert host.prepare("blue").why == f"{others.name} was edited"


def test_an_environment_of_an_older_mlrun_serves(host: Host) -> None:
    first = host.prepare("blue")
    marker = Path(first.prefix).parent / "environment.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "others": ""}))
    Path(f"{first.prefix}.others").unlink()
    os.utime(module_of(first, "blue"))
    assert host.prepare("blue").reused


def test_a_distribution_that_a_run_installed_does_not_stay(host: Host) -> None:
    first = host.prepare("blue")
    pip = [f"{first.bin}/python", "-m", "pip", "install", "-q", "--no-index", "--find-links", str(host.wheels), "red"]
    subprocess.run(pip, check=True, capture_output=True)
    again = host.prepare("blue")
    assert again.why == "red was installed into it"
    assert host.names(again) == {"blue"}


def test_running_in_it_is_no_edit(host: Host) -> None:
    first = host.prepare("blue")
    subprocess.run([f"{first.bin}/python", "-c", "import blue, pip"], check=True)
    again = host.prepare("blue")
    assert again.reused


def test_a_touched_file_costs_one_long_look(host: Host) -> None:
    first = host.prepare("blue")
    marker = Path(first.prefix).parent / "environment.json"
    before = marker.read_bytes()
    os.utime(module_of(first, "blue"))
    assert host.prepare("blue").reused
    after = marker.read_bytes()
    assert before != after
    assert host.prepare("blue").reused
    assert marker.read_bytes() == after


def test_every_file_is_looked_at_on_request(host: Host) -> None:
    environment = host.prepare("blue")
    assert verify(host.cache, environment.key or "") is None
    module_of(environment, "blue").write_text("VERSION = None\n")
    assert verify(host.cache, environment.key or "") == "blue was edited (blue/__init__.py)"
    assert verify(host.cache, "0" * 32) == "there is none"


def test_a_crowd_builds_one_environment(host: Host) -> None:
    crowd = [elsewhere(host, number, "red") for number in range(50)]
    answers = [process.communicate(timeout=240) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * len(crowd), answers
    assert len({answer.split()[0] for answer, _ in answers}) == 1
    assert sorted(answer.split()[1] for answer, _ in answers) == ["False"] + ["True"] * (len(crowd) - 1)
    assert sum("resolving" in said for _, said in answers) == 1


@pytest.mark.parametrize(
    ("said", "then", "alone"),
    [
        ("resolving", "", False),
        ("virtual environment", "envs/*/*/pyvenv.cfg", False),
        ("installing", "envs/*/*/lib/*/site-packages/blue", False),
        ("installing", "", True),  # uv goes on without it
        ("installing", "envs/*/*.watched", False),
        ("installing", "envs/*/*.others", False),
        ("installing", "envs/*/.environment.json.*", False),
    ],
)
def test_a_build_killed_at_any_step_is_not_taken_for_an_environment(
    host: Host, said: str, then: str, alone: bool
) -> None:
    process = elsewhere(host, 0, "red")
    assert process.stderr is not None
    for line in process.stderr:
        if said in line:
            break
    deadline = time.monotonic() + 30
    while then and process.poll() is None and not list(host.cache.glob(then)) and time.monotonic() < deadline:
        time.sleep(0.0005)
    with contextlib.suppress(ProcessLookupError):  # it may have come to its end
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    process.communicate()
    environment = host.prepare("red")
    assert host.names(environment) == {"red", "blue"}
    assert subprocess.run([f"{environment.bin}/python", "-c", "import red, blue"], check=False).returncode == 0
    assert verify(host.cache, environment.key or "") is None
    assert host.prepare("red").reused
    prune(host.cache)
    key = Path(environment.prefix).parent
    until_only(key, environment)


def test_what_outlived_a_killed_build_leaves_nothing_beside_the_next(host: Host) -> None:
    first = host.prepare("blue")
    key = Path(first.prefix).parent
    (key / "environment.json").unlink()  # as its build was killed before it came there

    class Said(list[str]):
        def append(self, line: str) -> None:
            if "installing" in line:  # swept by now: what writes on makes its directory again
                Path(first.prefix, "lib").mkdir(parents=True)

    host.said = Said()
    again = host.prepare("blue")
    assert not again.reused
    assert [path for path in key.iterdir() if path.is_dir()] == [Path(again.prefix)]


def until_only(key: Path, environment: InstalledEnvironment) -> None:
    """Wait until a key holds one environment: uv may outlive its killed worker, and write for a moment longer."""
    deadline = time.monotonic() + 20
    while [path for path in key.iterdir() if path.is_dir()] != [Path(environment.prefix)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        prune(key.parent.parent)
    left = {path.name.partition(".")[2] for path in key.iterdir() if path.is_file()}
    assert left <= {"", "json", "lock", "watched", "others"}


@pytest.mark.parametrize("size", ["1M", "12M", "24M"])
def test_a_full_disk_leaves_no_half_environment(host: Host, size: str) -> None:
    need("root", shutil.which("unshare") and os.geteuid() == 0, "a small disk needs root and unshare")
    make_wheel(host.wheels, "large", text=f"DATA = {os.urandom(8 << 20).hex()!r}")
    script = (
        f'mount -t tmpfs -o size={size} tmpfs "$0" && "$@"; echo "code $?"; '
        'cd "$0" && ls envs/*/ 2>/dev/null; find . -name pyvenv.cfg; find . -name ".*.json.*"'
    )
    host.cache.mkdir()
    words = ["unshare", "--mount", "sh", "-c", script, str(host.cache), *argv(host, 1, "large")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "code 1" in done.stdout, done.stdout
    last = done.stderr.strip().splitlines()[-1].lower()
    assert last.startswith(("runner.errors.environmentbuilderror", "runner.errors.storeerror")), done.stderr
    assert "no space left" in last, done.stderr
    assert "pyvenv.cfg" not in done.stdout
    assert "environment.json" not in done.stdout


def test_an_environment_in_use_is_not_removed(host: Host) -> None:
    environment = host.prepare("blue")
    key = environment.key or ""
    with hold(environment) as descriptor:
        assert descriptor is not None
        assert [one.held for one in shelved(host.cache)] == [True]
        assert not remove(host.cache, key)
        assert Path(environment.prefix).exists()
    assert [one.held for one in shelved(host.cache)] == [False]
    assert remove(host.cache, key)
    assert not Path(environment.prefix).parent.exists()
    assert shelved(host.cache) == ()


def test_a_child_keeps_its_environment_after_its_worker(host: Host) -> None:
    environment = host.prepare("blue")
    with hold(environment) as descriptor:
        assert descriptor is not None
        child = subprocess.Popen(["sleep", "60"], pass_fds=(descriptor,))
    try:
        assert not remove(host.cache, environment.key or "")
    finally:
        child.kill()
        child.wait()
    assert remove(host.cache, environment.key or "")


def test_an_edit_while_it_is_in_use_makes_a_second_one_beside(host: Host) -> None:
    first = host.prepare("blue")
    with hold(first):
        module_of(first, "blue").write_text("VERSION = None\n")
        second = host.prepare("blue")
        assert second.key == first.key
        assert second.prefix != first.prefix
        assert module_of(first, "blue").exists()
    module_of(second, "blue").write_text("VERSION = None\n")
    third = host.prepare("blue")
    assert [path.name for path in Path(third.prefix).parent.iterdir() if path.is_dir()] == [Path(third.prefix).name]


def test_what_was_removed_meanwhile_is_not_held(host: Host) -> None:
    environment = host.prepare("blue")
    remove(host.cache, environment.key or "")
    with pytest.raises(EnvironmentBuildError, match="removed since it was prepared"), hold(environment):
        pytest.fail("it was held")


def test_pruning_spares_what_was_used_just_now(host: Host) -> None:
    environment = host.prepare("blue")
    assert prune(host.cache, unused_for=0).removed == ()
    os.utime(f"{environment.prefix}.lock", (0, 0))
    assert [one.key for one in prune(host.cache, unused_for=0, dry_run=True).removed] == [environment.key]
    assert [one.key for one in prune(host.cache, unused_for=0).removed] == [environment.key]
    assert shelved(host.cache) == ()


def test_a_build_that_fails_leaves_nothing(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.prepare("blue")
    spec = host.spec("blue", manager="uv")
    (host.wheels / "blue-1.0-py3-none-any.whl").unlink()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(EnvironmentBuildError, match="cannot be installed"):
        host.carry_out(spec)
    assert len(list(host.cache.glob("envs/*/*/pyvenv.cfg"))) == 1


def test_a_read_only_cache_serves_and_says_so_when_it_cannot(host: Host) -> None:
    need("root", shutil.which("unshare") and os.geteuid() == 0, "a read-only disk needs root and unshare")
    host.prepare("blue")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    read_only = ["unshare", "--mount", "sh", "-c", script, str(host.cache)]
    served = subprocess.run([*read_only, *argv(host, 1, "blue")], capture_output=True, text=True, check=False)
    assert served.stdout.split()[1:] == ["True"], served.stderr
    refused = subprocess.run([*read_only, *argv(host, 2, "red")], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "StoreError: cannot write to the cache" in refused.stderr.strip().splitlines()[-1]


def test_a_cache_that_cannot_be_made_is_one_line(host: Host) -> None:
    host.cache.write_text("a file where a directory should be")
    with pytest.raises(StoreError) as caught:
        host.prepare("blue")
    assert "MLRUN_CACHE" in caught.value.hint
