import threading
from concurrent.futures import ThreadPoolExecutor

from runner.worker.execution import neighbours
from runner.worker.results import Outcome
from tests.worker.runs import until


def test_runs_that_overlap_are_said_by_both(bench):
    long = bench.prepared("touch up; while [ ! -e end ]; do sleep 0.02; done")
    worker = bench.start(long)
    until((bench.project / "up").exists)
    short = bench.carry_out("true")
    (bench.project / "end").touch()
    worker.wait(20)
    assert f"run {short.id}" in long.read_files(long.outputs).ambiguous
    assert f"run {long.id}" in short.read_files(short.outputs).ambiguous


def test_runs_one_after_the_other_do_not_overlap(bench):
    for _ in range(2):
        run = bench.carry_out("true")
        assert run.read_files(run.outputs).ambiguous == ()


def test_a_nested_run_is_no_neighbour(bench):
    outer = bench.prepared("touch up; while [ ! -e end ]; do sleep 0.02; done")
    worker = bench.start(outer)
    until((bench.project / "up").exists)
    inner = bench.carry_out("true", parent=outer.id)
    (bench.project / "end").touch()
    worker.wait(20)
    assert not [each for each in inner.read_files(inner.outputs).ambiguous if each.startswith("run ")]
    assert not [each for each in outer.read_files(outer.outputs).ambiguous if each.startswith("run ")]


def test_a_run_that_was_killed_is_forgotten(bench):
    dead = bench.prepared("sleep 100")
    neighbours.enter(bench.cache, bench.project, dead)
    run = bench.prepared("true")
    neighbours.enter(bench.cache, bench.project, run)
    assert neighbours.leave(bench.cache, bench.project, run) == ()


def test_damaged_notes_are_begun_anew(bench):
    run = bench.prepared("true")
    neighbours.enter(bench.cache, bench.project, run)
    (book,) = (bench.cache / "places").iterdir()
    for garbage in (b"\xff\x00", b"[]", b'{"turn": "x", "runs": {}}', b'{"turn": 1, "runs": {"a": 1}}'):
        book.write_bytes(garbage)
        neighbours.enter(bench.cache, bench.project, run)
        assert neighbours.leave(bench.cache, bench.project, run) == ()


def test_many_at_once(bench):
    runs = [bench.prepared("true") for _ in range(8)]
    barrier = threading.Barrier(8)

    def go(run):
        neighbours.enter(bench.cache, bench.project, run)
        barrier.wait()
        return neighbours.leave(bench.cache, bench.project, run)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, runs))
    assert not any(run.has(Outcome) for run in runs)
