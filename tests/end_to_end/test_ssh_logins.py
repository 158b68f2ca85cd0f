"""Logging in to the lab machine: from a terminal, with passphrases, through others, past what its login shells do."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.conftest import MLRUN, Mlrun, Project, until
from tests.machines import Machine

RUN = ("run", ".", "--env-manager", "local", "--on")


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.path)
    return project


@pytest.fixture
def bashrc(isolated: Machine) -> Iterator[Callable[[str], object]]:
    """What the login shell on the machine reads first."""
    path = isolated.home / ".bashrc"
    yield path.write_text
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("start_up", "words"),
    [
        ("yes", "lab prints more than 1 MB as one logs in"),
        ("head -c 3000000 /dev/zero | tr '\\0' x", "lab prints more than 1 MB as one logs in"),
        ("echo 'This account is closed.'; exit 3", "lab could not begin: This account is closed."),
    ],
)
def test_a_login_shell_that_lets_nothing_through_is_said(
    mlrun: Mlrun, here: Project, bashrc, start_up: str, words: str
):
    bashrc(start_up + "\n")
    said = mlrun(*RUN, "lab", cwd=here.path)
    assert said.code == 125
    assert words in said.err.partition("\n")[0]


def test_a_shim_that_leads_to_no_python_is_passed_over(mlrun: Mlrun, here: Project, bashrc, isolated: Machine):
    shims = isolated.home / "shims"
    shims.mkdir()
    (shims / "python3").write_text("#!/bin/sh\necho 'pyenv: python3: command not found' >&2; exit 127\n")
    (shims / "python3").chmod(0o755)
    (shims / "python3.9").symlink_to("/usr/bin/python3")
    bashrc("PATH=~/shims:$PATH\n")
    try:
        assert mlrun(*RUN, "lab", cwd=here.path).ok().out == "hello\n"
    finally:
        shutil.rmtree(shims)


def test_files_get_the_modes_that_they_get_over_plain_ssh(mlrun: Mlrun, project: Project, bashrc):
    bashrc("umask 027\n")
    project.write("MLproject", "outputs: [made]\nentry_points:\n  main: {command: 'umask; touch made'}\n")
    said = mlrun("run", project.path, "--env-manager", "local", "--on", "lab").ok()
    assert said.out == "0027\n"
    [made] = mlrun.show()["outputs"]
    assert made["mode"] == 0o640


class Terminal:
    """A terminal, and `mlrun` at it."""

    def __init__(self, *argv: str) -> None:
        self._ours, theirs = pty.openpty()
        words = [sys.executable, "-c", _AT_TERMINAL, *MLRUN, *argv]
        self.process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.text = ""

    def shows(self, word: str) -> bool:
        with contextlib.suppress(OSError):
            self.text += os.read(self._ours, 1 << 16).decode(errors="replace")
        return word in self.text

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        code = until(lambda: self.shows("\0") or self.process.poll() is not None) and self.process.wait()
        self.shows("")
        os.close(self._ours)
        return int(code)


_AT_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_ctrl_c_at_a_terminal_ends_the_run_and_not_the_connection(here: Project, machine):
    here.write("MLproject", "entry_points:\n  main: {command: 'echo up; sleep 100'}\n")
    terminal = Terminal(*RUN, "lab")
    until(lambda: terminal.shows("up\r\n"))
    terminal.type("\x03")
    assert terminal.end() == 130, terminal.text
    assert "ended by SIGINT" in terminal.text
    assert "cannot be reached" not in terminal.text


def test_a_passphrase_is_asked_for_once(here: Project, machine: Machine, monkeypatch: pytest.MonkeyPatch):
    key, config = machine.state / "locked", machine.state / "config-locked"
    shutil.copy(machine.state / "mine", key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "sesame", "-f", key], check=True, timeout=60)
    config.write_text(machine.config.read_text().replace(f"{machine.state}/mine", str(key)))
    monkeypatch.setenv("MLRUN_SSH", f"ssh -F {config}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    first = Terminal(*RUN, "lab")
    until(lambda: first.shows("Enter passphrase"))
    first.type("sesame\n")
    assert first.end() == 0, first.text
    assert "hello\r\n" in first.text
    again = Terminal(*RUN, "lab")
    assert again.end() == 0, again.text
    assert "passphrase" not in again.text


def test_a_host_key_that_nobody_confirms_leaves_no_run(mlrun: Mlrun, here: Project, isolated: Machine):
    terminal = Terminal(*RUN, "lab-unknown")
    until(lambda: terminal.shows("continue connecting"))
    terminal.type("no\n")
    assert terminal.end() == 125
    assert "host key of lab-unknown is not known" in terminal.text
    assert mlrun("list", "--json").ok().json["runs"] == []


def test_who_is_in_between_is_not_taken_for_the_machine(mlrun: Mlrun, here: Project, isolated: Machine):
    config = isolated.state / "config-jump"
    text = isolated.config.read_text()
    between = text.replace(
        "Host lab\n", "Host beyond\n  ProxyJump lab\nHost barred\n  ProxyJump lab-locked\nHost lab\n"
    )
    config.write_text(between.replace("Host lab-csh\n", "Host lab-csh beyond barred\n"))
    command = {"MLRUN_SSH": f"ssh -F {config}"}
    machine = ("-b", "ssh", "-c")
    assert mlrun(*RUN[:-1], *machine, '{"address": "beyond"}', cwd=here.path, **command).ok().out == "hello\n"
    said = mlrun(*RUN[:-1], *machine, '{"address": "barred"}', cwd=here.path, **command)
    assert said.code == 125
    assert "what leads there (ProxyJump, ProxyCommand) has ended" in said.err


def test_a_session_of_the_users_that_shares_our_connection_outlives_the_run(mlrun: Mlrun, here: Project, machine):
    own = machine.state / "config-shared"
    shared = f"Host lab\n  ControlMaster auto\n  ControlPath {machine.sockets}/his-%n\n"
    own.write_text(shared + machine.config.read_text())
    ssh = ["ssh", "-F", str(own), "lab"]
    session = None
    here.write("MLproject", "entry_points:\n  main: {command: 'echo up; until [ -e ~/seen ]; do sleep 0.1; done'}\n")
    process = mlrun.popen(*RUN, "lab", cwd=here.path, MLRUN_SSH=f"ssh -F {own}")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        session = subprocess.Popen([*ssh, "echo in; read word; echo $word; rm ~/seen"], stdin=-1, stdout=-1, text=True)
        assert session.stdout is not None
        assert session.stdout.readline() == "in\n"
        subprocess.run([*ssh, "touch seen"], check=True, timeout=60)
        assert process.wait(60) == 0
        out, _ = session.communicate("out\n", timeout=60)
        assert (session.returncode, out) == (0, "out\n")
    finally:
        subprocess.run([*ssh[:3], "-O", "exit", "lab"], check=False, capture_output=True, timeout=60)
        for one in filter(None, (process, session)):
            one.kill()
            one.communicate()


def test_a_command_that_is_none_is_said(mlrun: Mlrun, here: Project, machine):
    said = mlrun(*RUN, "lab", cwd=here.path, MLRUN_SSH="ssh -F 'my config")
    assert said.code == 2
    assert said.err.startswith("error: MLRUN_SSH is no command: no closing quotation\n\nhint: ")
