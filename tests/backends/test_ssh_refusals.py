"""What ssh says as it ends is taken for what it means."""

import pytest

from runner.backends.host import Host
from runner.backends.ssh.refusals import Unreachable, cut, might_answer, refusal

LAB = Host("lab", "ada@lab.example.org")
CHANGED = """\
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
  remove with:
  ssh-keygen -f "/home/ada/.ssh/known_hosts" -R "[lab.example.org]:2222"
Host key verification failed.
"""
DENIED = "ada@lab.example.org: Permission denied (publickey,password).\r\n"
SHELL = "bash: /home/ada/.bashrc: Permission denied\n"


@pytest.mark.parametrize(
    ("code", "said", "words", "hint", "asks"),
    [
        (255, CHANGED, "another host key", '-R "[lab.example.org]:2222"', False),
        (255, "Host key verification failed.", "is not known", "by hand", True),
        (255, f"{DENIED}", "nobody in: ada@lab.example.org: Permission denied (publickey,password).", "works", True),
        (255, "Received disconnect from ::1: Too many authentication failures", "lets nobody in", "works", True),
        (94, "", "no Python 3.9", "--python", False),
        (1, SHELL, "could not begin: bash:", "says", False),
    ],
)
def test_a_machine_that_takes_nobody_is_no_machine_that_is_away(code, said, words, hint, asks):
    error = refusal(LAB, code, said, "")
    assert not isinstance(error, Unreachable)
    assert words in error.message
    assert hint in error.hint
    assert might_answer(said) is asks


def test_hints_name_the_way_to_the_machine():
    away = refusal(Host("lab", "ada@[::1]", port=2222), 255, "Host key verification failed.", "")
    assert away.hint == "connect once by hand: `ssh -p 2222 ada@::1`"


@pytest.mark.parametrize(
    "said",
    ["ssh: connect to host lab port 22: Connection timed out\n", "", f"{SHELL}Connection closed by 10.0.0.1 port 22\n"],
)
def test_a_machine_that_is_away_may_come_back(said):
    assert isinstance(refusal(LAB, 255, said, ""), Unreachable)
    assert not might_answer(said)


def test_what_a_shell_said_of_a_file_is_not_why_the_link_was_cut():
    error = cut(LAB, f"{SHELL}client_loop: send disconnect: Broken pipe\n")
    assert error.message == "lab cannot be reached: client_loop: send disconnect: Broken pipe"
