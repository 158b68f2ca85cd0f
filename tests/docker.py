"""A docker of the test session's own: its engine, with the plainest storage and no bridge, and a small image."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.end_to_end.conftest import until
from tests.needs import need
from tests.podman import IMAGE, Podman, make_image

_STRANGE = ("--quiet", "--time", "0")  # words of podman's that docker does not know


@dataclass(frozen=True)
class Docker(Podman):
    """docker with an engine of its own, asked as podman is."""

    name: ClassVar[str] = "docker"

    @property
    def environ(self) -> dict[str, str]:
        return {"DOCKER_HOST": f"unix://{self.root}/docker.sock", "MLRUN_CONTAINER_ENGINE": "docker"}

    def __call__(self, *argv: str | Path, stdin: bytes = b"", check: bool = True) -> str:
        known = (word for word in argv if argv[0] not in ("import", "rm") or word not in _STRANGE)
        return super().__call__(*known, stdin=stdin, check=check)

    def image(self, name: str) -> str:
        return super().image(name).removeprefix("sha256:")


@contextlib.contextmanager
def serving() -> Iterator[Docker]:
    """Run an engine for as long as the context lasts; skips where none can run here."""
    programs = [shutil.which(name) for name in ("docker", "dockerd", "containerd", "runc")]
    need("docker", os.getuid() == 0 and all(programs), "docker.io is not here, or this is not root")
    root = Path(tempfile.mkdtemp(prefix="mlrun-dockerd-"))  # a long path makes its socket's name too long
    docker = Docker(root)
    places = [f"--data-root={root}/data", f"--exec-root={root}/exec", f"--pidfile={root}/pid"]
    plain = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]
    words = ["dockerd", *places, *plain, f"--host={docker.environ['DOCKER_HOST']}"]
    with (root / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as engine:
        try:
            until(
                lambda: engine.poll() is not None or docker("version", "--format", "{{.Server.Version}}", check=False)
            )
            need(
                "docker", engine.poll() is None, f"docker's engine does not start: {(root / 'log').read_text()[-300:]}"
            )
            make_image(docker, IMAGE, "one")
            yield docker
        finally:
            engine.terminate()
    subprocess.run(["umount", "--lazy", root / "exec" / "netns" / "default"], capture_output=True, check=False)
    shutil.rmtree(root, ignore_errors=True)
