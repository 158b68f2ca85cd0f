import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import runner
from runner.backends.backend import Ticket
from runner.backends.local import LocalBackend
from runner.errors import BackendError
from runner.testing.contract import Collected, Contract
from runner.worker.facts import Claim, Start
from runner.worker.look import look
from runner.worker.processes import is_alive, myself
from runner.worker.results import Outcome
from tests.worker.runs import until


class TestLocal(Contract):
    @pytest.fixture
    def backend(self):
        return LocalBackend()

    @pytest.fixture
    def lab(self, lab):
        return lab


@pytest.fixture
def backend():
    return LocalBackend()


def up(run):
    until(lambda: run.stdout.exists() and b"up" in run.stdout.read_bytes())


def test_a_dead_worker_is_noticed_while_one_follows(backend, lab):
    run = lab.planned("echo up; sleep 1")
    ticket = backend.submit(run, lab.store, lab.launch())
    up(run)
    os.kill(run.read(Claim).worker.pid, signal.SIGKILL)
    sink = Collected()
    assert backend.follow(ticket, sink) == 125
    assert sink.out == b"up\n"
    assert look(run).name == "lost"
    assert is_alive(run.read(Start).child) is False


def test_killing_the_near_side_leaves_the_run_running(lab, tmp_path):
    run = lab.planned("echo up; sleep 0.5; echo done")
    script = tmp_path / "near.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path[:0] = {[str(Path(runner.__file__).parents[1]), *sys.path[:2]]!r}
        from pathlib import Path
        from types import SimpleNamespace
        from runner.backends.backend import Launch
        from runner.backends.local import LocalBackend
        from runner.worker.rundir import RunDirectory
        store = SimpleNamespace(root=Path({str(lab.store.root)!r}), cache=Path({str(lab.store.cache)!r}))
        backend = LocalBackend()
        run, launch = RunDirectory(Path({str(run.path)!r})), Launch(root=Path({str(lab.bench.project)!r}))
        ticket = backend.submit(run, store, launch)
        class Sink:
            def stdout(self, data): pass
            stderr = progress = stdout
        backend.follow(ticket, Sink())
        """)
    )
    near = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    up(run)
    os.killpg(near.pid, signal.SIGKILL)
    near.wait()
    until(lambda: run.has(Outcome))
    assert run.read(Outcome).status == "succeeded"
    assert run.stdout.read_text() == "up\ndone\n"


def test_following_goes_on_where_it_was_interrupted(backend, lab):
    run = lab.planned("echo 1; sleep 0.3; echo 2")
    ticket = backend.submit(run, lab.store, lab.launch())

    class Impatient(Collected):
        def stdout(self, data):
            super().stdout(data)
            raise KeyboardInterrupt

    first, second = Impatient(), Collected()
    with pytest.raises(KeyboardInterrupt):
        backend.follow(ticket, first)
    assert backend.follow(ticket, second) == 0
    assert (first.out, second.out) == (b"1\n", b"2\n")
    again = Collected()
    assert LocalBackend().follow(ticket, again) == 0
    assert again.out == b"1\n2\n"


def test_standard_input_is_inherited_in_the_foreground(lab, tmp_path, backend):
    data = tmp_path / "in"
    data.write_text("from the terminal\n")
    run = lab.planned("cat")
    saved = os.dup(0)
    with data.open() as stream:
        os.dup2(stream.fileno(), 0)
        try:
            ticket = backend.submit(run, lab.store, lab.launch(foreground=True))
        finally:
            os.dup2(saved, 0)
            os.close(saved)
    sink = Collected()
    assert backend.follow(ticket, sink) == 0
    assert sink.out == b"from the terminal\n"


def test_another_hosts_run_is_not_followed_for_ever(backend, lab):
    from dataclasses import replace

    run = lab.planned("true")
    run.write(Claim(replace(myself(), host="mars/1"), "now"))
    with pytest.raises(BackendError, match="mars"):
        backend.follow(Ticket(run.id, "local", str(run.path)), Collected())


def test_a_worker_that_cannot_be_started_is_an_outcome(backend, lab, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    run = lab.planned("true", secrets=("A",))
    with pytest.raises(BackendError, match="no worker"):
        backend.submit(run, lab.store, lab.launch(secrets={"A": "b"}))
    assert run.read(Outcome).reason == "submit"
    assert not run.secrets.exists()


def test_progress_is_passed_on_once(backend, lab):
    run = lab.planned("true")
    run.progress.write_text('{"at": "x", "text": "one"}\nbroken\n{"at": "x", "text": "two"}\n{"at": "x", "te')
    ticket = backend.submit(run, lab.store, lab.launch())
    sink = Collected()
    backend.follow(ticket, sink)
    assert sink.said == ["one", "two"]


def test_a_gigabyte_is_passed_on_quickly_and_in_little_memory(backend, lab):
    size = 1 << 28
    run = lab.planned(f"head -c {size} /dev/zero")
    ticket = backend.submit(run, lab.store, lab.launch())
    until(lambda: run.has(Outcome), 30)

    class Count(Collected):
        total = 0
        largest = 0

        def stdout(self, data):
            Count.total += len(data)
            Count.largest = max(Count.largest, len(data))

    began = time.monotonic()
    assert backend.follow(ticket, Count()) == 0
    assert Count.total == size
    assert Count.largest <= 1 << 20
    assert size / (time.monotonic() - began) > 200e6


def test_no_zombies_are_left(backend, lab):
    for _ in range(3):
        backend.follow(backend.submit(lab.planned("true"), lab.store, lab.launch()), Collected())
    from runner.worker import tools

    until(lambda: tools.reap() or not tools._launched)


def test_mlrun_is_found_by_nested_runs(backend, lab, tmp_path, monkeypatch):
    tool = tmp_path / "venv" / "bin"
    tool.mkdir(parents=True)
    (tool / "mlrun").touch(mode=0o755)
    (tool / "python").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(sys, "executable", str(tool / "python"))
    others = [path for path in os.environ["PATH"].split(os.pathsep) if not (Path(path) / "mlrun").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(others))  # the caller's own `mlrun` would go before
    sink = Collected()
    run = lab.planned("command -v mlrun; echo ${{PATH%%:*}}")
    backend.follow(backend.submit(run, lab.store, lab.launch()), sink)
    found, first = sink.out.decode().splitlines()
    assert found == str(tool / "mlrun")
    assert first != str(tool)


def test_a_worker_that_was_warmed_carries_the_run_out(backend, lab):
    backend.warm(foreground=False)
    run = lab.planned("echo out")
    sink = Collected()
    ticket = backend.submit(run, lab.store, lab.launch())
    assert backend.follow(ticket, sink) == 0
    assert sink.out == b"out\n"
    assert run.worker_log.read_bytes() == b""
    assert backend._pids[run.id] == run.read(Claim).worker.pid


def test_a_warmed_worker_is_not_used_where_things_have_changed(backend, lab, monkeypatch):
    backend.warm(foreground=False)
    pid = backend._ready.pid
    monkeypatch.setenv("COLOR", "green")
    run = lab.planned("echo $COLOR")
    sink = Collected()
    backend.follow(backend.submit(run, lab.store, lab.launch()), sink)
    assert sink.out == b"green\n"
    assert run.read(Claim).worker.pid != pid


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_a_warmed_worker_that_died_is_replaced(backend, lab, sign):
    backend.warm(foreground=False)
    if sign == signal.SIGSTOP:  # one that nobody needs goes by itself
        pid, backend._ready = backend._ready.pid, None
    else:
        pid = backend._ready.pid
        os.kill(pid, sign)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")
    sink = Collected()
    assert backend.follow(backend.submit(lab.planned("echo out"), lab.store, lab.launch()), sink) == 0
    assert sink.out == b"out\n"


def test_a_worker_that_dies_before_its_claim_does_not_leave_us_waiting(backend, lab, tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    run = lab.planned("true")
    assert backend.follow(backend.submit(run, lab.store, lab.launch()), Collected()) == 125
    assert (run.read(Outcome).status, run.read(Outcome).reason) == ("failed", "submit")
    assert run.worker_log.read_text() == "broken\n"
