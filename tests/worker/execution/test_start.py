import json
import os
import signal
import subprocess
import sys

import pytest

from runner.worker.facts import Cancellation, Claim, InstalledEnvironment, Start
from runner.worker.hashing import sha256_of_file
from runner.worker.look import look
from runner.worker.processes import is_alive, myself
from runner.worker.results import Outcome
from runner.worker.spec import Parameter, Resources
from tests.needs import need
from tests.worker.runs import FLAGS, WORKER, files, until


def test_a_run_leaves_all_its_files(bench):
    run = bench.carry_out("echo out; echo err >&2; exit 3")
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.reason, outcome.exit_code, outcome.signal) == ("failed", "exit", 3, None)
    assert run.stdout.read_text() == "out\n"
    assert run.stderr.read_text() == "err\n"
    assert outcome.logs["stdout"].sha256 == sha256_of_file(run.stdout)
    assert outcome.logs["stderr"].size == 4
    assert run.worker_log.read_text() == ""
    assert run.has(InstalledEnvironment)
    assert not run.reserve.exists()
    start = run.read(Start)
    assert start.command == "echo out; echo err >&2; exit 3"
    assert start.cwd == str(bench.project)
    assert start.host.cpus >= 1
    assert start.child.pid != start.worker.pid
    assert is_alive(start.child) is False


def test_the_command_sees_what_a_run_promises(bench):
    code = (
        "import json, os, sys; leads = os.getpgid(0) == os.getsid(0); "
        "json.dump([dict(os.environ), os.getcwd(), leads, sys.stdin.read()], sys.stdout)"
    )
    run = bench.carry_out(
        f'python3 -c "{code}"', env={"PYTHONHASHSEED": "7", "SECRET_X": "s"}, environ={"COLOR": "grün"}
    )
    environ, cwd, leads, stdin = json.loads(run.stdout.read_bytes())
    assert environ["PYTHONUNBUFFERED"] == "1"
    assert environ["PYTHONHASHSEED"] == "7"
    assert environ["COLOR"] == "grün"
    assert environ["MLRUN_RUN_ID"] == run.id
    assert environ["MLRUN_METRICS"] == str(run.metrics)
    assert "MLRUN_WORKER" not in environ
    assert (cwd, leads, stdin) == (str(bench.project), True, "")
    recorded = run.read(Start).environ
    assert recorded["COLOR"] == "grün"
    assert "SECRET_X" not in recorded
    assert "PATH" not in recorded


def test_the_hash_seed_is_fixed_where_it_is_unset(bench, monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert bench.carry_out("true").read(Start).environ["PYTHONHASHSEED"] == "0"


def test_ignored_signals_do_not_reach_the_command(bench):
    run = bench.carry_out("grep -E 'SigIgn|SigBlk' /proc/self/status")
    masks = [int(line.split()[1], 16) for line in run.stdout.read_text().splitlines()]
    assert masks == [0, 0]


def test_secrets_reach_the_command_and_nothing_else(bench):
    run = bench.prepared('printf %s "$TOKEN" | wc -c', secrets=("TOKEN",))
    run.secrets.write_text(json.dumps({"secrets": {"TOKEN": "hush-hush"}, "installer": {}}))
    bench.start(run).wait(30)
    assert run.read(Outcome).status == "succeeded"
    assert run.stdout.read_text().strip() == "9"
    assert not run.secrets.exists()
    assert not [path for path in run.path.iterdir() if b"hush-hush" in path.read_bytes()]


def test_a_secret_without_value_is_refused(bench):
    outcome = bench.carry_out("true", secrets=("TOKEN",)).read(Outcome)
    assert (outcome.status, outcome.reason) == ("failed", "prepare")
    assert "TOKEN" in outcome.error.message


def test_a_run_is_carried_out_once(bench):
    run = bench.prepared("echo once")
    workers = [bench.start(run) for _ in range(4)]
    assert [worker.wait(30) for worker in workers] == [0, 0, 0, 0]
    assert run.stdout.read_text() == "once\n"
    assert run.worker_log.read_text() == ""


def test_a_claimed_run_is_left_alone(bench):
    run = bench.prepared("echo no")
    run.write(Claim(myself(), "now"))
    assert bench.start(run).wait(30) == 0
    assert not run.has(Start)
    assert not run.has(Outcome)


def test_a_bad_template_fails_the_preparation(bench):
    outcome = bench.carry_out("echo {nobody}").read(Outcome)
    assert (outcome.status, outcome.reason, outcome.usage) == ("failed", "prepare", None)
    assert "nobody" in outcome.error.message


def test_a_missing_project_directory_fails_the_preparation(bench):
    run = bench.prepared("true")
    bench.project.rename(bench.project.with_name("elsewhere"))
    bench.start(run).wait(30)
    assert "is not there" in run.read(Outcome).error.message


def test_a_damaged_spec_is_an_outcome(bench):
    run = bench.prepared("true")
    (run.path / "spec.json").write_text("{")
    bench.start(run).wait(30)
    outcome = run.read(Outcome)
    assert outcome.reason == "prepare"
    assert "not valid JSON" in outcome.error.message


def test_what_nobody_foresaw_is_one_line_and_a_traceback_in_the_worker_log(bench):
    run = bench.prepared("true")
    run.stdout.mkdir()
    bench.start(run).wait(30)
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.reason) == ("failed", "submit")
    assert "\n" not in outcome.error.message
    assert "Traceback" in run.worker_log.read_text()


def test_a_command_that_cannot_be_started_is_submit(bench, tmp_path):
    run = bench.prepared("true")
    bench.start(run, env={"PATH": str(tmp_path)}).wait(30)
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.reason) == ("failed", "submit")
    assert "bash" in outcome.error.message


def test_any_text_reaches_the_command(bench):
    text = "a b'c\"d\\e\n\udcff ü"
    run = bench.carry_out("printf %s {x}", parameters=(Parameter("x", "string", text),), env={"LC_ALL": "C"})
    assert run.stdout.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_a_strict_shell_ends_at_the_first_failure(bench):
    assert bench.carry_out("false | true; echo on", strict_shell=True).read(Outcome).exit_code == 1
    assert bench.carry_out("false | true; echo on").read(Outcome).exit_code == 0


def test_the_time_limit_ends_the_whole_group(bench):
    run = bench.carry_out("sleep 100 & sleep 100", resources=Resources(time=0.3))
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.reason) == ("failed", "timeout")
    assert outcome.usage.wall < 5


def test_a_signal_that_nobody_asked_for_is_a_failure(bench):
    outcome = bench.carry_out("kill -SEGV $$").read(Outcome)
    assert (outcome.status, outcome.reason, outcome.signal) == ("failed", "exit", signal.SIGSEGV)
    outcome = bench.carry_out("kill -KILL $$").read(Outcome)
    assert outcome.signal == signal.SIGKILL
    assert "memory" in outcome.error.hint


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "INT"), (signal.SIGTERM, "TERM")])
def test_signals_to_the_worker_end_the_command(bench, number, name):
    run = bench.prepared(f"trap 'echo {name}; exit 9' {name}; echo up; while :; do sleep 0.05; done")
    worker = bench.start(run)
    until(lambda: run.stdout.exists() and b"up" in run.stdout.read_bytes())
    os.kill(worker.pid, number)
    assert worker.wait(20) == 0
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.reason, outcome.exit_code, outcome.signal) == ("killed", None, 9, number)
    assert run.stdout.read_text() == f"up\n{name}\n"


def test_a_second_interrupt_kills_at_once(bench):
    run = bench.prepared("trap '' INT TERM; echo up; while :; do sleep 0.05; done")
    worker = bench.start(run)
    until(lambda: run.stdout.exists() and b"up" in run.stdout.read_bytes())
    os.kill(worker.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.5)
    os.kill(worker.pid, signal.SIGINT)
    assert worker.wait(3) == 0
    assert (run.read(Outcome).status, run.read(Outcome).signal) == ("killed", signal.SIGKILL)


def test_a_lost_terminal_leaves_the_run_running(bench):
    run = bench.prepared("echo up; sleep 0.5; echo done")
    worker = bench.start(run)
    until(lambda: run.stdout.exists() and b"up" in run.stdout.read_bytes())
    os.kill(worker.pid, signal.SIGHUP)
    assert worker.wait(20) == 0
    assert run.read(Outcome).status == "succeeded"


def test_a_cancellation_from_before_the_claim_is_seen(bench):
    run = bench.prepared("echo no")
    run.write(Cancellation("now", "ada", "INT"))
    bench.start(run).wait(20)
    outcome = run.read(Outcome)
    assert (outcome.status, outcome.signal) == ("killed", signal.SIGINT)
    assert not run.stdout.exists()


def test_the_worker_says_how_it_is_used():
    done = subprocess.run([sys.executable, *FLAGS, str(WORKER), "dance"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: worker start|" in done.stderr


def test_look_prints_states(bench):
    run = bench.carry_out("true")
    done = subprocess.run(
        [sys.executable, *FLAGS, str(WORKER), "look", str(run.path)], capture_output=True, text=True, check=True
    )
    line = json.loads(done.stdout)
    assert (line["run"], line["state"], line["outcome"]["exit_code"]) == (run.id, "succeeded", 0)
    assert look(run).ended


def test_the_disk_is_full(bench, tmp_path):
    """The outcome finds room when nothing else does."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], capture_output=True, check=False
    )
    need("root", mounted.returncode == 0, "only root can mount a small disk")
    try:
        bench.home = small
        run = bench.prepared('head -c 4000000 /dev/zero > "$MLRUN_RUN_DIR/big"; exit 4')
        bench.start(run).wait(30)
        assert (run.read(Outcome).status, run.read(Outcome).exit_code) == ("failed", 4)
        assert os.statvfs(small).f_bavail < 64
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_files_says_what_was_read_and_written(bench):
    (bench.project / "data.csv").write_text("1\n")
    run = bench.carry_out("cat data.csv > out.txt", without=("data.csv",))
    assert list(files(run.read_files(run.inputs))) == ["data.csv"]
    assert list(files(run.read_files(run.outputs))) == ["out.txt"]
