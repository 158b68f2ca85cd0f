"""The index answers from the run directories, whatever happened to its file."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.store import tables
from runner.store.index import Filter, Index, Row, Summary
from runner.store.index_file import IndexFile
from runner.store.store import Store, new_id
from runner.worker.rundir import RunDirectory
from runner.worker.spec import Parameter
from tests.store.runs import a_run, a_spec, end


@pytest.fixture
def store() -> Store:
    return Store.open()


def listed(store: Store) -> list[str]:
    return [summary.id for summary in store.index.query()]


def a_summary(**changes) -> Summary:
    values = {"id": new_id(), "status": "succeeded", "created": "2026-11-23T10:00:00.000+00:00", "sealed": True}
    return Summary(**{**values, **changes})


def put(store: Store, **changes) -> str:
    """Enter a run that has a directory, so that it stays."""
    summary = a_summary(**changes)
    (store.root / "runs" / summary.id).mkdir()
    store.index.put(Row(summary, tuple(changes.get("outputs", ()))))
    with store.index._file._connected() as database:
        database.execute("DELETE FROM meta")
        database.execute("INSERT INTO meta VALUES ('mtime', ?)", (store.index._file._mtime(),))
    return summary.id


def test_a_summary_comes_back_as_it_went_in(store):
    strange = "n\udcff\n☃"
    summary = a_summary(
        name=strange,
        project=strange,
        entry_point="a b",
        reason="exit",
        exit_code=3,
        started="2026-11-23T10:00:01.000+00:00",
        duration=1.5,
        host="here",
        params={strange: strange, "long": "x" * 100_000},
        tags={"t": ""},
        metrics={"rmse": 0.25, "loss": "NaN"},
        why="because",
        spec_digest="0" * 64,
        sub_runs=({"id": "1", "name": strange, "status": "finished", "params": {}, "metrics": {"m": 1.5}},),
        sub_run_count=7,
    )
    run = a_run(store, id=summary.id)
    store.index.put(Row(summary))
    (found,) = store.index.query()
    assert found == summary
    assert store.index.get(run.id) == summary
    assert store.index.names() == [strange]
    assert store.index.ids_named(strange) == [run.id]
    for wanted in (Filter(params={strange: strange}), Filter(params={"long": "x" * 100_000}), Filter(project=strange)):
        assert [each.id for each in store.index.query(wanted)] == [run.id]
    assert store.index.query(Filter(params={"long": "x" * 100_001})) == []


FILTERS = [
    (Filter(), "abcd"),
    (Filter(project="p"), "ab"),
    (Filter(project="P"), ""),
    (Filter(entry_point="train"), "bc"),
    (Filter(status="failed"), "b"),
    (Filter(params={"alpha": "0.5"}), "ac"),
    (Filter(params={"alpha": "0.50"}), "ac"),
    (Filter(params={"alpha": "5e-1"}), "ac"),
    (Filter(params={"alpha": "1"}), "b"),
    (Filter(params={"beta": "x"}), "c"),
    (Filter(params={"alpha": "0.5", "beta": "x"}), "c"),
    (Filter(params={"alpha": "nan"}), ""),
    (Filter(tags={"team": "1"}), "d"),
    (Filter(tags={"team": "01"}), ""),
    (Filter(since="2026-01-02T00:00:00.000+00:00"), "bcd"),
    (Filter(until="2026-01-03T00:00:00.000+00:00"), "ab"),
    (Filter(since="2026-01-02T00:00:00.000+00:00", until="2026-01-03T00:00:00.000+00:00"), "b"),
    (Filter(project="p", status="failed", params={"alpha": "1"}), "b"),
    (Filter(project="p", status="failed", params={"alpha": "0.5"}), ""),
]


@pytest.mark.parametrize(("wanted", "names"), FILTERS)
def test_filters(store, wanted, names):
    day = "2026-01-0{}T00:00:00.000+00:00"
    put(store, name="a", project="p", created=day.format(1), params={"alpha": "0.5"})
    put(
        store, name="b", project="p", entry_point="train", created=day.format(2), status="failed", params={"alpha": "1"}
    )
    put(store, name="c", project="q", entry_point="train", created=day.format(3), params={"alpha": ".5", "beta": "x"})
    put(store, name="d", project="q", created=day.format(4), tags={"team": "1"})
    assert sorted(each.name for each in store.index.query(wanted)) == list(names)


SORTS = [
    ("created", "dcba", "abcd"),
    ("duration", "cab", "bac"),
    ("started", "bac", "cab"),
    ("name", "abcd", "dcba"),
    ("project", "bca", "acb"),
    ("params.n", "bac", "cab"),
    ("metrics.rmse", "acb", "bca"),
    ("tags.t", "ab", "ba"),
]


@pytest.mark.parametrize(("sort", "order", "reverse"), SORTS)
def test_sorts_and_what_lacks_the_key_comes_last(store, sort, order, reverse):
    day = "2026-01-0{}T00:00:00.000+00:00"
    put(store, name="a", created=day.format(1), duration=5.0, started=day.format(5), project="z",
        params={"n": "10"}, metrics={"rmse": 0.9}, tags={"t": "x"})  # fmt: skip
    put(store, name="b", created=day.format(2), duration=1.0, started=day.format(6), project="x",
        params={"n": "9"}, metrics={"rmse": -1.0}, tags={"t": "y"})  # fmt: skip
    put(store, name="c", created=day.format(3), duration=7.0, started=day.format(4), project="y",
        params={"n": "1e3"}, metrics={"rmse": 0.5})  # fmt: skip
    put(store, name="d", created=day.format(4))
    for ways, expected in ((False, order), (True, reverse)):
        found = "".join(each.name for each in store.index.query(sort=sort, reverse=ways))
        assert found[: len(expected)] == expected
        assert sorted(found) == list("abcd")
    assert len(store.index.query(sort=sort, limit=2)) == 2


@pytest.mark.parametrize("sort", ["", "id", "params", "params.", "nothing.x", "created; DROP TABLE run"])
def test_a_key_that_is_none_is_a_usage_error(store, sort):
    with pytest.raises(UsageError, match="cannot be sorted by"):
        store.index.query(sort=sort)


def test_producers_are_found_by_digest_the_newest_first(store):
    old = put(store, created="2026-01-01T00:00:00.000+00:00")
    new = put(store, created="2026-01-02T00:00:00.000+00:00")
    digests = [f"{number:064x}" for number in range(1200)]
    for identity, created in ((old, "2026-01-01T00:00:00.000+00:00"), (new, "2026-01-02T00:00:00.000+00:00")):
        outputs = [(digest, f"out/\udcff{number}") for number, digest in enumerate(digests)]
        store.index.put(Row(a_summary(id=identity, created=created), tuple(outputs)))
    assert [each.run for each in store.index.producers(digests[7])] == [new, old]
    assert store.index.producers(digests[7])[0].path == "out/\udcff7"
    assert len(store.index.producers_of(digests)) == 1200
    assert store.index.producers("f" * 64) == []
    store.index.put(Row(a_summary(id=new)))
    assert [each.run for each in store.index.producers(digests[7])] == [old]


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(20_000))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def middle_lost(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def older(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 0")
    database.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


def without_tables(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE run")
    database.close()


def bad_rows(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE run SET summary = '{'")
    database.close()


def foreign_rows(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("""UPDATE run SET summary = '{"a": 1}'""")
    database.close()


DAMAGES = [
    Path.unlink,
    lambda path: path.write_bytes(b""),
    garbage,
    truncated,
    middle_lost,
    older,
    newer,
    without_tables,
    bad_rows,
    foreign_rows,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(store, damage):
    runs = [a_run(store, name=f"n{number}").id for number in range(6)]
    damage(store.index._file._path)
    assert listed(Store.open()) == runs[::-1]
    assert store.find("n3").id == runs[3]
    assert store.index._file._memory is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_is_made_and_removed_over_a_damaged_index(store, damage):
    first = a_run(store)
    damage(store.index._file._path)
    second = a_run(store)
    assert listed(store) == [second.id, first.id]
    damage(store.index._file._path)
    store.remove(first)
    assert listed(store) == [second.id]


HALF_A_TRANSACTION = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("PRAGMA journal_mode = TRUNCATE")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE run SET summary = summary || printf('%.*c', 9000, 'x')")
os._exit(0)
"""


@pytest.mark.parametrize("lose", [Path.unlink, garbage])
def test_a_journal_of_a_lost_index_is_not_played_into_the_new_one(store, lose, monkeypatch):
    built = []
    build = IndexFile._build_aside
    monkeypatch.setattr(IndexFile, "_build_aside", lambda self: (built.append(self), build(self)))
    runs = [a_run(store, name=f"n{number}").id for number in range(6)]
    subprocess.run([sys.executable, "-c", HALF_A_TRANSACTION, store.index._file._path], check=True)
    assert store.index._file._path.with_name("index.sqlite-journal").stat().st_size > 0
    lose(store.index._file._path)
    for _ in range(2):
        again = Store.open()
        assert listed(again) == runs[::-1]
        assert again.index._file._memory is None
    assert len(built) == 1 + 1, "once for the first run, once for the loss"


def test_a_process_that_was_killed_while_it_wrote_spoils_nothing(store):
    runs = [a_run(store, name=f"n{number}").id for number in range(6)]
    subprocess.run([sys.executable, "-c", HALF_A_TRANSACTION, store.index._file._path], check=True)
    assert listed(Store.open()) == runs[::-1]
    assert store.find("n3").id == runs[3]


def test_an_index_that_is_a_directory_is_done_without(store):
    run = a_run(store)
    store.index._file._path.unlink()
    store.index._file._path.mkdir()
    other = a_run(store)
    assert listed(store) == [other.id, run.id]


def test_directories_that_come_and_go_by_other_hands_are_noticed(store, tmp_path):
    first, second = a_run(store), a_run(store)
    assert listed(store) == [second.id, first.id]
    shutil.move(first.path, tmp_path / "away")
    assert listed(store) == [second.id]
    shutil.copytree(tmp_path / "away", first.path)
    assert listed(store) == [second.id, first.id]


def test_a_directory_that_came_just_before_a_run_was_made_is_noticed(store, tmp_path):
    first, second = a_run(store), a_run(store)
    shutil.move(first.path, tmp_path / "away")
    assert listed(store) == [second.id]
    shutil.copytree(tmp_path / "away", first.path)
    third = a_run(store)
    assert listed(store) == [third.id, second.id, first.id]
    shutil.rmtree(first.path)
    store.remove(second)
    assert listed(store) == [third.id]


def test_a_run_made_while_the_directory_was_listed_stays(store, monkeypatch):
    run, other = a_run(store), a_run(store)
    (store.root / "runs" / "changed").mkdir()
    monkeypatch.setattr(IndexFile, "_present", lambda self: {other.id})
    assert listed(store) == [other.id, run.id]


def test_what_is_read_from_a_directory_does_not_replace_what_another_process_entered(store):
    run = a_run(store)
    older = store.index.get(run.id)
    store.index.put(Row(replace(older, status="succeeded", sealed=True), (("a" * 64, "out"),)))
    with store.index._file._connected() as database, tables.transaction(database):
        tables.add(database, Row(older))
    assert store.index.get(run.id).status == "succeeded"
    assert len(store.index.producers("a" * 64)) == 1


def test_a_directory_that_is_still_being_copied_is_listed_as_damaged_until_it_is_whole(store, tmp_path):
    run = a_run(store, name="slow")
    shutil.move(run.path, tmp_path / "away")
    assert listed(store) == []
    run.path.mkdir()
    shutil.copy(tmp_path / "away/request.json", run.path)
    (summary,) = store.index.query()
    assert (summary.status, summary.name) == ("damaged", "")
    assert "spec.json" in summary.reason
    assert store.open_runs() == []
    for name in ("spec.json", "source.json"):
        shutil.copy(tmp_path / "away" / name, run.path)
    (summary,) = store.index.query()
    assert (summary.status, summary.name) == ("planned", "slow")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": 1}', b"\xff\xfe", b"[" * 100_000])
def test_a_record_that_cannot_be_read_does_not_hide_the_others(store, content):
    good, bad = a_run(store), a_run(store)
    bad.record.write_bytes(content)
    store.index._file._path.unlink()
    assert {summary.id: summary.status for summary in store.index.query()} == {good.id: "planned", bad.id: "damaged"}


def test_a_directory_with_the_files_of_another_run_is_damaged(store):
    run = a_run(store)
    copy = store.root / "runs" / new_id()
    shutil.copytree(run.path, copy)
    assert {summary.id: summary.status for summary in store.index.query()} == {run.id: "planned", copy.name: "damaged"}


def test_other_things_in_the_runs_directory_are_left_alone(store):
    run = a_run(store)
    (store.root / "runs" / "notes").mkdir()
    (store.root / "runs" / ".new-x").mkdir()
    (store.root / "runs" / "file").touch()
    assert listed(store) == [run.id]
    assert [each.id for each in store.runs()] == [run.id]


def test_an_index_that_knows_all_runs_reads_no_directory(store, monkeypatch):
    for _ in range(3):
        end(a_run(store))
    listed(store)
    monkeypatch.setattr(IndexFile, "_present", lambda self: pytest.fail("the runs were listed"))
    monkeypatch.setattr("runner.store.index_file.read", lambda run: pytest.fail("a run was read"))
    assert len(listed(store)) == 3
    run = a_run(store)
    assert run.id in listed(store)
    store.remove(run)
    assert run.id not in listed(store)


def test_a_busy_index_keeps_no_run_from_being_made(store, monkeypatch):
    monkeypatch.setattr("runner.store.index_file._PATIENCE", 0.1)
    first = a_run(store)
    blocker = sqlite3.connect(store.index._file._path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    second = a_run(store)
    assert listed(store) == [second.id, first.id]
    blocker.execute("ROLLBACK")
    blocker.close()
    assert listed(Store.open()) == [second.id, first.id]


def test_many_threads_share_an_index(store):
    threads = [threading.Thread(target=lambda: [a_run(store) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(listed(store)) == 40


def test_an_index_replaced_by_another_process_is_noticed(store):
    a_run(store)
    other = Store.open()
    other.index.rebuild()
    run = a_run(store)
    assert run.id in listed(other)


@contextmanager
def as_nobody(*paths: Path):
    """Whoever the tests run as, be somebody who may read these directories and not write them."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_a_store_that_is_read_only_is_read(monkeypatch):
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        store = Store.open(place / "store", place / "cache")
        runs = [a_run(store, name=f"n{number}").id for number in range(3)]
        late = RunDirectory(store.root / "runs" / new_id())
        shutil.copytree(store.directory(runs[0]).path, late.path)
        for path in [place, *place.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        with as_nobody(place):
            again = Store.open(place / "store", place / "cache")
            assert sorted(listed(again)) == sorted([*runs, late.id])
            assert again.find("n1").id == runs[1]
            again.index.put(Row(replace(again.index.get(runs[1]), name="renamed")))
            assert again.find("renamed").id == runs[1]
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o700)
        shutil.rmtree(place)


def test_rebuilding_says_how_many_and_speaks_only_of_many(store, monkeypatch):
    said = []
    monkeypatch.setattr("runner.store.index_file._MANY", 4)
    for _ in range(5):
        a_run(store, spec=a_spec(store, parameters=(Parameter("a", "string", "x"),)))
    assert Index(store.index._file._path, store.root / "runs", said.append).rebuild() == 5
    assert said == ["reading 5 runs into the index"]


def test_what_open_runs_are_doing_is_noted_and_never_over_a_sealed_record(store):
    going, done = put(store, status="planned", sealed=False), put(store)
    store.index.note({going: "running", done: "running"})
    assert [each.id for each in store.index.query(Filter(status="running"))] == [going]
    assert store.index.get(going).status == "running"
    assert store.index.get(done).status == "succeeded"
