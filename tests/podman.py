"""A podman of the test session's own: its storage, its settings, and a small image made of static programs."""

import fcntl
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from tests.needs import need

IMAGE = "localhost/tiny:1"
_BUSYBOX = Path("/bin/busybox")
_BASH = Path("/usr/bin/bash-static")

_SETTINGS = """\
[containers]
default_ulimits = [{limits}]
[engine]
events_logger = "file"
cgroup_manager = "cgroupfs"
{runtime}
"""
_STORAGE = """\
[storage]
driver = "vfs"
graphroot = "{root}/graph"
runroot = "{root}/run"
"""


@dataclass(frozen=True)
class Podman:
    """podman with a storage of its own."""

    root: Path
    name: ClassVar[str] = "podman"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "CONTAINERS_CONF": str(self.root / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.root / "storage.conf"),
            "MLRUN_CONTAINER_ENGINE": "podman",
        }

    def __call__(self, *argv: str | Path, stdin: bytes = b"", check: bool = True) -> str:
        done = subprocess.run(
            [self.name, *map(os.fspath, argv)],
            env={**os.environ, **self.environ},
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def containers(self) -> list[str]:
        """The names of all containers, also of those that have ended."""
        return self("ps", "--all", "--format", "{{.Names}}").split()

    def image(self, name: str) -> str:
        return self("image", "inspect", name, "--format", "{{.Id}}")


def install(root: Path) -> Podman:
    """Return the podman below a directory, made by the first who asks; skips where podman cannot run here."""
    programs = [shutil.which("podman"), _BUSYBOX.exists(), _BASH.exists()]
    need("container", all(programs), "podman, busybox-static and bash-static are not all here")
    root.mkdir(parents=True, exist_ok=True)
    podman = Podman(root)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "ready").exists():
            configure(root)
            make_image(podman, IMAGE, "one")
            done = subprocess.run(
                ["podman", "run", "--rm", "--network", "host", IMAGE, "true"],
                env={**os.environ, **podman.environ},
                capture_output=True,
                check=False,
            )
            (root / "ready").write_bytes(done.stderr if done.returncode else b"")
    trouble = (root / "ready").read_text()
    need("container", not trouble, f"podman cannot run a container here: {trouble.strip()[-300:]}")
    return podman


def make_image(podman: Podman, name: str, word: str) -> str:
    """Import an image of a static shell and tools, with a word in /word; return its id."""
    tree = podman.root / f"tree-{word}"
    for directory in ("bin", "etc", "tmp"):
        (tree / directory).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    (tree / "word").write_text(f"{word}\n")
    shutil.copy(_BUSYBOX, tree / "bin" / "busybox")
    shutil.copy(_BASH, tree / "bin" / "bash")
    for applet in subprocess.run([_BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
        link = tree / "bin" / applet
        if not os.path.lexists(link):
            link.symlink_to("busybox")
    archive = subprocess.run(["tar", "-C", tree, "-c", "."], capture_output=True, check=True).stdout
    podman("import", "--quiet", "-", name, stdin=archive)
    return podman.image(name)


def configure(root: Path) -> None:
    """Write settings for a sandbox: lowered limits, and runc where the control groups are hybrid."""
    limits = []
    for name, kind, wish in (("nofile", resource.RLIMIT_NOFILE, 1024), ("nproc", resource.RLIMIT_NPROC, 4096)):
        hard = resource.getrlimit(kind)[1]
        number = wish if hard == resource.RLIM_INFINITY else min(hard, wish)
        limits.append(f'"{name}={number}:{number}"')
    hybrid = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    runtime = 'runtime = "runc"' if hybrid and shutil.which("runc") else ""
    (root / "containers.conf").write_text(_SETTINGS.format(limits=", ".join(limits), runtime=runtime))
    (root / "storage.conf").write_text(_STORAGE.format(root=root))


def shared(factory: pytest.TempPathFactory) -> Path:
    """A directory of this test session, the same for all its xdist workers."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
