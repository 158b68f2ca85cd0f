import os

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.execution.setup import apply


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """The variables are as they were afterwards."""
    before = dict(os.environb)
    yield
    os.environb.clear()
    os.environb.update(before)


def test_what_the_lines_leave_is_taken_over(monkeypatch):
    monkeypatch.setenv("GONE", "1")
    apply("echo noise; export NEW='two\nlines' PATH=/first:$PATH; unset GONE\nLOCAL=no")
    assert os.environ["NEW"] == "two\nlines"
    assert os.environ["PATH"].startswith("/first:")
    assert "GONE" not in os.environ
    assert "LOCAL" not in os.environ


def test_bytes_that_are_no_text_survive():
    apply("export RAW=$'\\xff\\xfe'")
    assert os.environb[b"RAW"] == b"\xff\xfe"


def test_functions_of_the_login_shell_are_known(home):
    (home / ".bash_profile").write_text("echo welcome; module() { export LOADED=$2; }\n")
    apply("module load cuda/12")
    assert os.environ["LOADED"] == "cuda/12"


@pytest.mark.parametrize("text", ["echo oh no >&2; false", "exit 7", "syntax ( error"])
def test_a_failure_is_said(text):
    with pytest.raises(EnvironmentBuildError, match="setup failed") as caught:
        apply(text)
    assert "\n" not in caught.value.message


def test_nothing_to_do():
    apply(" \n")
