import os
import signal
import sys
import time
from pathlib import Path

import pytest

from runner.worker.execution import supervise
from runner.worker.facts import Start
from runner.worker.processes import is_alive
from runner.worker.results import Outcome
from runner.worker.spec import Resources
from tests.worker.runs import FLAGS, WORKER, until


def test_what_a_command_leaves_behind_is_ended_and_does_not_hold_the_run_up(bench):
    began = time.monotonic()
    run = bench.carry_out("sleep 100 & echo $!")
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.left_behind) == ("succeeded", 1)
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{run.stdout.read_text().strip()}").exists()


def test_a_daemon_in_a_session_of_its_own_is_found(bench):
    if not Path("/proc/self").exists():
        pytest.skip("only Linux lets a process adopt orphans")
    run = bench.carry_out("setsid bash -c 'trap \"\" HUP; exec sleep 100' & sleep 0.2")
    assert run.read(Outcome).left_behind == 1


def test_what_ends_by_itself_in_a_moment_is_left_to(bench):
    run = bench.carry_out("(sleep 0.1; echo late) & echo early")
    assert run.read(Outcome).left_behind == 0
    assert run.stdout.read_text() == "early\nlate\n"


def test_what_ignores_term_is_killed(bench, monkeypatch):
    run = bench.carry_out("(trap '' TERM; while :; do sleep 0.1; done) & sleep 0.1")
    outcome = run.read(Outcome)
    assert outcome.status == "succeeded"
    assert outcome.left_behind >= 1


def test_a_stopped_command_hears_of_its_end(bench):
    run = bench.prepared("echo up; kill -STOP $$; echo on")
    worker = bench.start(run)
    until(lambda: run.stdout.exists() and b"up" in run.stdout.read_bytes())
    time.sleep(0.1)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(5) == 0
    assert run.read(Outcome).status == "killed"


@pytest.mark.slow
def test_term_is_followed_by_kill(bench):
    run = bench.prepared("trap '' TERM; echo up; while :; do sleep 0.05; done")
    worker = bench.start(run)
    until(lambda: run.stdout.exists() and b"up" in run.stdout.read_bytes())
    began = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(supervise.TERM_GRACE + 5) == 0
    assert time.monotonic() - began > supervise.TERM_GRACE - 0.5
    assert run.read(Outcome).status == "killed"


def test_a_nested_run_that_was_detached_outlives_the_outer_one(bench, tmp_path):
    if not Path("/proc/self").exists():
        pytest.skip("the environment of other processes is seen on Linux only")
    inner = bench.prepared("sleep 0.7; touch inner-done")
    nested = f"MLRUN_WORKER={inner.id} setsid {sys.executable} {' '.join(FLAGS)} {WORKER} start {inner.path}"
    outer = bench.carry_out(f"{nested} </dev/null >/dev/null 2>&1 & sleep 0.4")
    assert outer.read(Outcome).left_behind == 0
    until(lambda: inner.has(Outcome))
    assert inner.read(Outcome).status == "succeeded"
    until(lambda: not is_alive(inner.read(Start).worker))


def test_usage_counts_the_whole_tree(bench):
    grow = "python3 -c 'x = bytearray(60 << 20); import time; time.sleep(0.5)'"
    usage = bench.carry_out(f"{grow} & {grow} & wait").read(Outcome).usage
    assert usage.wall >= 0.5
    assert usage.samples > 2
    assert usage.user > 0
    assert usage.peak_memory > 120 << 20


def test_cpu_time_of_what_was_left_behind_is_counted(bench):
    burn = "python3 -c 'import time; e = time.process_time() + 0.4\nwhile time.process_time() < e: pass'"
    usage = bench.carry_out(f"{burn}; true").read(Outcome).usage
    assert 0.35 < usage.user + usage.system < 2


def test_no_limit_by_default(bench):
    run = bench.carry_out("sleep 0.2", resources=Resources(time=30.0))
    assert run.read(Outcome).status == "succeeded"
