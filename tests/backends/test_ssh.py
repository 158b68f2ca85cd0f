"""The backend `ssh` against a real sshd, without the command line."""

import pytest

from runner.backends.ssh.backend import SshBackend
from tests.backends.contract import Contract


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
