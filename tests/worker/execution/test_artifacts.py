"""What lies under `artifacts/` of a run and its sub-runs is among its outputs, by digest, in the store."""

import hashlib
import os

from runner.flow.outputs import bring_out, outputs_of
from runner.store.store import Store
from runner.worker.results import Outcome
from tests.worker.runs import files


def sealed(bench, command, **options):
    run = bench.carry_out(command, **options)
    assert run.find(Outcome).status == "succeeded", run.stderr.read_text()
    return run, run.read_files(run.outputs)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_artifacts_are_outputs_and_their_bytes_are_in_the_store(bench):
    run, found = sealed(
        bench,
        """
cd $MLRUN_RUN_DIR; mkdir -p artifacts/d/__pycache__ artifacts/.git children/1/artifacts
printf a >artifacts/a; printf b >artifacts/d/b; printf c >children/1/artifacts/c; printf g >artifacts/.git/g
chmod 700 artifacts/a; printf x >artifacts/d/__pycache__/m.pyc; ln -s nowhere artifacts/link; mkfifo artifacts/pipe
printf x >children/1/metrics.jsonl
""",
    )
    facts = files(found)
    assert {path: fact.sha256 for path, fact in facts.items()} == {
        "artifacts/a": sha256("a"), "artifacts/d/b": sha256("b"), "artifacts/.git/g": sha256("g"),
        "artifacts/link": sha256("nowhere"), "children/1/artifacts/c": sha256("c"),
    }  # fmt: skip
    assert {(fact.basis, fact.stored) for fact in found.files} == {("logged", True)}
    assert facts["artifacts/a"].mode == 0o700
    assert bench.objects.read(sha256("b")) == b"b"
    assert (run.artifacts / "d" / "b").read_text() == "b"
    assert not found.gaps


def test_links_are_not_followed(bench):
    _, found = sealed(
        bench,
        """
cd $MLRUN_RUN_DIR; ln -s / artifacts
mkdir -p children/1/artifacts; ln -s / children/1/artifacts/root; ln -s / children/2
""",
    )
    assert {fact.path: fact.sha256 for fact in found.files} == {
        "artifacts": sha256("/"), "children/1/artifacts/root": sha256("/"), "children/2": sha256("/"),
    }  # fmt: skip


def test_the_same_path_in_the_project_is_one_output_or_two(bench):
    _, found = sealed(
        bench,
        """
mkdir artifacts $MLRUN_RUN_DIR/artifacts
printf same | tee artifacts/same >$MLRUN_RUN_DIR/artifacts/same
printf mine >artifacts/other; printf logged >$MLRUN_RUN_DIR/artifacts/other
printf d | tee artifacts/d >$MLRUN_RUN_DIR/artifacts/d
""",
        outputs=("artifacts/d",),
    )
    assert [(fact.path, fact.basis, fact.sha256, fact.stored) for fact in found.files] == [
        ("artifacts.logged/other", "logged", sha256("logged"), True),
        ("artifacts/d", "declared", sha256("d"), True),
        ("artifacts/other", "observed", sha256("mine"), False),
        ("artifacts/same", "logged", sha256("same"), True),
    ]


def test_more_artifacts_than_a_directory_is_looked_through_for_are_all_kept(bench):
    _, found = sealed(bench, "mkdir $MLRUN_RUN_DIR/artifacts; cd $MLRUN_RUN_DIR/artifacts; seq 10001 | split -l 1 -a 4")
    assert len(found.files) == 10_001
    assert all(fact.stored for fact in found.files)
    assert not found.gaps


def test_they_are_brought_out_by_the_name_they_were_logged_by(bench, tmp_path):
    run, _ = sealed(bench, "mkdir -p $MLRUN_RUN_DIR/artifacts/m; printf a >$MLRUN_RUN_DIR/artifacts/m/a; printf b >b")
    (run.artifacts / "m" / "a").unlink()
    (run.artifacts / "m" / "a").write_text("another in its place")
    store = Store.open(bench.root, bench.cache)
    for name in ("m", "m/a", "artifacts/m/a"):
        assert [fact.path for fact in outputs_of(run, name)] == ["artifacts/m/a"]
    (written,) = bring_out(outputs_of(run, "m"), store, run, tmp_path / "out")
    assert written.read_text() == "a"


def test_what_a_lost_run_had_logged_is_found_in_its_directory(bench, tmp_path):
    run = bench.prepared("true")
    run.artifacts.mkdir()
    (run.artifacts / "a").write_text("a")
    (run.artifacts / "l").symlink_to("a")
    found = outputs_of(run)
    assert [(fact.path, fact.sha256, fact.stored) for fact in found] == [
        ("artifacts/a", sha256("a"), False), ("artifacts/l", sha256("a"), False),
    ]  # fmt: skip
    bring_out(found[:1], Store.open(bench.root, bench.cache), run, tmp_path / "out")
    assert (tmp_path / "out" / "artifacts" / "a").read_text() == "a"


def test_an_artifact_that_cannot_be_read_is_a_gap(bench):
    _, found = sealed(
        bench,
        "mkdir $MLRUN_RUN_DIR/artifacts; cd $MLRUN_RUN_DIR/artifacts; printf a >a; ln -s $(basename a) b; chmod 0 a",
    )
    if os.geteuid() == 0:
        assert all(fact.stored for fact in found.files)
    else:
        assert [gap.field for gap in found.gaps] == ["outputs"]
