"""What the cache's environments cost, who used them, and which go."""

import fcntl
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from runner.worker.environment import nearness
from runner.worker.environment.cache import soundness
from runner.worker.environment.cache.pulse import pulse_of
from runner.worker.environment.cache.shelf import hold
from runner.worker.environment.cache.slot import Marker, Slot, Use, note, uses, watched_of
from runner.worker.environment.provisions import provisions
from runner.worker.environment.upkeep import prune, shelved, verify
from runner.worker.facts import InstalledEnvironment
from tests.environments.wheels import make_wheel

from .conftest import Host, module_of

_HOURS = 3600


def aged(environment: InstalledEnvironment, hours: float) -> str:
    """Make an environment one that was last used so long ago, and return its key."""
    moment = time.time() - hours * _HOURS
    os.utime(f"{environment.prefix}.lock", (moment, moment))
    return environment.key or ""


def test_who_used_an_environment_is_known(host: Host) -> None:
    environment = host.prepare("blue")
    for number in range(3):
        with hold(environment, Use(f"run-{number}", "demo", "2026-11-24T07:00:00.000+00:00")):
            pass
    [one] = shelved(host.cache, sizes=True)
    assert [use.run for use in one.uses] == ["run-2", "run-1", "run-0"]
    assert one.size > 100_000
    assert (one.fault, one.held) == (None, False)


def test_the_list_of_uses_does_not_grow_for_ever(tmp_path: Path) -> None:
    for number in range(1500):
        note(tmp_path / "x", Use(f"{number:0100}", "demo", "then"))
    kept = uses(tmp_path / "x")
    assert len(kept) < 1000
    assert int(kept[0].run) == 1499
    assert (tmp_path / "x.uses").stat().st_size < 1 << 17


def test_pruning_by_age_spares_what_was_used_since(host: Host) -> None:
    old, new = aged(host.prepare("blue"), 100), aged(host.prepare("red"), 2)
    done = prune(host.cache, unused_for=50 * _HOURS)
    assert [one.key for one in done.removed] == [old]
    assert [one.key for one in done.kept] == [new]
    assert [one.key for one in shelved(host.cache)] == [new]


def test_pruning_to_a_size_removes_the_longest_unused_first(host: Host) -> None:
    make_wheel(host.wheels, "green")
    keys = [aged(host.prepare(name), age) for name, age in (("blue", 30), ("red", 20), ("green", 10))]
    sizes = {one.key: one.size for one in shelved(host.cache, sizes=True)}
    stock = sum(one.size for one in provisions(host.cache))
    done = prune(host.cache, keep=sizes[keys[2]] + sizes[keys[1]] + stock)
    assert [one.key for one in done.removed] == [keys[0]]
    assert [one.key for one in prune(host.cache, keep=0).kept] == []


def test_what_is_held_or_just_used_stays_whatever_the_size(host: Host) -> None:
    held, fresh = host.prepare("blue"), host.prepare("red")
    aged(held, 100)
    with hold(held):
        assert prune(host.cache, unused_for=0, keep=0).removed == ()
    done = prune(host.cache, unused_for=0, keep=0)
    assert [one.key for one in done.removed] == [held.key]
    assert [one.key for one in done.kept] == [fresh.key]


def test_what_cannot_be_used_goes_without_being_asked(host: Host) -> None:
    half = host.cache / "envs" / "half" / "ab12"
    (half / "bin").mkdir(parents=True)
    lost = host.prepare("blue")
    (Path(lost.bin) / "python").unlink()
    aged(lost, 2)
    sound = host.prepare("red")
    assert {one.key: one.fault is None for one in shelved(host.cache)} == {
        "half": False,
        lost.key: False,
        sound.key: True,
    }
    assert {one.key for one in prune(host.cache).removed} == {"half", lost.key}
    assert not half.parent.exists()


def test_a_cache_that_was_moved_is_built_again_with_a_word(host: Host) -> None:
    first = host.prepare("blue")
    moved = host.root / "moved"
    shutil.copytree(host.cache, moved, symlinks=True)  # the old one is still there, and must not be taken for the new
    again = host.carry_out(host.spec("blue"), cache=str(moved))
    assert not again.reused
    assert Path(again.prefix).is_relative_to(moved)
    assert again.why.startswith(f"it was moved here from {first.prefix}")
    assert any(line.startswith("note: the environment is built again: it was moved here") for line in host.said)


def test_after_a_reboot_all_is_read_once(host: Host) -> None:
    environment = host.prepare("blue")
    slot = Slot(host.cache / "envs" / (environment.key or ""))
    marker = slot.read()
    assert isinstance(marker, Marker)
    module = module_of(environment, "blue")
    watched = watched_of(environment.prefix).read_bytes()
    module.write_bytes(b"\0" * module.stat().st_size)  # what a crash can leave of a file that was not yet on the disk
    lost = replace(marker, boot="another", pulse=pulse_of(Path(environment.prefix), watched))
    slot.write(lost)
    assert soundness.fault(slot, lost) == "blue was edited (blue/__init__.py)"
    again = host.prepare("blue")
    marker = slot.read()
    assert isinstance(marker, Marker)
    slot.write(replace(marker, boot="another"))
    assert host.prepare("blue").reused
    marker = slot.read()
    assert isinstance(marker, Marker)
    assert marker.boot == ""
    assert verify(host.cache, again.key or "") is None


def test_a_python_that_was_replaced_by_a_like_one_is_told_apart(host: Host) -> None:
    recipe = nearness.of_installed(host.prepare("blue"), {})
    assert recipe.interpreter is not None
    one, other = (replace(recipe, interpreter=replace(recipe.interpreter, sha256=digit * 64)) for digit in "01")
    [phrase] = nearness.differences(one, other)
    assert phrase.startswith("another file of Python 3")
    assert phrase.endswith("(111111111111 instead of 000000000000)")


def test_why_it_was_built_names_the_nearest(host: Host) -> None:
    first = host.prepare("red")
    make_wheel(host.wheels, "blue", "2.0")
    second = host.prepare("red", placed={"upgrade": True})
    assert second.why == (
        f"first use of these packages with this interpreter; the nearest environment, {(first.key or '')[:8]}, "
        "has blue 1.0 instead of 2.0"
    )
    by_uv = host.prepare("red", manager="uv")
    assert by_uv.why.endswith(f"{(second.key or '')[:8]}, has maker virtualenv instead of uv")
    make_wheel(host.wheels, "blue", "2.0", text="OTHER = 1")
    third = host.prepare("red", placed={"upgrade": True})
    assert third.why.endswith(f"{(second.key or '')[:8]}, has blue 2.0 from another archive")


def test_what_environments_are_made_from_goes_as_they_do(tmp_path: Path) -> None:
    old, new = time.time() - 100 * _HOURS, time.time() - 2 * _HOURS

    def put(path: str, moment: float) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 10_000)
        os.utime(file, (moment, moment))
        os.utime(file.parent, (moment, moment))
        return file

    archive = put("downloads/conda/archives/aa/a-1.conda", old)
    image, answer = put("images/1.sif", old), put("engines/e", old)
    for path in ("downloads/conda/archives/bb/b-1.conda", "downloads/conda/repodata/x.json"):
        put(path, new)
    half = put("downloads/conda/.7.a-1.conda", old)
    broken = put("downloads/conda/archives/cc/.8.c-1.conda", old)
    tool, lock = put("tools/py-rattler-0.0.1-linux-64/x", old), put("images/2.lock", old)
    kept = put("tools/uv/x", old)
    assert {one.path for one in prune(tmp_path, dry_run=True).provisions} == {half, broken.parent, tool.parent}
    assert half.exists()
    assert len(prune(tmp_path).provisions) == 3
    assert not half.exists()
    done = prune(tmp_path, unused_for=50 * _HOURS)
    assert {one.path for one in done.provisions} == {archive.parent, image, answer}
    assert prune(tmp_path, keep=100_000).provisions == ()
    done = prune(tmp_path, keep=15_000)
    assert (len(done.provisions), 10_000 <= done.left <= 15_000) == (1, True)
    assert lock.exists()
    assert kept.exists()


def test_what_is_read_by_another_name_of_the_cache_stays(tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "other"
    data = cache / "downloads" / ("a" * 16) / "data.csv"
    data.parent.mkdir(parents=True)
    data.touch()
    other.symlink_to(cache)
    for path in (data, data.parent):
        os.utime(path, (0, 0))
    for one, read in ((cache, other), (other, cache)):
        named = str(read / data.relative_to(cache))
        assert prune(one, unused_for=0, read=[named]).provisions == ()
    assert len(prune(other, unused_for=0).provisions) == 1


def test_what_was_fetched_just_now_stays(tmp_path: Path) -> None:
    archive = tmp_path / "downloads/conda/archives/aa/a-1.conda"
    archive.parent.mkdir(parents=True)
    archive.touch()
    assert prune(tmp_path, unused_for=0, keep=0).provisions == ()
    assert archive.exists()


def test_what_runs_are_made_from_goes_as_environments_do(tmp_path: Path) -> None:
    old = time.time() - 100 * _HOURS

    def put(path: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 10_000)
        for each in (file, *file.parents[: len(Path(path).parts) - 1]):
            os.utime(each, (old, old))
        return file

    clone, held = put("repositories/aa/objects/pack/p").parents[2], put("repositories/bb/HEAD").parent
    lock = put("repositories/bb.lock")
    large, seed = put("lfs.git/lfs/objects/aa/bb/aabb"), put("downloads/virtualenv/wheel/3.11/image/pip/x").parents[3]
    data, needed = put(f"downloads/{'a' * 16}/data.csv").parent, put(f"downloads/{'b' * 16}/data/part/1.csv")
    brought, read = put("inputs/cc.tree/data/1.csv").parents[1], put("inputs/dd.tree/data/1.csv")
    worker, uv, tool = (
        put("workers/e.pyz"),
        put("downloads/uv/0.9_aa_linux/uv").parent,
        put(f"tools/{'d' * 64}/uv").parent,
    )
    halves = {
        put("repositories/cc.new/HEAD").parent,
        put("downloads/.fetching-x/data").parent,
        put("downloads/uv/.0.9_bb_linux.7/uv.whl").parent,
        put("trees/ff/x").parent,
    }
    others = [put("repositories/aa.lock"), put("downloads/mine.csv"), put("lfs.git/config"), put("locks/a.json")]
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)  # a tree is made of it
        named = [str(needed.parents[1]), str(read)]
        assert {one.path for one in prune(tmp_path, dry_run=True).provisions} == halves
        going = {clone, large, seed, data, brought, worker, uv, tool, *halves}
        assert {
            one.path for one in prune(tmp_path, unused_for=50 * _HOURS, read=named, dry_run=True).provisions
        } == going
        done = prune(tmp_path, unused_for=50 * _HOURS, read=named)
    assert {one.path for one in done.provisions} == going
    assert not any(path.exists() for path in going)
    assert all(path.exists() for path in (held, needed, read, *others))
    assert {one.path for one in prune(tmp_path, unused_for=0, read=named[:1]).provisions} == {read.parents[1], held}
