import os
import signal
import sys
import time
from dataclasses import replace

import pytest

from runner.backends.exit_codes import exit_code
from runner.errors import BackendError
from runner.worker import files
from runner.worker.codec import encode
from runner.worker.execution.cancel import cancel
from runner.worker.facts import Cancellation, Claim, Request, Start
from runner.worker.look import look
from runner.worker.processes import is_alive, myself
from runner.worker.results import Outcome
from tests.worker.runs import FLAGS, WORKER, until


def up(run):
    until(lambda: run.stdout.exists() and b"up" in run.stdout.read_bytes())


@pytest.mark.parametrize(
    ("word", "number"), [("INT", signal.SIGINT), ("TERM", signal.SIGTERM), ("KILL", signal.SIGKILL)]
)
def test_a_running_run_is_cancelled(bench, word, number):
    run = bench.prepared("echo up; sleep 100")
    bench.start(run)
    up(run)
    cancel(run, word, by="ada")
    until(lambda: look(run).ended)
    assert (run.read(Outcome).status, run.read(Outcome).signal) == ("killed", number)
    assert run.read(Cancellation).by == "ada"


def test_a_run_that_ignores_all_is_killed_where_that_is_asked(bench):
    run = bench.prepared("trap '' INT TERM; echo up; while :; do sleep 0.05; done")
    bench.start(run)
    up(run)
    cancel(run, "INT")
    time.sleep(0.2)
    assert not look(run).ended
    cancel(run, "KILL")
    until(lambda: look(run).ended, 3)
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.signal, outcome.cancelled) == ("killed", signal.SIGKILL, signal.SIGINT)
    assert outcome.error is not None
    assert outcome.error.message == "cancelled by SIGINT, ended by SIGKILL"
    assert exit_code(outcome) == 128 + signal.SIGINT


def test_a_run_that_nobody_has_claimed_never_begins(bench):
    run = bench.prepared("echo no")
    assert cancel(run).name == "killed" or until(lambda: look(run).name == "killed")
    bench.start(run).wait(20)
    assert not run.has(Start)


def test_a_run_is_cancelled_at_any_moment_of_its_beginning(bench):
    for delay in (0, 0.01, 0.02, 0.04, 0.05, 0.06, 0.07, 0.08):
        run = bench.prepared("sleep 100")
        worker = bench.start(run)
        time.sleep(delay)
        cancel(run)
        assert worker.wait(5) == 0
        until(lambda run=run: look(run).ended, 5)
        assert look(run).name == "killed"
        assert run.worker_log.read_text() == ""


def test_an_ended_run_stays_as_it_is(bench):
    run = bench.carry_out("true")
    assert cancel(run).name == "succeeded"
    assert not run.has(Cancellation)


def test_a_dead_worker_leaves_an_orphan_and_then_a_lost_run(bench):
    run = bench.prepared("echo up; while [ ! -e end ]; do sleep 0.02; done")
    worker = bench.start(run)
    up(run)
    assert look(run).name == "running"
    worker.kill()
    worker.wait()
    assert look(run).name == "orphaned"
    (bench.project / "end").touch()
    until(lambda: look(run).name == "lost")
    assert run.read(Outcome).status == "lost"


@pytest.mark.parametrize(("age", "state"), [(60, "planned"), (3600, "lost")])
def test_a_run_that_was_brought_and_that_nobody_ever_began_is_lost_in_the_end(bench, age, state):
    run = bench.prepared("echo up")
    request = run.read(Request)
    elsewhere = replace(request, submitter=replace(myself(), host="laptop/1"))
    files.replace(run.path / "request.json", files.pretty(encode(elsewhere)))
    then = time.time() - age
    os.utime(run.path, (then, then))
    assert look(run).name == state
    assert run.has(Claim) == (state == "lost")


def test_an_orphan_is_cancelled_with_all_its_processes(bench):
    run = bench.prepared("setsid sleep 100 & sleep 100 & echo up; wait")
    worker = bench.start(run)
    up(run)
    time.sleep(0.1)
    worker.kill()
    worker.wait()
    assert cancel(run).name == "killed"
    assert is_alive(run.read(Start).child) is False  # that no other process is left is checked after each test


def test_a_reboot_loses_the_run(bench):
    run = bench.prepared("true")
    run.write(Claim(replace(myself(), boot="before"), "now"))
    run.write(Start("true", (), "/", replace(myself(), boot="before"), myself(), "now", host=_host()))
    assert look(run).name == "lost"


def test_another_hosts_run_is_not_judged_from_here(bench):
    run = bench.prepared("true")
    run.write(Claim(replace(myself(), host="mars/1"), "now"))
    assert look(run).name == "unreachable"
    with pytest.raises(BackendError, match="mars"):
        cancel(run)
    assert not run.has(Outcome)


def test_a_worker_that_died_while_it_prepared_is_lost(bench):
    run = bench.prepared("true")
    run.write(Claim(replace(myself(), started="1"), "now"))
    run.secrets.write_text("{}")
    assert look(run).name == "lost"
    assert not run.secrets.exists()


def test_the_verb(bench):
    import subprocess

    run = bench.prepared("echo up; sleep 100")
    bench.start(run)
    up(run)
    subprocess.run(
        [sys.executable, *FLAGS, str(WORKER), "cancel", str(run.path), "INT"], check=True, stdout=subprocess.DEVNULL
    )
    until(lambda: look(run).ended)
    assert run.read(Outcome).signal == signal.SIGINT


def _host():
    from runner.worker.execution.host import host_facts

    return host_facts()


def test_host_facts_are_quick():
    from runner.worker.execution.host import host_facts

    host_facts()
    began = time.perf_counter()
    facts = host_facts()
    assert time.perf_counter() - began < 0.02
    assert facts.hostname == os.uname().nodename
    assert facts.memory
    assert facts.cpu_model
