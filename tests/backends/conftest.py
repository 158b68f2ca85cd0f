"""The lab in which backends are tried."""

import pytest

from runner.backends.backend import Launch
from tests.worker.runs import Bench


class Lab:
    """A project, a store, and runs planned in them."""

    def __init__(self, bench):
        self.bench = bench
        self.store = bench  # what a backend asks of a store: root, cache, objects

    def planned(self, command, **fields):
        return self.bench.plan(self.bench.spec(command, **fields))

    def launch(self, **fields):
        return Launch(**{"root": self.bench.project, **fields})


@pytest.fixture
def lab(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("print('trained')\n")
    return Lab(Bench(tmp_path, project))
