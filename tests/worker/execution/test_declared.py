"""What is declared is taken whole: behind symlinks, and in directories that a look at a project skips."""

import hashlib

import pytest

from runner.worker.execution.declared import reach
from runner.worker.execution.inputs import digest_of
from runner.worker.execution.scan import scan
from runner.worker.results import Outcome
from runner.worker.spec import Input
from tests.worker.runs import files


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def reasons(facts):
    return [gap.reason for gap in facts.gaps if gap.field in ("inputs", "outputs")]


@pytest.fixture
def far(tmp_path):
    """A directory elsewhere, as a large disk is."""
    (tmp_path / "far").mkdir()
    return tmp_path / "far"


@pytest.mark.parametrize("declared", ["results", "results/*", "results/deep/model", "*/deep/model", "results/**"])
def test_an_output_behind_a_link_to_a_directory_is_what_was_written_there(bench, far, declared):
    (far / "deep").mkdir()
    (bench.project / "results").symlink_to(far)
    run = bench.carry_out("printf new > results/deep/model", outputs=(declared,), without=("results",))
    facts = run.read_files(run.outputs)
    [fact] = facts.files
    assert (fact.path, fact.sha256, fact.basis, fact.stored) == ("results/deep/model", sha256(b"new"), "declared", True)
    assert fact.place == str(far / "deep/model")
    assert bench.objects.read(fact.sha256) == b"new"
    assert reasons(facts) == []
    assert reasons(run.read_files(run.inputs)) == []


def test_an_output_that_is_a_link_to_a_file_elsewhere_is_its_bytes(bench, far):
    (far / "m").write_bytes(b"old")
    (bench.project / "model").symlink_to(far / "m")
    (bench.project / "out").mkdir()
    (bench.project / "out" / "link").symlink_to(far / "n")
    without = ("model", "out/link")
    run = bench.carry_out("printf new > model; printf n > out/link", outputs=("model", "out"), without=without)
    found = files(run.read_files(run.outputs))
    assert {path: (fact.sha256, fact.place) for path, fact in found.items()} == {
        "model": (sha256(b"new"), str(far / "m")),
        "out/link": (sha256(b"n"), str(far / "n")),
    }
    assert not any(fact.previous for fact in found.values())
    again = bench.carry_out("true", outputs=("model",), without=(*without, "out"))
    facts = again.read_files(again.outputs)
    assert (facts.files, reasons(facts)) == (
        (),
        ["the declared output model was there before, and this run did not write it"],
    )


def test_a_committed_link_to_outputs_is_source_that_did_not_change(bench, far):
    (bench.project / "results").symlink_to(far)
    run = bench.carry_out("printf new > results/x", outputs=("results",))
    facts = run.read_files(run.outputs)
    assert [(fact.path, fact.previous) for fact in facts.files] == [("results/x", None)]
    assert facts.ambiguous == ()
    assert run.read_files(run.inputs).ambiguous == ()


def test_a_link_to_another_output_stays_one(bench):
    run = bench.carry_out("mkdir out; echo 1 > out/m1; ln -s m1 out/latest; ln -s out/m1 best", outputs=("out", "best"))
    found = files(run.read_files(run.outputs))
    assert (found["out/latest"].sha256, found["best"].sha256) == (sha256(b"m1"), sha256(b"out/m1"))


@pytest.mark.parametrize("fresh", [False, True])
def test_a_link_to_an_output_stays_one_wherever_that_lies(bench, far, fresh):
    command = "mkdir -p best; echo 1 > results/m1; ln -sf m1 results/latest; ln -sf ../results/m1 best/now"
    if fresh:
        (bench.project / "results").mkdir()
        (bench.project / "results" / ".keep").touch()
    else:
        (bench.project / "results").symlink_to(far)
    run = bench.carry_out(command, fresh=fresh, outputs=("best", "results"), without=() if fresh else ("results",))
    digests = {path: fact.sha256 for path, fact in files(run.read_files(run.outputs)).items()}
    assert digests == {
        "best/now": sha256(b"../results/m1"),
        "results/latest": sha256(b"m1"),
        "results/m1": sha256(b"1\n"),
    }


def test_links_that_leave_or_lead_in_circles_are_said_and_left(bench, far):
    (far / "huge").write_bytes(b"not an output")
    (bench.project / "up").symlink_to("..")
    (bench.project / "self").symlink_to("self")
    run = bench.carry_out(
        f"mkdir out; ln -s {far} out/far; ln -s . out/here; echo 1 > out/x; ln -s /proc/self/nothing out/dangling",
        outputs=("out", "up", "self"),
        without=("up", "self"),
    )
    facts = run.read_files(run.outputs)
    assert sorted(files(facts)) == ["out/dangling", "out/far", "out/here", "out/x"]
    assert "what lies behind the symlink out/far is not taken: declare out/far, if it is an output" in reasons(facts)
    assert any(reason.startswith("what lies behind the symlink up is not taken") for reason in reasons(facts))


def test_a_rerun_finds_the_directory_that_was_a_link(bench, far):
    (bench.project / "results").symlink_to(far)
    run = bench.carry_out("printf 1 > results/x", outputs=("results",), without=("results",))
    directories = run.read_files(run.inputs).directories
    assert directories == ("results",)
    again = bench.carry_out(
        "printf 1 > results/x",
        fresh=True,
        outputs=("results",),
        without=("results",),
        placement={"directories": directories},
    )
    assert again.read(Outcome).status == "succeeded"
    assert list(files(again.read_files(again.outputs))) == ["results/x"]
    assert (far / "x").stat().st_mtime_ns <= (run.path / "outputs.json").stat().st_mtime_ns


@pytest.mark.parametrize("declared", ["venv", "web/node_modules/built.js", "mlruns", "web"])
def test_declared_outputs_in_directories_that_are_skipped(bench, declared):
    run = bench.carry_out(
        "mkdir -p venv web/node_modules mlruns; touch venv/pyvenv.cfg; "
        "for d in venv web/node_modules mlruns; do echo $d > $d/built.js; done",
        outputs=(declared,),
    )
    facts = run.read_files(run.outputs)
    mine = {path for path, fact in files(facts).items() if fact.stored}
    where = {"web": "web/node_modules"}.get(declared, declared.removesuffix("/built.js"))
    assert f"{where}/built.js" in mine
    assert all(path.startswith(where) for path in mine)
    assert reasons(facts) == []


def test_bytecode_and_repositories_in_declared_directories_are_said(bench):
    for name in ("out/.git/HEAD", "data/__pycache__/x.pyc", "data/venv/pyvenv.cfg", "data/mlruns/m"):
        (bench.project / name).parent.mkdir(parents=True, exist_ok=True)
        (bench.project / name).write_text(name)
    run = bench.carry_out(
        "mkdir out/__pycache__; echo 1 > out/__pycache__/x.pyc; echo 1 > out/x",
        inputs=(Input("data", "data"),),
        outputs=("out",),
        without=("out/.git/HEAD", "data/__pycache__/x.pyc", "data/venv/pyvenv.cfg", "data/mlruns/m"),
    )
    assert list(files(run.read_files(run.outputs))) == ["out/x"]
    assert sorted(reasons(run.read_files(run.outputs))) == [
        "out/.git is not taken: it is a repository's, or Python's bytecode",
        "out/__pycache__ is not taken: it is a repository's, or Python's bytecode",
    ]
    taken = [(name, sha256(f"data/{name}".encode())) for name in ("mlruns/m", "venv/pyvenv.cfg")]
    wanted = sha256("".join(sorted(f"{digest}  {name}\n" for name, digest in taken)).encode())
    assert digest_of(Input("data", "data"), run.read_files(run.inputs).files) == wanted
    assert reasons(run.read_files(run.inputs)) == ["data/__pycache__ is not part of the input data"]


def test_the_store_behind_a_link_is_no_output(bench):
    (bench.project / "results").symlink_to(bench.home)
    run = bench.carry_out("true", outputs=("results",), without=("results",))
    assert run.read_files(run.outputs).files == ()


@pytest.mark.parametrize("fresh", [False, True])
def test_input_directories_count_links_as_what_they_lead_to(bench, far, fresh):
    (far / "inner").mkdir()
    for name in ("a.csv", "inner/b.csv"):
        (far / name).write_bytes(name.encode())
    data = bench.project / "data"
    data.mkdir()
    for name, goal in (("a", far / "a.csv"), ("in", far / "inner"), ("up", ".."), ("gone", "nowhere")):
        (data / name).symlink_to(goal)
    (far / "inner" / "round").symlink_to(far / "inner")
    lines = sorted([f"{sha256(b'a.csv')}  a\n", f"{sha256(b'inner/b.csv')}  in/b.csv\n"])
    pinned = sha256("".join(lines).encode())
    wanted = (Input("data", "data", sha256=pinned),)
    options = {
        "fresh": fresh,
        "inputs": wanted,
        "without": ("data/a", "data/in", "data/up", "data/gone"),
        "placement": {"inputs": {"data": str(data)}},
    }
    run = bench.carry_out("cat data/a data/in/b.csv", **options)
    assert (run.read(Outcome).status, run.stdout.read_text()) == ("succeeded", "a.csvinner/b.csv")
    (far / "inner" / "b.csv").write_bytes(b"other")
    assert "data" in bench.carry_out("true", **options).read(Outcome).error.message


@pytest.mark.parametrize("fresh", [False, True])
def test_globs_go_through_links(bench, far, fresh):
    (far / "b.csv").write_bytes(b"b")
    (bench.project / "data").mkdir()
    (bench.project / "data" / "far").symlink_to(far)
    where = {"data/**/*.csv": str(bench.project / "data/**/*.csv")}
    run = bench.carry_out(
        "cat data/far/b.csv",
        fresh=fresh,
        inputs=(Input("data/**/*.csv", "data/**/*.csv"),),
        without=("data/far",),
        placement={"inputs": where},
    )
    assert run.stdout.read_text() == "b"
    [fact] = [fact for fact in run.read_files(run.inputs).files if fact.basis == "declared"]
    assert (fact.path, fact.sha256) == ("data/far/b.csv", sha256(b"b"))


def test_an_input_behind_a_link_that_changes_during_the_run_is_said(bench, far):
    (far / "d.csv").write_bytes(b"old")
    (bench.project / "data").mkdir()
    (bench.project / "data" / "d.csv").symlink_to(far / "d.csv")
    run = bench.carry_out(f"echo new > {far}/d.csv", inputs=(Input("data", "data"),), without=("data/d.csv",))
    assert run.read_files(run.outputs).ambiguous == ("data",)


def test_an_observed_link_to_a_file_is_its_bytes(bench, far):
    (far / "d.csv").write_bytes(b"far")
    (bench.project / "d.csv").symlink_to(far / "d.csv")
    run = bench.carry_out("true", without=("d.csv",))
    fact = files(run.read_files(run.inputs))["d.csv"]
    assert (fact.sha256, fact.size, fact.basis) == (sha256(b"far"), 3, "observed")


def test_what_is_not_declared_is_not_followed(tmp_path, far):
    (far / "x").write_text("x")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "data").symlink_to(far)
    listing = reach(str(tmp_path / "p"), scan(str(tmp_path / "p")), ("results", "*.csv", "**/x"))
    assert (list(listing.written), listing.places, listing.left) == (["data"], {}, ())
