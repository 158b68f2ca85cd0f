"""What is exported passes the validators of others, whatever became of the run."""

import json
import shutil
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest

from runner.errors import StoreError, UsageError
from runner.flow.exports import document, export_crate
from runner.records.finish import finish
from runner.store.settings import Identity
from runner.store.store import Store
from runner.worker.facts import SourceFacts
from runner.worker.hashing import sha256_of
from runner.worker.results import FileFact
from runner.worker.rundir import RunDirectory
from runner.worker.spec import Parameter
from tests.records.exports.validators import validate
from tests.records.test_compose import begin
from tests.store.runs import a_run, a_spec, end, seen, wrote

ADA = Identity("CC-BY-4.0", "University of Example", "https://ror.org/0abcdef12", "0000-0002-1825-0097")
ODD = 'a "b" <&> é #1 100%'


def a_full_run(store: Store) -> RunDirectory:
    """A run with everything in its record, and with names that need care."""
    parameters = (Parameter("alpha", "float", "0.5"), Parameter(ODD, "string", ODD))
    source = SourceFacts("git", "/gone", url="https://example.org/iris.git", commit="c" * 40, branch="main", files=1)
    run = a_run(store, spec=a_spec(store, parameters=parameters), source=source, why=f"see #12 {ODD}")
    seen(
        run,
        FileFact("data/in.txt", 3, store.objects.add(b"in\n"), "declared", stored=True),
        FileFact(f"data/{ODD}", 3, store.objects.add(b"odd"), "declared", stored=True),
        FileFact("/elsewhere/table.csv", 9, sha256_of(b"elsewhere"), "parameter"),
    )
    wrote(run, store, {"model.bin": b"model", f"out/{ODD}.json": b"{}", "caf\udce9.txt": b"x", "copy.txt": b"in\n"})
    run.metrics.write_text('{"name": "rmse", "value": 0.25}\n{"name": "nan", "value": NaN}\n')
    begin(run)
    return end(run)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    base = tmp_path_factory.mktemp("exports")
    return Store.open(base / "store", base / "cache")


@pytest.fixture(scope="module")
def runs(store) -> dict[str, RunDirectory]:
    """Runs of every end: full, bare, failed, lost before it began."""
    failed = a_run(store)
    begin(failed)
    bare = a_run(store)
    begin(bare)
    return {
        "full": a_full_run(store),
        "bare": end(bare),
        "failed": end(failed, "failed"),
        "lost": end(a_run(store), "lost", exit_code=None, reason=None),
    }


def written(form: str, runs, store, base: Path) -> dict[str, Path]:
    paths = {name: base / f"{name}.{form}" for name in runs}
    for name, run in runs.items():
        paths[name].write_bytes(document(run, store, form))
    return paths


def test_crates_pass_at_level_recommended_and_a_wrong_one_does_not(runs, store, tmp_path):
    paths = {name: tmp_path / name for name in runs}
    for name, run in runs.items():
        assert export_crate(run, store, paths[name], ADA, logs=False, observed=False)[1:] == ()
    wrong = tmp_path / "wrong"
    shutil.copytree(paths["full"], wrong)
    (wrong / "outputs/model.bin").unlink()
    path = wrong / "ro-crate-metadata.json"
    path.write_text(path.read_text().replace('"license"', '"licence"'))
    found = validate("ro-crate", *paths.values(), wrong)
    assert {name: found[str(path)]["issues"] for name, path in paths.items()} == {name: [] for name in runs}
    assert all(each["checks"] > 90 for name, each in found.items() if name != str(wrong))
    assert len(found[str(wrong)]["issues"]) >= 2


def test_a_crate_holds_the_files_it_describes(runs, store, tmp_path):
    export_crate(runs["full"], store, tmp_path / "x.zip", ADA, logs=False, observed=False)
    export_crate(runs["full"], store, tmp_path / "again.zip", ADA, logs=False, observed=False)
    assert (tmp_path / "x.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        names = set(archive.namelist())
        data = json.loads(archive.read("ro-crate-metadata.json"))
        assert {"record.json", "source/train.py", "outputs/model.bin", "inputs/data/in.txt"} <= names
        files = [each for each in data["@graph"] if each["@type"] == "File"]
        assert len(files) >= 7
        for each in files:
            content = archive.read(unquote(each["@id"]))
            assert (str(len(content)), sha256_of(content)) == (each["contentSize"], each["sha256"])
    with pytest.raises(UsageError, match="is there already"):
        export_crate(runs["full"], store, tmp_path / "x.zip", ADA, logs=False, observed=False)
    with pytest.raises(UsageError, match="needs a licence"):
        export_crate(runs["full"], store, tmp_path / "none", Identity(), logs=False, observed=False)
    with pytest.raises(StoreError, match="cannot write"):
        export_crate(runs["full"], store, tmp_path / "no/such/place", ADA, logs=False, observed=False)
    assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "again.zip"}


def test_prov_loads_refers_to_nothing_that_is_not_there_and_times_are_in_order(runs, store, tmp_path):
    paths = written("prov", runs, store, tmp_path)
    found = validate("prov", *paths.values())
    for name, path in paths.items():
        said = found[str(path)]
        assert said["dangling"] == [], name
        assert all(began <= ended for began, ended in said["times"])
    kinds = found[str(paths["full"])]["kinds"]
    assert kinds["Generation"] == 4
    assert kinds["Usage"] == 4  # three inputs, and the source
    generated = json.loads(paths["full"].read_text())["wasGeneratedBy"].values()
    entities = [each["prov:entity"] for each in generated]
    assert len(set(entities)) == len(entities)
    assert all(entity.startswith("run:") for entity in entities)
    reused = json.loads(paths["full"].read_text())["specializationOf"].values()
    general = [each["prov:generalEntity"] for each in reused]
    assert len(general) == len(set(general)) + 1  # an output has the bytes of an input


def test_slsa_parses_strictly_and_names_what_was_made(runs, store, tmp_path):
    paths = written("slsa", runs, store, tmp_path)
    found = validate("slsa", *paths.values())
    assert found[str(paths["full"])] == 5  # commit, snapshot, inputs
    full, bare = (json.loads(paths[name].read_text()) for name in ("full", "bare"))
    record = finish(runs["full"], store)
    assert [each["digest"] for each in full["subject"]] == [each["digest"] for each in record["outputs"]]
    sealed = sha256_of(runs["bare"].record.read_bytes())
    assert bare["subject"] == [{"name": "record.json", "digest": {"sha256": sealed}}]
    commit = full["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert commit["uri"] == f"git+https://example.org/iris.git@{'c' * 40}"
    assert commit["digest"] == {"gitCommit": "c" * 40}


def test_openlineage_takes_its_events(runs, store, tmp_path):
    paths = written("openlineage", runs, store, tmp_path)
    found = validate("openlineage", *paths.values())
    kinds = {name: found[str(path)] for name, path in paths.items()}
    assert kinds == {
        "full": ["START", "COMPLETE"],
        "bare": ["START", "COMPLETE"],
        "failed": ["START", "FAIL"],
        "lost": ["ABORT"],
    }
