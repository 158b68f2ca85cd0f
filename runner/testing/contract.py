"""What every backend promises, as tests: inherit `Contract`, and give it the fixture `backend`.

    import pytest
    from runner.testing.contract import Contract

    class TestMine(Contract):
        @pytest.fixture
        def backend(self):
            return MyBackend()

`lab` plans the runs (`runner.testing.lab`); override it where the backend needs a store in a certain place.
"""

import random
import signal
import time
from abc import abstractmethod

import pytest

from runner.backends.backend import Backend, Ticket
from runner.backends.exit_codes import exit_code
from runner.testing.lab import Lab
from runner.worker.facts import Claim, Placement, Start
from runner.worker.files import read_json
from runner.worker.results import Outcome
from runner.worker.spec import Parameter, Resources


class Collected:
    """A Sink that keeps all it is given."""

    def __init__(self):
        self.out, self.err, self.said = b"", b"", []

    def stdout(self, data):
        self.out += data

    def stderr(self, data):
        self.err += data

    def progress(self, text):
        self.said.append(text)


class Contract:
    """The tests; `patience` is how many seconds a do-nothing run may take on the backend."""

    patience = 30.0

    @pytest.fixture
    @abstractmethod
    def backend(self):
        """The backend under test."""

    @pytest.fixture
    def lab(self, tmp_path):
        """What plans runs."""
        return Lab(tmp_path / "lab")

    def submit(self, backend, lab, command, *, launch=None, **fields):
        run = lab.planned(command, **fields)
        return run, backend.submit(run, lab.store, lab.launch(**(launch or {})))

    def begun(self, backend, ticket):
        """Wait until the command runs."""
        self.wait(lambda: backend.look([ticket])[ticket.run].name == "running")

    def wait(self, condition):
        deadline = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < deadline, "the backend takes too long"
            time.sleep(0.02)

    def test_it_is_a_backend(self, backend):
        assert isinstance(backend, Backend)

    def test_a_ticket_is_there_before_the_launch_and_finds_the_run(self, backend, lab):
        run, ticket = self.submit(backend, lab, "true")
        assert Ticket.from_json(read_json(run.ticket)) == ticket
        assert ticket.run == run.id
        assert backend.follow(Ticket.from_json(ticket.to_json()), Collected()) == 0

    @pytest.mark.parametrize("code", [0, 1, 3, 255])
    def test_the_exit_code_is_the_commands(self, backend, lab, code):
        run, ticket = self.submit(backend, lab, f"exit {code}")
        assert backend.follow(ticket, Collected()) == code
        backend.collect(ticket, run)
        assert run.read(Outcome).exit_code == code
        assert backend.look([ticket])[run.id].name == ("failed" if code else "succeeded")

    def test_all_that_is_printed_is_passed_on(self, backend, lab):
        sink = Collected()
        run, ticket = self.submit(backend, lab, "seq 20000; seq 5 >&2; printf end")
        assert backend.follow(ticket, sink) == 0
        assert sink.out == b"".join(b"%d\n" % number for number in range(1, 20001)) + b"end"
        assert sink.err == b"1\n2\n3\n4\n5\n"
        backend.collect(ticket, run)
        assert run.stdout.read_bytes() == sink.out

    def test_what_is_printed_comes_while_the_command_runs(self, backend, lab):
        _, ticket = self.submit(backend, lab, "echo early; sleep 1; echo late")
        moments = []

        class Watch(Collected):
            def stdout(self, data):
                moments.append((time.monotonic(), data))

        backend.follow(ticket, Watch())
        assert [data for _, data in moments] == [b"early\n", b"late\n"]
        assert moments[1][0] - moments[0][0] > 0.5

    def test_following_goes_on_where_it_was_interrupted(self, backend, lab):
        command = "seq 1000; sleep 1; seq 1000 2000; head -c 500000 /dev/urandom > made"
        run, ticket = self.submit(backend, lab, command, outputs=("made",))

        class Interrupted(Collected):
            def stdout(self, data):
                super().stdout(data)
                raise KeyboardInterrupt

        first, sink = Interrupted(), Collected()
        with pytest.raises(KeyboardInterrupt):
            backend.follow(ticket, first)
        assert backend.follow(ticket, sink) == 0
        assert first.out
        backend.collect(ticket, run)
        assert first.out + sink.out == b"".join(b"%d\n" % n for n in [*range(1, 1001), *range(1000, 2001)])
        assert run.stdout.read_bytes() == first.out + sink.out
        [made] = run.read_files(run.outputs).files
        assert lab.store.objects.has(made.sha256, 500000)

    def test_the_files_of_a_run_are_collected(self, backend, lab):
        run, ticket = self.submit(backend, lab, "true")
        backend.follow(ticket, Collected())
        backend.collect(ticket, run)
        assert all(run.has(kind) for kind in (Claim, Placement, Start, Outcome))
        assert run.read_files(run.inputs) is not None
        assert run.read_files(run.outputs) is not None

    def test_look_answers_for_many_runs(self, backend, lab):
        tickets = [self.submit(backend, lab, f"exit {code}")[1] for code in (0, 1)]
        for ticket in tickets:
            backend.follow(ticket, Collected())
        assert [state.name for state in backend.look(tickets).values()] == ["succeeded", "failed"]
        assert backend.look([]) == {}

    @pytest.mark.parametrize(("word", "code"), [("INT", 130), ("TERM", 143)])
    def test_a_run_is_cancelled(self, backend, lab, word, code):
        run, ticket = self.submit(backend, lab, "sleep 100")
        self.begun(backend, ticket)
        backend.cancel(ticket, word)
        assert backend.follow(ticket, Collected()) == code
        backend.collect(ticket, run)
        assert run.read(Outcome).status == "killed"

    def test_a_cancelled_run_is_killed_where_it_had_not_begun(self, backend, lab):
        run, ticket = self.submit(backend, lab, "sleep 100")
        backend.cancel(ticket)
        assert backend.follow(ticket, Collected()) == 143
        assert backend.look([ticket])[run.id].name == "killed"

    def test_to_cancel_an_ended_run_changes_nothing(self, backend, lab):
        run, ticket = self.submit(backend, lab, "true")
        backend.follow(ticket, Collected())
        backend.cancel(ticket)
        assert backend.look([ticket])[run.id].name == "succeeded"

    def test_a_signal_ends_with_its_number(self, backend, lab):
        _, ticket = self.submit(backend, lab, "kill -TERM $$")
        assert backend.follow(ticket, Collected()) == 128 + signal.SIGTERM

    def test_the_time_limit_has_a_code_of_its_own(self, backend, lab):
        run, ticket = self.submit(backend, lab, "sleep 100", resources=Resources(time=0.3))
        assert backend.follow(ticket, Collected()) == 124
        assert backend.look([ticket])[run.id].outcome.reason == "timeout"

    def test_a_failed_preparation_is_mlruns_own(self, backend, lab):
        run, ticket = self.submit(backend, lab, "echo {nobody}")
        assert backend.follow(ticket, Collected()) == 125
        outcome = backend.look([ticket])[run.id].outcome
        assert (outcome.status, outcome.reason) == ("failed", "prepare")
        assert exit_code(outcome) == 125

    def test_secrets_reach_the_command_and_no_file(self, backend, lab):
        launch = {"secrets": {"TOKEN": "hush-hush"}}
        sink = Collected()
        run, ticket = self.submit(backend, lab, 'printf %s "$TOKEN" | wc -c', launch=launch, secrets=("TOKEN",))
        assert backend.follow(ticket, sink) == 0
        backend.collect(ticket, run)
        assert sink.out.strip() == b"9"
        assert not [path for path in run.path.rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]

    def test_nothing_is_inherited_in_the_background(self, backend, lab):
        sink = Collected()
        _, ticket = self.submit(backend, lab, "cat; echo end")
        assert backend.follow(ticket, sink) == 0
        assert sink.out == b"end\n"

    @pytest.mark.parametrize("seed", [1, 2])
    def test_any_text_arrives_byte_for_byte(self, backend, lab, seed):
        texts = [*HOSTILE, *random_texts(seed)]
        parameters = tuple(Parameter(f"p{number}", "string", text) for number, text in enumerate(texts))
        command = "printf '%s\\0' " + " ".join("{" + one.name + "}" for one in parameters)
        sink = Collected()
        _, ticket = self.submit(backend, lab, command, parameters=parameters)
        assert backend.follow(ticket, sink) == 0
        assert sink.out.split(b"\0")[:-1] == [text.encode("utf-8", "surrogateescape") for text in texts]


HOSTILE = (
    *("", " ", "'", '"', "$HOME", "`id`", "$(id)", "!!", "\\", "\n", "a\nb\n", "{x}", "%s", "*", "~", "-n", "#", "\t"),
    *("\udcff\udcfe", "\u00e9\u202e", "\x7f\x1b[31m", "EOF", "--", "a'b\"c", "\r\n", ";rm -rf x;", "&&", "\u2028"),
)


def random_texts(seed, count=100):
    """Return texts of all that an argument can hold: any character but NUL, and bytes that are no UTF-8."""
    choose = random.Random(seed)
    kinds = ((1, 0x7F), (0x80, 0x2FF), (0x2000, 0x2FFF), (0xDC80, 0xDCFF), (0x1F300, 0x1FAFF))
    return [
        "".join(chr(choose.randint(*choose.choice(kinds))) for _ in range(choose.randrange(20))) for _ in range(count)
    ]
