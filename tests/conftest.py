"""Every test has a home, a store and a cache of its own, and leaves the environment as it was."""

import os
from pathlib import Path

import pytest

from tests.machines import isolated, lab_machine, loopback, machine

pytest.register_assert_rewrite("runner.testing.contract")

__all__ = ["isolated", "lab_machine", "loopback", "machine"]

_INHERITED_GIT = [name for name in os.environ if name.startswith("GIT_") and name != "GIT_SSL_CAINFO"]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of the test's own: nothing is written to the real one."""
    home = tmp_path_factory.mktemp("home")
    for name in [
        *_INHERITED_GIT,
        "XDG_CONFIG_HOME",
        "MLRUN_CONFIG",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "MLFLOW_TRACKING_URI",
        "MLRUN_RUN_ID",
    ]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MLRUN_HOME", str(home / "store"))
    monkeypatch.setenv("MLRUN_CACHE", str(home / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path_factory.getbasetemp().parent / "uv-cache"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada Lovelace")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    return home
