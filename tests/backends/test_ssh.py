"""The backend `ssh` against a real sshd, without the command line."""

import ctypes
import os
import re
import secrets
import threading
from pathlib import Path

import pytest
import uv

from runner.backends.ssh.backend import SshBackend
from runner.backends.ssh.cargo import Cargo
from runner.backends.ssh.connection import Connection
from runner.backends.ssh.deliver import Delivery
from runner.testing.contract import Collected, Contract
from runner.worker.environment.uv import version_of
from runner.worker.spec import EnvironmentSpec
from tests.environments.index import serving
from tests.environments.wheels import make_uv_wheel
from tests.needs import need, python

_OF_32_BITS = 0x0008  # personality(2): PER_LINUX32


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


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index with a uv for the machine that this process is told to run on now."""
    program = Path(uv.find_uv_bin())
    tag = f"musllinux_1_1_{os.uname().machine}"
    make_uv_wheel(tmp_path / "wheels", version_of(str(program)).split()[1], tag, program.read_bytes())
    with serving(tmp_path / "wheels") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        yield index


@pytest.fixture
def of_32_bits(index):
    """The kernel tells this process that it is on a machine of 32 bits."""
    libc, machine = ctypes.CDLL(None), os.uname().machine
    before = libc.personality(_OF_32_BITS)
    yield need("ssh", os.uname().machine != machine, "the kernel does not say that it is a machine of 32 bits")
    libc.personality(before)


@pytest.fixture
def loaded_from_here():
    """A uv of this machine's kind that its loader alone tells apart from others, as NixOS's and conda's can be."""
    loader = Path("/tmp", f"ml{secrets.token_hex(8)}")  # hidden from the machine, and no longer than the one it had
    content = Path(uv.find_uv_bin()).read_bytes()
    named = re.search(rb"/lib\d*/ld-linux[^\0]*\0", content)
    need("ssh", named, "this machine's uv has no loader")
    program = loader.with_suffix(".uv")
    loader.symlink_to(named[0][:-1].decode())
    program.write_bytes(content.replace(named[0], os.fsencode(loader).ljust(len(named[0]), b"\0"), 1))
    program.chmod(0o755)
    yield str(program)
    loader.unlink()
    program.unlink()


def carry_out(backend, lab, **fields):
    """Carry out a run that needs an environment, and so uv; return how often an answer was waited for to start it."""
    run = lab.planned("python -m pip --version", environment=EnvironmentSpec("virtualenv"))
    ticket = backend.submit(run, lab.store, lab.launch(**{"uv": uv.find_uv_bin(), **fields}))
    (connection,) = backend._connections.values()
    turns = connection.channel.turns
    sink = Collected()
    assert backend.follow(ticket, sink) == 0, sink
    backend.collect(ticket, run)
    assert sink.out.startswith(b"pip ")
    return turns


def test_an_environment_costs_no_round_trips_when_uv_is_there(backend, lab):
    carry_out(backend, lab)
    assert carry_out(backend, lab) <= 2


@pytest.mark.usefixtures("of_32_bits")
def test_nor_does_one_on_another_kind_of_machine(backend, lab):
    said = []
    carry_out(backend, lab, say=said.append)
    assert any(line.startswith("fetching uv") for line in said)
    said.clear()
    assert carry_out(backend, lab, say=said.append) <= 2
    assert not any("uv" in line for line in said)


@pytest.mark.usefixtures("isolated", "index")
def test_a_uv_that_does_not_run_on_its_own_kind_of_machine_is_replaced(backend, lab, loaded_from_here):
    said = []
    assert version_of(loaded_from_here).startswith("uv ")
    carry_out(backend, lab, uv=loaded_from_here, say=said.append)
    assert any(line.startswith("fetching uv") for line in said)


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
