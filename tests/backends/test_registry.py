import pytest

from runner.backends import registry
from runner.backends.backend import Backend, Ticket
from runner.backends.local import LocalBackend
from runner.errors import BackendError, FormatError
from runner.flow import away
from runner.worker.files import pretty, write_once


def test_the_local_backend():
    assert isinstance(registry.get("local"), LocalBackend)
    assert isinstance(registry.get("local"), Backend)
    assert "local" in registry.names()


@pytest.mark.parametrize("name", ["databricks", "kubernetes"])
def test_backends_of_mlflow_are_refused_by_name(name):
    with pytest.raises(BackendError, match=name) as caught:
        registry.get(name)
    assert "mlflow run" in caught.value.hint


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(BackendError, match="'slrum'") as caught:
        registry.get("slrum")
    assert "local" in caught.value.hint


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installed package that brings backends."""
    (tmp_path / "moon.py").write_text(
        "class Moon:\n def submit(self, run, store, launch): ...\n def look(self, tickets): ...\n"
        " def follow(self, ticket, sink): ...\n def cancel(self, ticket, signal='TERM'): ...\n"
        " def collect(self, ticket, run): ...\n"
        "class Half:\n def submit(self, run, store, launch): ...\n"
    )
    metadata = tmp_path / "moon-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: moon\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[mlrun.backends]\nmoon = moon:Moon\nhalf = moon:Half\nbroken = nosuch:Thing\nlocal = moon:Moon\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_others_bring_backends():
    assert type(registry.get("moon")).__name__ == "Moon"
    assert isinstance(registry.get("local"), LocalBackend)
    assert registry.names().count("local") == 1
    with pytest.raises(BackendError) as caught:
        registry.get("sun")
    assert "moon" in caught.value.hint


@pytest.mark.usefixtures("installed")
def test_what_is_no_backend_is_refused():
    with pytest.raises(BackendError, match="lacks some"):
        registry.get("half")
    with pytest.raises(BackendError, match="cannot be loaded"):
        registry.get("broken")


@pytest.mark.usefixtures("installed")
def test_a_backend_that_fails_takes_no_list_away(lab):
    run = lab.planned("true")
    write_once(run.ticket, pretty(Ticket(run.id, "moon", str(run.path)).to_json()))
    state = away.ask([run], bring=False)[run.id]
    assert state.name == "unreachable"
    assert state.remark.startswith("the backend 'moon' does not answer: TypeError: ")  # it says nothing


def test_tickets_keep_their_data():
    ticket = Ticket("id", "ssh", "/far/runs/id", {"host": "lab"})
    assert Ticket.from_json(ticket.to_json()) == ticket
    with pytest.raises(FormatError):
        Ticket.from_json({"run": "id"})
