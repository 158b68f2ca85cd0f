"""The backend `slurm` on a real cluster of one node: the contract, and what only a queue can do."""

import pytest

from runner.backends.slurm import SlurmBackend
from runner.backends.ssh.backend import SshBackend
from runner.testing.contract import Contract
from tests.slurm import Cluster, _shared_cluster, cluster, login_node, own_cluster

__all__ = ["_shared_cluster", "cluster", "login_node", "own_cluster"]


class TestSlurm(Contract):
    patience = 90.0

    @pytest.fixture
    def backend(self, cluster: Cluster):
        return SlurmBackend()

    @pytest.fixture
    def lab(self, lab):
        return lab


class TestSlurmOverSsh(Contract):
    patience = 90.0

    @pytest.fixture
    def backend(self, login_node: Cluster):
        backend = SshBackend()
        backend.configure({"host": "queue"})
        yield backend
        backend.dismiss()

    @pytest.fixture
    def lab(self, lab):
        return lab
