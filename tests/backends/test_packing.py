import os
import subprocess

import pytest

from runner.backends.exit_codes import exit_code
from runner.backends.packing import pack
from runner.backends.tail import Tail
from runner.testing.contract import Collected
from runner.worker.hashing import sha256_of_file
from runner.worker.results import Outcome
from tests.needs import python


def test_the_worker_is_named_by_its_bytes_and_made_once(tmp_path):
    path = pack(tmp_path)
    assert path.name == f"{sha256_of_file(path)}.pyz"
    before = path.stat()
    assert pack(tmp_path) == path
    assert path.stat().st_ino == before.st_ino
    assert pack(tmp_path / "other").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_whole_run_on_the_oldest_python(lab, tmp_path, fresh):
    run = lab.planned("echo out; cat train.py > copy")
    lab.bench.place(run, fresh=fresh)
    worker = pack(tmp_path / "cache")
    argv = [python("3.9"), "-S", "-E", "-I", str(worker), "start", str(run.path)]
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, check=False, env=environ, cwd="/", timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    outcome = run.read(Outcome)
    assert outcome.status == "succeeded", outcome.error
    assert exit_code(outcome) == 0
    sink = Collected()
    Tail(run).until_ended(sink)
    assert sink.out == b"out\n"
    assert [fact.path for fact in run.read_files(run.outputs).files] == ["copy"]


def test_an_old_python_is_told_so(tmp_path):
    done = subprocess.run(
        [python("3.6"), str(pack(tmp_path)), "start", "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.startswith("mlrun needs Python 3.9 or newer here; ")
    assert done.stderr.count("\n") == 1
