"""A worker as one file, run by the system's Python for a user without rights: rootless podman, files of their own."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.backends.packing import pack
from runner.worker.results import Files, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import EnvironmentSpec
from tests.needs import need
from tests.podman import IMAGE, install, shared
from tests.worker.runs import Bench


@dataclass(frozen=True)
class Guest:
    """A user of this machine, with a directory and a podman of their own."""

    name: str
    place: Path

    @property
    def uid(self) -> int:
        return self.place.stat().st_uid

    def __call__(self, *argv: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        environ = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.place),
            "XDG_RUNTIME_DIR": str(self.place / "xdg"),
            "CONTAINERS_CONF": str(self.place / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.place / "storage.conf"),
            "MLRUN_CONTAINER_ENGINE": "podman",
        }
        words = ["setpriv", f"--reuid={self.name}", f"--regid={self.name}", "--init-groups", *argv]
        return subprocess.run(
            words, env=environ, cwd=self.place, input=stdin, capture_output=True, timeout=120, check=False
        )


@pytest.fixture
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    need("root", os.getuid() == 0, "only root can make a user")
    need("container", shutil.which("newuidmap"), "uidmap is not here, which rootless podman needs")
    podman = install(shared(tmp_path_factory) / "podman")
    place = Path(tempfile.mkdtemp(prefix="mlrun-guest-"))  # pytest's own directories are closed to others
    name = f"mlrun{os.getpid()}"
    for _ in range(50):  # another test may be making a user at the moment
        if subprocess.run(["useradd", "--home-dir", place, name], capture_output=True, check=False).returncode == 0:
            break
        time.sleep(0.1)
    (place / "xdg").mkdir(mode=0o700)
    for file in ("containers.conf", "storage.conf"):
        text = (podman.root / file).read_text().replace(str(podman.root), str(place / "podman"))
        (place / file).write_text(text)
    subprocess.run(["chown", "-R", f"{name}:", place], check=True)
    guest = Guest(name, place)
    archive = subprocess.run(["tar", "-C", podman.root / "tree-one", "-c", "."], capture_output=True, check=True).stdout
    try:
        done = guest("podman", "import", "--quiet", "-", IMAGE, stdin=archive)
        probe = guest("podman", "run", "--rm", "--network", "host", "--userns", "keep-id", IMAGE, "true")
        trouble = (done.stderr + probe.stderr).decode().strip()
        need("container", probe.returncode == 0, f"podman cannot run without root here: {trouble[-300:]}")
        yield guest
    finally:
        guest("podman", "system", "migrate")  # ends the process that keeps its user namespace
        subprocess.run(["userdel", name], capture_output=True, check=False)
        shutil.rmtree(place, ignore_errors=True)


def test_a_user_without_rights_owns_what_the_container_writes(guest: Guest):
    need("python3", os.access("/usr/bin/python3", os.X_OK), "there is no /usr/bin/python3")
    bench = Bench(guest.place, guest.place / "project")
    bench.project.mkdir()
    (bench.project / "word").write_text("hello\n")
    command = 'cat word; id -u; echo $USER; touch "$HOME/x" && echo at home; mkdir d && echo made > d/out.txt; exit 6'
    run = bench.prepared(command, environment=EnvironmentSpec("container", "docker_env", image=IMAGE))
    worker = shutil.copy(pack(bench.cache), guest.place / "worker.pyz")
    subprocess.run(["chown", "-R", f"{guest.name}:", guest.place], check=True)
    done = guest("/usr/bin/python3", str(worker), "start", str(run.path))
    assert done.returncode == 0, done.stderr.decode()
    ended = RunDirectory(run.path)
    outcome = ended.read(Outcome)
    assert ended.stdout.read_text() == f"hello\n{guest.uid}\n{guest.name}\nat home\n", ended.stderr.read_text()
    assert (outcome.status, outcome.exit_code) == ("failed", 6)
    made = bench.project / "d" / "out.txt"
    assert (made.stat().st_uid, made.parent.stat().st_uid) == (guest.uid, guest.uid)
    outputs = ended.read_files(ended.outputs)
    assert isinstance(outputs, Files)
    assert [fact.path for fact in outputs.files] == ["d/out.txt"]
    assert outcome.usage is not None
    assert outcome.usage.user + outcome.usage.system > 0
    assert guest("podman", "ps", "--all", "--quiet").stdout == b""
