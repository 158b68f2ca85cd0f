"""What another machine lists as the results of a run is not believed."""

import json

import pytest

from runner.backends.ssh.bring import Bring
from runner.errors import IntegrityError
from runner.worker.codec import encode
from runner.worker.hashing import sha256_of
from runner.worker.remote.frames import Frame
from runner.worker.remote.results import Item, Results, results
from runner.worker.results import Outcome
from runner.worker.spec import RunSpec


def listed(*files):
    items = tuple(Item(sha256_of(data), len(data), path, inline=True) for path, data in files)
    return Frame(
        "results", {"found": json.loads(json.dumps(encode(Results(items))))}, b"".join(one[1] for one in files)
    )


@pytest.mark.parametrize(
    "path",
    ["spec.json", "./spec.json", "request.json", "ticket.json", "record.json", "signatures/ada", "x/../spec.json",
     "../other/spec.json", "/etc/passwd", "."],
)  # fmt: skip
def test_a_result_is_neither_outside_nor_what_was_written_here(lab, path):
    run = lab.planned("true")
    plan = run.read(RunSpec)
    with pytest.raises(IntegrityError, match="the host lists a result"):
        Bring(listed(("stdout.log", b"out\n"), (path, b"{}")), run, lab.store.objects).finish(None)
    assert run.read(RunSpec) == plan
    assert not run.has(Outcome)


def test_a_worker_lists_no_file_of_the_near_sides(lab):
    run = lab.planned("true")
    run.notes.write_text("{}\n")
    run.signatures.mkdir()
    (run.signatures / "ada").write_text("signed")
    run.stdout.write_text("out\n")
    found, _ = results(run, lab.store.objects)
    assert [item.path for item in found.items] == ["stdout.log"]
