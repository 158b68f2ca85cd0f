"""Only what no run names is collected, and never from under a run that begins or goes on."""

import os
import random
import threading
import time

import pytest

from runner.errors import StoreError
from runner.store import garbage, locks
from runner.store.garbage import Freed, collect
from runner.store.store import Store
from runner.worker.facts import InstalledEnvironment, SourceFacts
from runner.worker.manifest import decode_manifest
from runner.worker.results import FileFact
from runner.worker.spec import RunSpec
from tests.store.runs import a_run, a_snapshot, a_spec, claim, end, seen, wrote


@pytest.fixture
def store() -> Store:
    return Store.open()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(garbage, "_PATIENCE", 0.2)


def objects(store: Store) -> set[str]:
    return {path.parent.name + path.name for path in store.objects.root.glob("??/*")}


def test_everything_that_a_run_names_stays(store):
    spec = a_spec(store, snapshot=a_snapshot(store, {"a.py": b"a", "b/c.py": b"c"}))
    patch, lock, project_lock = (store.objects.add(data) for data in (b"patch", b"lock", b"cached lock"))
    run = a_run(store, spec=spec, source=SourceFacts("git", "/x", patch=patch))
    run.write(InstalledEnvironment("virtualenv", "/env", "/env/bin", lock=lock))
    seen(run, FileFact("in.txt", 2, store.objects.add(b"in"), "declared", stored=True))
    wrote(run, store, {"out.txt": b"out"})
    end(run)
    (store.cache / "locks").mkdir()
    (store.cache / "locks/key.json").write_text(f'{{"lock": "{project_lock}"}}')
    before = objects(store)
    assert len(before) == 8
    assert collect(store) == Freed(0, 0, 0)
    assert objects(store) == before


def test_what_a_removed_run_alone_named_goes_and_what_others_share_stays(store):
    gone = end(a_run(store, spec=a_spec(store, snapshot=a_snapshot(store, {"shared": b"s", "own": b"own"}))))
    kept = end(a_run(store, spec=a_spec(store, snapshot=a_snapshot(store, {"shared": b"s", "other": b"o"}))))
    named = {kept.read(RunSpec).snapshot.manifest}
    named |= {entry.sha256 for entry in decode_manifest(store.objects.read(*named))}
    store.remove(gone)
    garbage_found = objects(store) - named
    size = sum(store.objects.path(sha256).stat().st_size for sha256 in garbage_found)
    expected = Freed(len(garbage_found), size, 0)
    assert len(garbage_found) >= 2
    assert collect(store, dry_run=True) == expected
    assert objects(store) > named
    assert collect(store) == expected
    assert objects(store) == named


def test_a_manifest_goes_before_what_it_names(store, monkeypatch):
    for number in range(20):
        a_snapshot(store, {f"{number}.py": str(number).encode()})
    order = []
    monkeypatch.setattr("pathlib.Path.unlink", lambda path, missing_ok=False: order.append(path.read_bytes()))
    collect(store)
    kinds = [data.startswith(b"100644 ") for data in order]
    assert kinds == [True] * 20 + [False] * 20


def test_garbage_is_not_collected_while_a_run_is_being_made(store):
    with store.writing(), store.writing():
        held = a_snapshot(store, {"new.py": b"new"})
        with pytest.raises(StoreError, match="runs are being started just now"):
            collect(store)
    assert store.objects.has(held.manifest)
    collect(store)
    assert not store.objects.has(held.manifest)


def test_a_run_waits_until_garbage_is_collected(store):
    order = []

    def begin() -> None:
        with store.writing():
            order.append("run")

    with locks.exclusive(store.root, 1):
        thread = threading.Thread(target=begin)
        thread.start()
        time.sleep(0.1)
        order.append("garbage")
    thread.join()
    assert order == ["garbage", "run"]


def test_objects_that_a_running_worker_may_have_added_are_spared(store):
    old = store.objects.add(b"old")
    past = time.time() - 7200
    os.utime(store.objects.path(old), (past, past))
    run = a_run(store)
    claim(run)
    young = store.objects.add(b"an output that no file names yet")
    assert collect(store).objects == 1
    assert not store.objects.has(old)
    assert store.objects.has(young)
    end(run)
    assert collect(store).objects == 1
    assert not store.objects.has(young)


def test_an_old_object_that_a_running_worker_stores_again_is_spared(store):
    sha256 = store.objects.add(b"a result like an earlier one")
    past = time.time() - 7200
    os.utime(store.objects.path(sha256), (past, past))
    claim(a_run(store))
    store.objects.add(b"a result like an earlier one")
    collect(store)
    assert store.objects.has(sha256)


def test_leftovers_of_broken_off_work_go_after_a_day(store):
    a_run(store)
    places = [store.root / "tmp/new-1", store.objects.root / "tmp/1.abc"]
    places[0].mkdir(parents=True)
    places[1].parent.mkdir(parents=True, exist_ok=True)
    places[1].write_bytes(b"half")
    assert collect(store).leftovers == 0
    past = time.time() - 90_000
    for place in places:
        os.utime(place, (past, past))
    assert collect(store, dry_run=True).leftovers == 2
    assert all(place.exists() for place in places)
    assert collect(store).leftovers == 2
    assert not any(place.exists() for place in places)


def test_a_damaged_run_still_holds_what_its_files_name(store):
    run = end(a_run(store))
    manifest = run.read(RunSpec).snapshot.manifest
    (run.path / "spec.json").write_bytes((run.path / "spec.json").read_bytes()[:-40])
    collect(store)
    assert store.objects.has(manifest)


def test_a_store_on_which_nothing_can_be_locked_is_written_and_not_collected(store, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with store.writing():
        pass
    with pytest.raises(StoreError, match="has no locks"):
        collect(store)


def test_random_lives_of_runs_never_lose_an_object(store):
    """Make, end, remove and collect in any order: what a living run names is always there."""
    choose = random.Random(7)
    alive = []
    for step in range(60):
        deed = choose.choice(["make", "make", "remove", "collect"])
        if deed == "make":
            files = {f"{choose.randrange(4)}.py": bytes([choose.randrange(4)]) for _ in range(3)}
            run = a_run(store, spec=a_spec(store, snapshot=a_snapshot(store, files)))
            if choose.random() < 0.7:
                end(run)
            alive.append(run)
        elif deed == "remove" and alive:
            store.remove(alive.pop(choose.randrange(len(alive))))
        else:
            collect(store)
        for run in alive:
            manifest = run.read(RunSpec).snapshot.manifest
            for entry in decode_manifest(store.objects.read(manifest)):
                assert store.objects.has(entry.sha256), step
