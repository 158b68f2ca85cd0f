"""A past run is data: pinned to what was installed, its inputs looked for where they may be."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import IntegrityError
from runner.records.finish import finish
from runner.records.rerun import check_inputs, pinned_spec
from runner.store.store import Store
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import hash_declared
from runner.worker.execution.workplace import Workplace, set_up
from runner.worker.facts import InstalledEnvironment, Placement, SourceFacts
from runner.worker.hashing import sha256_of
from runner.worker.results import FileFact
from runner.worker.spec import Input, Interpreter
from tests.store.runs import a_run, a_snapshot, a_spec, end, everything_below, seen

INTERPRETER = Interpreter("/usr/bin/python3", "3.11.7", "cpython", "cpython-311", "cp311", "main", "linux", "ab" * 32)


@pytest.fixture
def store() -> Store:
    return Store.open()


@pytest.fixture
def project(tmp_path) -> Path:
    project = tmp_path / "my project"
    for name, text in (("train.py", "x"), ("data/a.csv", "1"), ("data/b.csv", "2"), ("cache/c.bin", "3")):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "table.csv").write_text("table")
    return project


def ran(store: Store, project: Path, *inputs: Input, observed: tuple[str, ...] = (), **changes):
    """A run in place that ended: its inputs are hashed by the worker's own function."""
    spec = a_spec(store, inputs=inputs, **changes)
    if "snapshot" not in changes:
        spec = replace(spec, snapshot=a_snapshot(store, {"train.py": b"x"}))
    run = a_run(store, spec=spec, source=SourceFacts("directory", str(project)))
    places = {each.name: each.path if each.path.startswith("/") else str(project / each.path) for each in inputs}
    run.write(Placement(str(store.root), str(store.cache), root=str(project), inputs=places))
    digests = Digests(store.cache)
    workplace = Workplace(project, project, fresh=False, entries=(), places=places)
    sights = hash_declared(inputs, workplace, digests, print)
    for sight in sights:
        store.objects.add(sight.listing)  # as the worker does
    facts = [sight.fact for sight in sights]
    for path in observed:
        data = (project / path).read_bytes()
        facts.append(FileFact(path, len(data), sha256_of(data), "observed"))
    seen(run, *facts)
    return end(run)


def checked(store: Store, run, cache: Path | None = None):
    return {each.name: each for each in check_inputs(run, finish(run, store), pinned_spec(run), cache)}


FILE = Input("data/a.csv", "data/a.csv")
DIRECTORY = Input("data", "data")
GLOB = Input("data/*.csv", "data/*.csv")


def test_a_spec_is_pinned_to_packages_interpreter_and_bytes(store, project, tmp_path):
    table = Input("table", str(tmp_path / "table.csv"), parameter="table")
    run = ran(store, project, FILE, DIRECTORY, GLOB, table)
    run.write(InstalledEnvironment("virtualenv", "/e", "/e/bin", INTERPRETER, lock="cd" * 32))
    spec = pinned_spec(run)
    assert (spec.environment.lock, spec.environment.interpreter) == ("cd" * 32, INTERPRETER)
    assert [each.name for each in spec.inputs] == ["data/a.csv", "data", "data/*.csv", "table"]
    assert spec.inputs[0].sha256 == sha256_of(b"1")
    assert spec.inputs[3].sha256 == sha256_of(b"table")
    assert len({each.sha256 for each in spec.inputs}) == 4
    assert spec.digest == a_spec(store, inputs=(), snapshot=spec.snapshot).digest


def test_a_run_that_came_to_nothing_is_repeated_as_it_was_planned(store):
    spec = a_spec(store, inputs=(FILE,))
    run = end(a_run(store, spec=spec), "failed", reason="prepare")
    assert pinned_spec(run) == spec


def test_what_the_pinned_spec_asks_for_is_what_the_worker_finds(store, project):
    """The digests of files, directories and globs are those that `hash_declared` checks on the host."""
    spec = pinned_spec(ran(store, project, FILE, DIRECTORY, GLOB))
    places = {each.name: str(project / each.path) for each in spec.inputs}
    workplace = Workplace(project, project, fresh=False, entries=(), places=places)
    assert hash_declared(spec.inputs, workplace, Digests(store.cache), print)
    (project / "data/b.csv").write_text("changed")
    with pytest.raises(IntegrityError, match=r"2 inputs are not .*: data, data/\*\.csv"):
        hash_declared(spec.inputs, workplace, Digests(store.cache), print)


@pytest.mark.parametrize("item", [FILE, DIRECTORY, GLOB])
def test_unchanged_inputs_are_used_from_their_place(store, project, item):
    found = checked(store, ran(store, project, item))[item.name]
    assert (found.place, found.usable, found.stops, found.note) == (str(project / item.path), True, False, "")


@pytest.mark.parametrize("item", [FILE, DIRECTORY, GLOB])
def test_changed_and_missing_inputs_stop_with_a_line_each(store, project, item):
    run = ran(store, project, item)
    (project / "data/a.csv").write_text("changed")
    found = checked(store, run)[item.name]
    assert (found.usable, found.stops) == (False, True)
    assert found.note.startswith(f"{item.path} has changed: sha256 ")
    shutil.rmtree(project)
    found = checked(store, run)[item.name]
    assert (found.usable, found.stops) == (False, True)
    assert found.note == f"{item.path} is missing: it was at {project / item.path}"


@pytest.mark.parametrize(("item", "prefix"), [(DIRECTORY, ""), (GLOB, "data/")])
def test_the_files_that_changed_came_or_went_are_named(store, project, item, prefix):
    for number in range(4):
        (project / f"data/many{number}.csv").write_text("then")
    run = ran(store, project, item)
    (project / "data/a.csv").write_text("now")
    (project / "data/b.csv").unlink()
    (project / "data/new.csv").write_text("x")
    note = checked(store, run)[item.name].note
    assert note.endswith(f": {prefix}a.csv has changed, {prefix}b.csv is gone, {prefix}new.csv is new")
    for number in range(4):
        (project / f"data/many{number}.csv").write_text("now")
    note = checked(store, run)[item.name].note
    assert note.endswith(f"{prefix}many2.csv has changed, {prefix}many3.csv has changed and 2 more")
    assert checked(store, ran(store, project, FILE))[FILE.name].note == ""


def test_a_directory_of_which_the_store_has_the_list_alone_is_missing(store, project):
    run = ran(store, project, DIRECTORY)
    shutil.rmtree(project)
    found = checked(store, run)["data"]
    assert (found.usable, found.stops) == (False, True)


def test_a_path_parameter_is_checked_where_it_lies(store, project, tmp_path):
    table = Input("table", str(tmp_path / "table.csv"), parameter="table")
    run = ran(store, project, table)
    assert checked(store, run)["table"].usable
    (tmp_path / "table.csv").write_text("other")
    found = checked(store, run)["table"]
    assert found.stops
    assert found.note.startswith(f"table ({tmp_path}/table.csv) has changed")


@pytest.mark.parametrize("item", [FILE, DIRECTORY, GLOB, Input("data/", "data/")])
def test_what_the_snapshot_brings_needs_no_place(store, project, item):
    files = {name: (project / name).read_bytes() for name in ("train.py", "data/a.csv", "data/b.csv")}
    run = ran(store, project, item, snapshot=a_snapshot(store, files))
    shutil.rmtree(project)
    found = checked(store, run)[item.name]
    assert (found.usable, found.stops, found.note) == (False, False, "")


def test_a_snapshot_of_a_project_in_a_subdirectory(store, project):
    files = {f"{project.name}/data/a.csv": b"1", "data/a.csv": b"another"}
    run = ran(store, project, FILE, snapshot=a_snapshot(store, files))
    assert not checked(store, run)[FILE.name].stops
    above = a_spec(store, inputs=(FILE,), snapshot=a_snapshot(store, files, project.name))
    other = a_run(store, spec=above, source=SourceFacts("git", str(project.parent)))
    seen(other, FileFact("data/a.csv", 1, sha256_of(b"1"), "declared", name=FILE.name))
    found = checked(store, end(other))[FILE.name]
    assert (found.usable, found.stops) == (False, False)
    assert found.place == str(project / "data/a.csv")


def test_a_missing_input_whose_bytes_are_stored_is_brought_out(store, project):
    run = ran(store, project, FILE)
    store.objects.add(b"1")
    (project / "data/a.csv").unlink()
    found = checked(store, run)[FILE.name]
    assert (found.usable, found.stops) == (True, False)
    assert Path(found.place).read_bytes() == b"1"
    assert Path(found.place).name == "a.csv"
    assert Path(found.place).stat().st_mode & 0o200
    assert "taken from the store" in found.note
    (project / "data/a.csv").write_text("changed")
    assert checked(store, run)[FILE.name].stops, "what was changed on purpose is not replaced in silence"


def test_observed_inputs_never_stop(store, project):
    run = ran(store, project, observed=("cache/c.bin", "data/a.csv", "data/b.csv"))
    (project / "data/a.csv").write_text("changed")
    (project / "data/b.csv").unlink()
    found = checked(store, run)
    assert not any(each.stops for each in found.values())
    assert found["cache/c.bin"] == replace(
        found["cache/c.bin"], place=str(project / "cache/c.bin"), usable=True, note=""
    )
    assert (found["data/a.csv"].usable, found["data/a.csv"].note) == (False, "data/a.csv, which was there, has changed")
    assert (found["data/b.csv"].usable, found["data/b.csv"].note) == (False, "data/b.csv, which was there, is missing")


def test_what_is_declared_or_source_is_not_observed_again(store, project):
    snapshot = a_snapshot(store, {"train.py": b"x"})
    run = ran(store, project, DIRECTORY, observed=("data/a.csv", "train.py", "cache/c.bin"), snapshot=snapshot)
    assert checked(store, run).keys() == {"data", "cache/c.bin"}


def test_an_observed_file_that_was_not_hashed_is_used_and_said(store, project):
    run = ran(store, project)
    (run.path / "inputs.json").unlink()
    seen(run, FileFact("cache/c.bin", 1, None, "observed"), FileFact("data/a.csv", 99, None, "observed"))
    found = checked(store, run)
    assert (found["cache/c.bin"].usable, found["cache/c.bin"].note) == (
        *(True, "cache/c.bin was not hashed, and is used as it is"),
    )
    assert (found["data/a.csv"].usable, found["data/a.csv"].note) == (False, "data/a.csv has another size now")


def test_many_observed_inputs_that_are_gone_are_summed_up(store, project):
    names = [f"cache/{number}.bin" for number in range(50)]
    for name in names:
        (project / name).write_text(name)
    run = ran(store, project, observed=tuple(names))
    shutil.rmtree(project)
    notes = [each.note for each in checked(store, run).values() if each.note]
    assert len(notes) == 6
    assert notes[-1] == "45 more files that were there are missing or have changed"


def test_a_fresh_directory_gets_the_observed_inputs_that_are_what_they_were(store, project):
    run = ran(store, project, observed=("cache/c.bin", "data/a.csv"))
    (project / "data/a.csv").write_text("changed")
    inputs = {each.name: each.place for each in checked(store, run).values() if each.usable}
    again = a_run(store, spec=pinned_spec(run))
    set_up(again, pinned_spec(run), Placement("", "", inputs=inputs), store.objects, print)
    assert everything_below(again.work) == {"train.py", "cache", "cache/c.bin"}
    assert (again.work / "cache/c.bin").read_bytes() == b"3"


def test_traced_inputs_are_needed(store, project):
    run = ran(store, project)
    (run.path / "inputs.json").unlink()
    seen(run, FileFact("data/a.csv", 1, sha256_of(b"1"), "traced"))
    assert checked(store, run)["data/a.csv"].usable
    (project / "data/a.csv").unlink()
    assert checked(store, run)["data/a.csv"].stops


def test_a_large_unchanged_input_is_not_read_again(store, project, monkeypatch):
    for name in ("data/a.csv", "cache/c.bin"):
        (project / name).write_bytes(b"x" * (16 << 20))
    time.sleep(0.15)  # the stat cache does not trust files that have just been touched
    run = ran(store, project, FILE, observed=("cache/c.bin",))
    assert all(each.usable for each in checked(store, run, store.cache).values())
    monkeypatch.setattr("runner.worker.hashing.sha256_of_file", lambda path: pytest.fail(f"{path} was read"))
    assert all(each.usable for each in checked(store, run, store.cache).values())


def test_a_run_whose_snapshot_is_lost_says_so(store, project):
    run = ran(store, project, FILE)
    store.objects.path(pinned_spec(run).snapshot.manifest).unlink()
    with pytest.raises(IntegrityError, match="is not in the store"):
        checked(store, run)
