"""git over a real sshd on the loopback, with throw-away keys; host-key checks stay on."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import SourceError
from tests.needs import need


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An ssh host named `lab`, as a user's configuration has it; returns the name."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    need("ssh", sshd and shutil.which("ssh"), "there is no sshd")
    assert sshd is not None
    place, port = tmp_path / "ssh", free_port()
    place.mkdir(mode=0o700)
    host, mine = key(place / "host"), key(place / "mine")
    (place / "authorized").write_text(mine + "\n")
    (place / "known").write_text(f"[127.0.0.1]:{port} {host}\n")
    (place / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nPidFile none\n"
        f"AuthorizedKeysFile {place}/authorized\n"
        "PasswordAuthentication no\nUsePAM no\nStrictModes no\n"
    )
    (place / "config").write_text(
        f"Host lab\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {place}/mine\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {place}/known\n StrictHostKeyChecking yes\n"
    )
    monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {place}/config")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen([sshd, "-D", "-f", place / "sshd_config", "-E", place / "log"]) as server:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield "lab"
        server.terminate()


@pytest.mark.parametrize("form", ["ssh://{host}{path}", "{host}:{path}", "git+ssh://{host}{path}"])
def test_a_repository_over_ssh(desk, repository, lab, form) -> None:
    uri = form.format(host=lab, path=repository.path)
    with desk.fetch(uri) as source:
        assert (source.project / "MLproject").exists()
        assert source.commit == repository.git("rev-parse", "HEAD").strip()
        assert source.in_place is False


def test_a_changed_host_key_is_refused_in_one_line(desk, repository, lab, tmp_path) -> None:
    known = tmp_path / "ssh/known"
    known.write_text(known.read_text().replace(known.read_text().split()[2], key(tmp_path / "other").split()[1]))
    with pytest.raises(SourceError, match="cannot fetch") as caught, desk.fetch(f"ssh://{lab}{repository.path}"):
        pass
    assert "\n" not in caught.value.message
