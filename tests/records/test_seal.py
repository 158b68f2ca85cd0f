"""A record is written once, whole, with a seal that `sha256sum` checks; two who finish a run agree."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from runner.backends.ssh.bring import Bring
from runner.errors import FormatError, IntegrityError
from runner.records.compose import compose
from runner.records.finish import finish
from runner.records.seal import check_seal, parse, read, seal
from runner.store.locks import settling
from runner.store.store import Store
from runner.worker.codec import encode
from runner.worker.hashing import sha256_of
from runner.worker.remote.frames import Frame
from runner.worker.remote.results import Item, Results
from runner.worker.spec import RunSpec
from tests.store.runs import a_run, claim, end, wrote


@pytest.fixture
def store() -> Store:
    return Store.open()


def test_a_sealed_record_is_checked_by_sha256sum(store):
    run = end(a_run(store))
    record = compose(run, store)
    assert seal(run, record) == run.record
    assert parse(read(run)) == record
    assert check_seal(run) is None
    done = subprocess.run(["sha256sum", "-c", run.seal.name], cwd=run.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "record.json: OK\n")


def test_the_first_record_stands(store):
    run = end(a_run(store))
    first = compose(run, store)
    seal(run, first)
    before = run.record.read_bytes()
    run.metrics.write_text('{"name": "late", "value": 1}\n')
    seal(run, compose(run, store))
    assert run.record.read_bytes() == before


@pytest.mark.parametrize("position", [0, 100, -2])
def test_a_flipped_bit_is_found(store, position):
    run = end(a_run(store))
    finish(run, store)
    data = bytearray(run.record.read_bytes())
    data[position] ^= 1
    run.record.chmod(0o600)
    run.record.write_bytes(data)
    assert check_seal(run) == "record.json does not have the sha256 that record.json.sha256 holds"
    with pytest.raises((IntegrityError, FormatError)):
        finish(run, store)


@pytest.mark.parametrize("content", [b"", b"0" * 64, b"0" * 64 + b"  record.json\n"])
def test_another_seal_is_found(store, content):
    run = end(a_run(store))
    finish(run, store)
    run.seal.chmod(0o600)
    run.seal.write_bytes(content)
    assert check_seal(run) is not None
    with pytest.raises(IntegrityError, match="was changed"):
        read(run)


def test_what_is_missing_is_named(store):
    run = end(a_run(store))
    with pytest.raises(FormatError, match="has no record yet"):
        read(run)
    assert check_seal(run) == "record.json.sha256 is missing"
    finish(run, store)
    run.record.unlink()
    assert check_seal(run) == "record.json is missing"


def test_a_record_of_a_newer_version_is_refused_in_one_line(store):
    run = end(a_run(store))
    run.record.write_text('{"version": 2}')
    with pytest.raises(FormatError, match="is of version 2; this mlrun reads 1"):
        read(run)


def test_a_record_that_breaks_the_format_is_explained_in_the_words_of_the_schema(store):
    data = encode(compose(end(a_run(store)), store))
    data["run"]["status"] = "finished"
    with pytest.raises(FormatError, match=r"'finished' is no status \(\$\.run\.status: 'finished' is not one of"):
        parse(data)


def test_finishing_seals_and_enters_an_ended_run_once(store):
    run = end(a_run(store, name="n"))
    wrote(run, store, {"out.txt": b"out"})
    run.metrics.write_text('{"name": "rmse", "value": 0.25}\n')
    record = finish(run, store)
    assert record == json.loads(run.record.read_bytes())
    before = run.record.stat()
    assert finish(run, store) == record
    assert run.record.stat() == before
    (summary,) = store.index.query()
    assert (summary.status, summary.sealed, summary.metrics) == ("succeeded", True, {"rmse": 0.25})
    assert summary.params == {"alpha": "0.5"}
    (output,) = record["outputs"]
    assert [each.run for each in store.index.producers(output["digest"]["sha256"])] == [run.id]
    assert store.open_runs() == []
    store.index.rebuild()
    assert store.index.query() == [summary]
    assert [each.run for each in store.index.producers(output["digest"]["sha256"])] == [run.id]


def test_a_run_that_goes_on_is_shown_and_not_sealed(store):
    run = a_run(store)
    claim(run)
    record = finish(run, store)
    assert record["run"]["status"] == "preparing"
    assert not run.record.exists()
    assert not run.seal.exists()
    assert [each.id for each in store.open_runs()] == [run.id]


def test_a_record_whose_writer_died_before_it_sealed_and_entered_it(store):
    run = end(a_run(store))
    finish(run, store)
    run.seal.unlink()
    finish(run, store)
    assert check_seal(run) is None
    other = end(a_run(store))
    seal(other, compose(other, store))
    assert store.index.get(other.id).sealed is False
    assert store.open_runs() == []
    assert store.index.get(other.id).status == "succeeded"


def test_a_damaged_run_is_said_once_and_listed_as_damaged_from_then_on(store):
    run = end(a_run(store))
    (run.path / "spec.json").write_bytes(b"{")
    with pytest.raises(FormatError, match=r"spec\.json is not valid JSON"):
        finish(run, store)
    assert [summary.status for summary in store.index.query()] == ["damaged"]
    assert store.open_runs() == []


def test_eight_processes_that_finish_one_run_at_once_agree(store):
    run = end(a_run(store))
    run.metrics.write_text('{"name": "m", "value": 1}\n' * 2000)
    code = (
        "import hashlib, json, sys\n"
        "from runner.store.store import Store\n"
        "from runner.records.finish import finish\n"
        "store = Store.open()\n"
        "record = finish(store.find('latest'), store)\n"
        "print(hashlib.sha256(json.dumps(record).encode()).hexdigest())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", code]
    processes = [subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 8
    assert len(said) == 1
    assert check_seal(run) is None
    assert sorted(path.name for path in run.path.iterdir() if path.name.startswith(".")) == []


def test_sealing_imports_nothing_heavy(home):
    code = (
        "import sys\n"
        "from runner.records.finish import finish\n"
        "from tests.store.runs import a_run, end\n"
        "from runner.store.store import Store\n"
        "store = Store.open()\n"
        "run = end(a_run(store))\n"
        "assert finish(run, store)['run']['status'] == 'succeeded'\n"
        "heavy = {'jsonschema', 'git', 'rich', 'virtualenv', 'yaml', 'click', 'subprocess', 'urllib.request'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() in ([], ["subprocess"])


def test_the_plan_of_a_finished_run_is_as_it_was(store):
    run = a_run(store)
    spec = run.read(RunSpec)
    finish(end(run), store)
    assert run.read(RunSpec) == spec


def test_a_run_is_not_sealed_while_its_files_are_brought(store):
    run = end(a_run(store))
    with ThreadPoolExecutor(1) as pool:
        with settling(run.path):
            finishing = pool.submit(finish, run, store)
            assert not wait([finishing], 0.3).done
            (run.path / "late.json").write_text("{}\n")
        finishing.result(60)
    assert "late.json" in run.contents.read_text()
    assert not (run.path / ".settling").exists()


def test_nothing_is_brought_to_a_sealed_run(store):
    run = end(a_run(store))
    finish(run, store)
    data = b"{}\n"
    item = Item(sha256_of(data), len(data), "late.json", inline=True)
    listed = Frame("results", {"found": encode(Results((item,)))}, data)
    assert Bring(listed, run, store.objects).finish(None) == 0
    assert not (run.path / "late.json").exists()
