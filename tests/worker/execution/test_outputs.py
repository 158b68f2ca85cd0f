"""What a run read and wrote, seen through whole runs."""

import hashlib
import os
import shutil
import subprocess
import time

import pytest

from runner.worker.execution import inputs, outputs
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import digest_of
from runner.worker.execution.scan import scan
from runner.worker.facts import SourceFacts
from runner.worker.results import Outcome
from runner.worker.spec import Input
from tests.needs import need
from tests.worker.runs import files


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_new_files_are_outputs_by_digest(bench):
    run = bench.carry_out("mkdir -p out; printf abc > out/a; ln -s a out/link; touch out/empty")
    found = files(run.read_files(run.outputs))
    assert {path: fact.sha256 for path, fact in found.items()} == {
        "out/a": sha256(b"abc"),
        "out/link": sha256(b"a"),
        "out/empty": sha256(b""),
    }
    assert {fact.basis for fact in found.values()} == {"observed"}
    assert not any(fact.stored for fact in found.values() if fact.path != "out/link")


def test_a_rewritten_file_names_its_previous_digest(bench):
    (bench.project / "log.txt").write_bytes(b"old")
    run = bench.carry_out("printf new > log.txt", without=("log.txt",))
    fact = files(run.read_files(run.outputs))["log.txt"]
    assert (fact.sha256, fact.previous) == (sha256(b"new"), sha256(b"old"))
    assert files(run.read_files(run.inputs))["log.txt"].sha256 == sha256(b"old")


def test_a_file_rewritten_with_the_same_bytes_is_an_output_still(bench):
    (bench.project / "log.txt").write_bytes(b"same")
    fact = files((run := bench.carry_out("printf same > log.txt", without=("log.txt",))).read_files(run.outputs))[
        "log.txt"
    ]
    assert fact.sha256 == fact.previous == sha256(b"same")


def test_an_edit_that_restores_the_mtime_is_found(bench):
    (bench.project / "data").write_bytes(b"aaaa")
    run = bench.carry_out(
        "touch -r data /tmp/ref.$$; printf bbbb > data; touch -r /tmp/ref.$$ data; rm /tmp/ref.$$", without=("data",)
    )
    assert files(run.read_files(run.outputs))["data"].sha256 == sha256(b"bbbb")


def test_a_new_hard_link_to_an_input_makes_it_no_output(bench):
    (bench.project / "data").write_bytes(b"aaaa")
    run = bench.carry_out("ln data data2", without=("data",))
    assert list(files(run.read_files(run.outputs))) == ["data2"]


def test_source_that_changes_during_the_run_is_ambiguous(bench):
    (bench.project / "gone.py").write_text("1")
    run = bench.carry_out("echo more >> train.py; rm gone.py")
    facts = run.read_files(run.outputs)
    assert facts.ambiguous == ("gone.py", "train.py")
    assert files(facts)["train.py"].previous == sha256(b"print('trained')\n")


def test_touched_source_is_neither_output_nor_ambiguous(bench):
    run = bench.carry_out("touch train.py")
    assert run.read_files(run.outputs).files == ()
    assert run.read_files(run.outputs).ambiguous == ()


def test_source_that_was_edited_after_the_snapshot_is_ambiguous_before_the_start(bench):
    run = bench.prepared("true")
    (bench.project / "train.py").write_text("print('edited')\n")
    bench.start(run).wait(30)
    assert run.read_files(run.inputs).ambiguous == ("train.py",)
    assert run.read_files(run.outputs).ambiguous == ("train.py",)


def test_declared_outputs_are_stored(bench):
    run = bench.carry_out(
        "mkdir -p out/deep; echo 1 > out/a.csv; echo 2 > out/deep/b; echo 3 > c", outputs=("out", "*.bin")
    )
    facts = run.read_files(run.outputs)
    found = files(facts)
    assert {path: (fact.basis, fact.stored, fact.name) for path, fact in found.items()} == {
        "c": ("observed", False, None),
        "out/a.csv": ("declared", True, "out"),
        "out/deep/b": ("declared", True, "out"),
    }
    assert bench.objects.read(found["out/deep/b"].sha256) == b"2\n"
    assert [gap.reason for gap in facts.gaps] == ["the declared output *.bin was not written"]


def test_a_declared_output_from_before_is_not_this_runs(bench):
    (bench.project / "model").write_bytes(b"stale")
    run = bench.carry_out("true", outputs=("model",), without=("model",))
    facts = run.read_files(run.outputs)
    assert facts.files == ()
    assert "was there before" in facts.gaps[0].reason
    assert run.read_files(run.inputs).files == ()


def test_generated_directories_are_skipped(bench):
    for name in ("mlruns/0", "__pycache__", "node_modules/x", ".git"):
        (bench.project / name).mkdir(parents=True)
    (bench.project / "venv").mkdir()
    (bench.project / "venv" / "pyvenv.cfg").write_text("")
    run = bench.carry_out(
        "for d in mlruns/0 __pycache__ node_modules/x .git venv; do echo 1 > $d/f; done", without=("venv/pyvenv.cfg",)
    )
    assert run.read_files(run.outputs).files == ()
    assert run.read_files(run.inputs).files == ()


def test_a_store_inside_the_project_is_skipped(bench):
    bench.home = bench.project / "sub"
    run = bench.carry_out("true")
    assert run.read(Outcome).status == "succeeded"
    assert run.read_files(run.outputs).files == ()


def test_special_files_are_no_outputs(bench):
    run = bench.carry_out("mkfifo pipe; echo 1 > file")
    assert list(files(run.read_files(run.outputs))) == ["file"]


def test_names_in_any_bytes(bench):
    run = bench.carry_out(r"touch $'\xff\n x'")
    assert list(files(run.read_files(run.outputs))) == ["\udcff\n x"]


def test_a_symlink_to_data_elsewhere_is_said(bench, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (bench.project / "data").symlink_to(tmp_path / "elsewhere")
    run = bench.carry_out("true", without=("data",))
    facts = run.read_files(run.inputs)
    assert list(files(facts)) == ["data"]
    assert "symlink to a directory" in facts.gaps[0].reason


def test_beyond_the_caps_the_record_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_FILES", 3)
    monkeypatch.setattr(inputs, "MOST_BYTES", 100)
    for index, size in enumerate([10, 200, 20, 5, 5]):
        (tmp_path / str(index)).write_bytes(b"x" * size)
    facts = inputs.observe(scan(str(tmp_path)), {}, str(tmp_path), ((), ()), Digests(tmp_path / "cache"))
    assert [(fact.path, fact.sha256 is None) for fact in facts.files] == [("0", False), ("1", True), ("2", False)]
    assert len(facts.gaps) == 2


def test_fresh_runs_keep_what_they_wrote(bench):
    run = bench.carry_out("pwd; cat train.py > copy; rm train.py", fresh=True)
    found = files(run.read_files(run.outputs))
    assert run.stdout.read_text().strip() == str(run.work)
    assert not run.work.exists()
    assert (bench.project / "train.py").exists()
    assert not (bench.project / "copy").exists()
    assert found["copy"].stored
    assert bench.objects.read(found["copy"].sha256) == b"print('trained')\n"


def test_fresh_runs_keep_their_directory_after_a_failure_and_where_asked(bench):
    assert (bench.carry_out("touch x; exit 1", fresh=True).work / "x").exists()
    assert (bench.carry_out("touch x", fresh=True, placement={"keep_work": True}).work / "x").exists()


def test_fresh_runs_that_write_what_only_they_can_delete_are_cleared(bench):
    run = bench.carry_out("mkdir ro; touch ro/x; chmod 500 ro", fresh=True)
    assert run.read(Outcome).status == "succeeded"
    assert not run.work.exists()


def test_with_declared_outputs_the_others_go_with_the_fresh_directory(bench):
    run = bench.carry_out("touch out scratch", fresh=True, outputs=("out",))
    assert not run.work.exists()
    assert {path: fact.stored for path, fact in files(run.read_files(run.outputs)).items()} == {
        "out": True,
        "scratch": False,
    }


def test_a_subdirectory_is_the_place_of_the_command(bench):
    (bench.project / "sub").mkdir()
    (bench.project / "sub" / "x.py").write_text("x")
    run = bench.carry_out("ls; echo 1 > here; echo 2 > ../there", fresh=True, subdirectory="sub")
    assert run.stdout.read_text() == "x.py\n"
    assert sorted(files(run.read_files(run.outputs))) == ["../there", "here"]
    run = bench.carry_out("ls; echo 1 > here", subdirectory="sub")
    assert sorted(files(run.read_files(run.outputs))) == ["here"]


def test_declared_inputs_are_hashed(bench, tmp_path):
    (bench.project / "data").mkdir()
    (bench.project / "data" / "a").write_bytes(b"a")
    (bench.project / "data" / "b").write_bytes(b"b")
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"out")
    wanted = (Input("data", "data"), Input("d/*", "data/*"), Input("train", str(outside), parameter="train"))
    run = bench.carry_out(
        "true", inputs=wanted, without=("data/a", "data/b"), placement={"inputs": {"train": str(outside)}}
    )
    facts = run.read_files(run.inputs)
    by_name = [(fact.name, fact.path, fact.basis, fact.size) for fact in facts.files]
    assert by_name[:4] == [
        ("data", "data", "declared", 2),
        ("d/*", "data/a", "declared", 1),
        ("d/*", "data/b", "declared", 1),
        ("train", str(outside), "parameter", 3),
    ]
    lines = sorted([f"{sha256(b'a')}  a\n", f"{sha256(b'b')}  b\n"])
    assert digest_of(wanted[0], facts.files) == sha256("".join(lines).encode())
    assert digest_of(wanted[2], facts.files) == sha256(b"out")


@pytest.mark.parametrize("fresh", [False, True])
def test_inputs_reach_the_directory_of_a_run(bench, fresh):
    (bench.project / "data").mkdir()
    (bench.project / "data" / "a.csv").write_bytes(b"a")
    (bench.project / "data" / "b.csv").write_bytes(b"b")
    wanted = (Input("data/*.csv", "data/*.csv"),)
    placement = {"inputs": {"data/*.csv": str(bench.project / "data/*.csv")}}
    run = bench.carry_out(
        "cat data/*", fresh=fresh, inputs=wanted, without=("data/a.csv", "data/b.csv"), placement=placement
    )
    assert run.read(Outcome).status == "succeeded"
    assert run.stdout.read_bytes() == b"ab"
    assert [fact.path for fact in run.read_files(run.inputs).files] == ["data/a.csv", "data/b.csv"]
    assert run.read_files(run.outputs).files == ()


def test_a_missing_input_fails_the_preparation(bench):
    outcome = bench.carry_out("true", inputs=(Input("no.csv", "no.csv"),)).read(Outcome)
    assert (outcome.status, outcome.reason) == ("failed", "prepare")
    assert "no.csv is not there" in outcome.error.message


def test_a_pinned_input_with_other_bytes_fails_the_preparation(bench):
    (bench.project / "d.csv").write_bytes(b"new")
    outcome = bench.carry_out("true", inputs=(Input("d.csv", "d.csv", sha256="0" * 64),), without=("d.csv",)).read(
        Outcome
    )
    assert outcome.reason == "prepare"
    assert "d.csv" in outcome.error.message
    good = (Input("d.csv", "d.csv", sha256=sha256(b"new")),)
    assert bench.carry_out("true", inputs=good, without=("d.csv",)).read(Outcome).status == "succeeded"


def test_an_input_that_changes_during_the_run_is_said(bench, tmp_path):
    data = tmp_path / "d.csv"
    data.write_bytes(b"old")
    run = bench.carry_out(f"echo new > {data}", inputs=(Input("d", str(data), parameter="d"),))
    assert run.read_files(run.outputs).ambiguous == (str(data),)


def test_large_files_that_are_not_stored_come_from_their_place(bench):
    (bench.project / "big.bin").write_bytes(b"big")
    source = SourceFacts("directory", str(bench.project), not_stored=("big.bin",))
    spec = bench.spec("cat big.bin")
    bench.objects.path(sha256(b"big")).unlink()
    for content, status in ((b"big", "succeeded"), (b"bag", "failed"), (None, "failed")):
        run = bench.plan(spec, mode="fresh", source=source)
        bench.place(run, fresh=True)
        (bench.project / "big.bin").unlink() if content is None else (bench.project / "big.bin").write_bytes(content)
        bench.start(run).wait(30)
        outcome = run.read(Outcome)
        assert outcome.status == status
        assert status == "succeeded" or "big.bin was too large to be stored" in outcome.error.message


def test_outputs_that_find_no_room_are_a_gap(bench, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], capture_output=True, check=False
    )
    need("root", mounted.returncode == 0, "only root can mount a small disk")
    try:
        run = bench.prepared("head -c 3000000 /dev/zero > model", outputs=("model",))
        shutil.move(bench.root / "objects", small / "objects")
        (bench.root / "objects").symlink_to(small / "objects")
        bench.start(run).wait(30)
        facts = run.read_files(run.outputs)
        assert run.read(Outcome).status == "succeeded"
        assert (facts.files[0].stored, facts.files[0].size) == (False, 3000000)
        assert facts.files[0].sha256 is not None
        assert "is not stored" in facts.gaps[0].reason
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_scanning_twenty_thousand_files_is_quick(tmp_path):
    for directory in range(100):
        (tmp_path / str(directory)).mkdir()
        for name in range(200):
            os.close(os.open(tmp_path / str(directory) / str(name), os.O_CREAT | os.O_WRONLY))
    began = time.perf_counter()
    assert len(scan(str(tmp_path)).files) == 20_000
    assert time.perf_counter() - began < 0.6  # 0.1 on a quiet machine


def test_the_policy_of_a_fresh_run_without_declared_outputs_keeps_all():
    assert outputs.Policy((), fresh=True).keeps_all
    assert not outputs.Policy(("x",), fresh=True).keeps_all
    assert not outputs.Policy((), fresh=False).keeps_all
