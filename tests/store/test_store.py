"""Runs are made whole, found by what people call them, and removed."""

import os
import re
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.errors import RunNotFoundError, StoreError
from runner.store import home as homes
from runner.store import ids
from runner.store.store import Store, short
from runner.worker.facts import Request, SourceFacts
from runner.worker.spec import RunSpec
from tests.store.runs import a_request, a_run, a_spec, end, everything_below


@pytest.fixture
def store() -> Store:
    return Store.open()


def names(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "runs").iterdir())


def test_a_store_is_made_private_on_first_use_and_says_what_it_is(home):
    store = Store.open()
    assert store.root == home / "store"
    assert store.cache == home / "cache"
    for directory in (store.root, store.root / "runs", store.root / "objects", store.cache):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert "store of mlrun" in (store.root / "README").read_text()
    before = everything_below(home)
    Store.open()
    assert everything_below(home) == before


def test_the_places_have_defaults_and_follow_the_variables(home, monkeypatch):
    assert (homes.home(), homes.cache()) == (home / "store", home / "cache")
    monkeypatch.delenv("MLRUN_HOME")
    monkeypatch.setenv("MLRUN_CACHE", "")
    assert homes.home() == home / ".local/share/mlrun"
    assert homes.cache() == home / ".cache/mlrun"
    monkeypatch.setenv("MLRUN_HOME", "~/elsewhere")
    assert homes.home() == home / "elsewhere"
    monkeypatch.chdir(home)
    monkeypatch.setenv("MLRUN_HOME", "here")
    assert homes.home() == home / "here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("2\n", "is of version 2, which a newer mlrun made; this one knows 1"),
        ("", "no valid version"),
        ("\0\0", "no valid version"),
        ("0", "no valid version"),
    ],
)
def test_a_store_of_another_version_is_refused(store, content, message):
    (store.root / "VERSION").write_text(content)
    with pytest.raises(StoreError, match=re.escape(message)) as caught:
        Store.open()
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("variable", ["MLRUN_HOME", "MLRUN_CACHE"])
def test_a_place_that_cannot_be_made_is_one_line(variable, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "store"))
    with pytest.raises(StoreError, match=r"cannot use .*file/store: Not a directory") as caught:
        Store.open()
    assert "MLRUN_HOME" in caught.value.hint


def test_a_run_is_made_of_three_files_and_is_found_again(store):
    request, spec, source = a_request(name="first"), a_spec(store), SourceFacts("directory", "/x")
    run = store.create(request, spec, source)
    assert run.id == request.id
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert (run.read(Request), run.read(RunSpec), run.read(SourceFacts)) == (request, spec, source)
    assert everything_below(run.path) == {"request.json", "spec.json", "source.json"}
    assert [each.id for each in store.runs()] == [run.id]
    (summary,) = store.recent(10)
    assert (summary.id, summary.name, summary.status, summary.params) == (run.id, "first", "planned", {"alpha": "0.5"})
    assert summary.spec_digest == spec.digest


def test_a_run_that_cannot_be_made_leaves_nothing(store):
    run = a_run(store)
    with pytest.raises(StoreError, match="cannot make a run"):
        a_run(store, id=run.id)
    assert names(store) == [run.id]
    assert len(store.recent(10)) == 1


def test_a_run_directory_appears_whole(store):
    """Whoever watches the directory never sees a run without its files."""
    stop, torn = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            torn.extend(run.id for run in store.runs() if not run.has(SourceFacts))

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(50):
        a_run(store)
    stop.set()
    thread.join()
    assert torn == []


def test_latest_is_the_run_made_last_whatever_the_clock_said(store, monkeypatch):
    a_run(store)
    monkeypatch.setattr(ids, "_last", 0)  # as in another process
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)
    late = a_run(store, id=store.new_id(), created="2001-09-09T01:46:40.000+00:00")
    assert store.find("latest").id == late.id
    store.index.rebuild()
    assert store.find("latest").id == late.id


def test_runs_are_found_by_name_end_part_and_latest(store):
    runs = [a_run(store, name=name) for name in ("baseline", "", "try")]
    assert store.find("baseline").id == runs[0].id
    assert store.find("latest").id == runs[2].id
    for run in runs:
        assert store.find(run.id).id == run.id
        assert store.find(run.id.upper()).id == run.id
        assert store.find(short(run.id)).id == run.id
        assert store.find(short(run.id).upper()).id == run.id
        assert store.find(run.id[20:30]).id == run.id


def test_a_name_goes_before_an_id_and_the_end_of_an_id_before_its_middle(store):
    first = a_run(store, id="01900000-0000-7000-8000-00000000abcd")
    middle = a_run(store, id="01900000-0000-7000-8000-abcd00000000")
    assert store.find("abcd").id == first.id
    assert store.find("abcd0").id == middle.id
    named = a_run(store, name="abcd")
    assert store.find("abcd").id == named.id


def test_an_ambiguous_text_names_the_candidates(store):
    runs = [a_run(store, name="same") for _ in range(7)]
    with pytest.raises(RunNotFoundError, match=r"7 runs answer to 'same': .* and 2 more") as caught:
        store.find("same")
    assert runs[-1].id in caught.value.message
    with pytest.raises(RunNotFoundError, match="7 runs answer to '-7'"):
        store.find("-7")


@pytest.mark.parametrize("text", ["", "nothing", "%", "_", "ffffffffffff", "../x", "0" * 36, "\udcff"])
def test_what_answers_to_nothing_is_one_line(store, text):
    a_run(store, id="01900000-0000-7000-8000-000000000001", name="baseline")
    with pytest.raises(RunNotFoundError, match="no run answers to") as caught:
        store.find(text)
    assert "mlrun list" in caught.value.hint


def test_a_name_that_is_nearly_right_is_hinted_at(store):
    a_run(store, name="baseline")
    with pytest.raises(RunNotFoundError) as caught:
        store.find("baselin")
    assert "did you mean 'baseline'" in caught.value.hint


def test_latest_of_an_empty_store_says_how_to_begin(store):
    with pytest.raises(RunNotFoundError, match="no runs yet"):
        store.find("latest")


def test_a_removed_run_is_gone_with_all_that_it_held(store):
    run, other = a_run(store), a_run(store)
    stubborn = run.work / "locked"
    stubborn.mkdir(parents=True)
    (stubborn / "file").touch()
    stubborn.chmod(0o500)
    store.remove(run)
    assert names(store) == [other.id]
    assert [summary.id for summary in store.recent(5)] == [other.id]
    with pytest.raises(RunNotFoundError):
        store.remove(run)


def test_open_runs_are_those_without_a_record(store):
    first, second = a_run(store), a_run(store)
    end(second)
    assert [run.id for run in store.open_runs()] == [first.id, second.id]


def test_two_hundred_runs_made_at_once_by_many_processes_are_all_there(home):
    code = (
        "from runner.store.store import Store\n"
        "from tests.store.runs import a_run\n"
        "store = Store.open()\n"
        "for _ in range(25): a_run(store)\n"
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=env, cwd=root) for _ in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    store = Store.open()
    listed = [summary.id for summary in store.index.query()]
    assert len(listed) == 200
    assert sorted(listed) == [run.id for run in store.runs()]
