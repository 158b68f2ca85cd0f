"""The backend `ssh` against a real sshd, without the command line."""

import threading

import pytest

from runner.backends.ssh.backend import SshBackend
from runner.backends.ssh.cargo import Cargo
from runner.backends.ssh.connection import Connection
from runner.backends.ssh.deliver import Delivery
from runner.testing.contract import Collected, Contract
from tests.needs import python


class TestSsh(Contract):
    @pytest.fixture
    def backend(self, machine):
        backend = SshBackend()
        backend.configure({"host": "lab"})
        yield backend
        backend.dismiss()

    @pytest.fixture
    def lab(self, lab):
        return lab


@pytest.fixture
def backend(machine):
    backend = SshBackend()
    backend.configure({"host": "lab"})
    yield backend
    backend.dismiss()


def test_a_warm_run_takes_few_round_trips(backend, lab):
    for _ in range(2):
        run = lab.planned("echo out")
        ticket = backend.submit(run, lab.store, lab.launch())
        (connection,) = backend._connections.values()
        assert backend.follow(ticket, Collected()) == 0
        backend.collect(ticket, run)
    assert run.stdout.read_bytes() == b"out\n"
    assert 1 <= connection.channel.turns <= 3  # to which ssh adds two, for the channel


def test_an_edited_project_takes_few_more(backend, lab):
    for number in range(2):
        (lab.bench.project / "train.py").write_text(f"print({number})\n")
        run = lab.planned("echo out")
        ticket = backend.submit(run, lab.store, lab.launch())
        (connection,) = backend._connections.values()
        turns = connection.channel.turns
        backend.follow(ticket, Collected())
        backend.collect(ticket, run)
    assert 2 <= turns <= 3


def test_a_run_that_is_delivered_many_times_runs_once(backend, lab, tmp_path):
    run = lab.planned("echo once >> ../../../deliveries; cat ../../../deliveries")
    run.ticket.write_text("{}")
    host = backend._named()
    cargo = Cargo(run, lab.store, lab.launch(), host)

    def deliver():
        with Connection(host, lab.store.cache) as connection:
            Delivery(cargo, lambda _: None).over(connection)

    threads = [threading.Thread(target=deliver) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    from runner.backends.ssh import tickets

    sink = Collected()
    assert backend.follow(tickets.write(run.id, host, fetch=True), sink) == 0
    assert sink.out == b"once\n"


def test_the_far_end_runs_on_the_oldest_python(loopback, lab):
    backend = SshBackend()
    backend.configure({"host": "lab", "python": python("3.9"), "cache": str(loopback.home / "old")})
    run = lab.planned("echo out; exit 4")
    ticket = backend.submit(run, lab.store, lab.launch())
    sink = Collected()
    assert backend.follow(ticket, sink) == 4
    backend.collect(ticket, run)
    assert sink.out == b"out\n"
    assert backend.look([ticket])[run.id].name == "failed"
    assert run.worker_log.read_text() == ""
    backend.dismiss()
