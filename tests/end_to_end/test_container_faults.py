"""Containers under hard times: registries that lie or are gone, kills while an image is made, full disks."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project, until
from tests.needs import need
from tests.podman import IMAGE, Podman, configure, install, make_image, shared
from tests.registry import Registry, serving


@pytest.fixture
def podman(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Podman]:
    """A podman of this test's own, which has the small image and no other."""
    common = install(shared(tmp_path_factory) / "podman")
    own = Podman(Path(tempfile.mkdtemp(prefix="mlrun-podman-")))  # a long path makes its socket's name too long: 20 s
    configure(own.root)
    for name, value in own.environ.items():
        monkeypatch.setenv(name, value)
    archive = subprocess.run(["tar", "-C", common.root / "tree-one", "-c", "."], capture_output=True, check=True).stdout
    own("import", "--quiet", "-", IMAGE, stdin=archive)
    yield own
    shutil.rmtree(own.root, ignore_errors=True)


@pytest.fixture
def registry(tmp_path: Path, podman: Podman, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with serving(tmp_path / "registry") as registry:
        (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
        yield registry


def contain(project: Project, image: str, command: str = "cat /word") -> None:
    project.write(
        "MLproject", f"name: demo\ndocker_env: {{image: '{image}'}}\nentry_points: {{main: {{command: '{command}'}}}}\n"
    )


def test_an_image_is_pulled_and_a_rerun_pulls_it_by_its_digest(
    mlrun: Mlrun, project: Project, podman: Podman, registry: Registry
):
    digest = registry.push(podman, IMAGE, "team/word:1")
    contain(project, f"{registry.address}/team/word:1")
    said = mlrun("run", project.path).ok()
    assert said.out == "one\n"
    assert f"pulling the image {registry.address}/team/word:1" in said.err
    assert f"{registry.address}/team/word@{digest}" in mlrun.show()["environment"]["container"]["digests"]
    make_image(podman, "localhost/other:1", "other")
    registry.push(podman, "localhost/other:1", "team/word:1")
    podman("rmi", "--all", "--force")
    assert mlrun("rerun", "latest").ok().out == "one\n"
    podman("rmi", "--all", "--force")
    assert mlrun("run", project.path).ok().out == "other\n"


def test_a_registry_that_sends_other_bytes_is_refused(
    mlrun: Mlrun, project: Project, podman: Podman, registry: Registry
):
    digest = registry.push(podman, IMAGE, "team/word:1")
    contain(project, f"{registry.address}/team/word:1")
    mlrun("run", project.path).ok()
    make_image(podman, "localhost/other:1", "other")
    other = registry.push(podman, "localhost/other:1", "team/word:2")
    podman("rmi", "--all", "--force")
    registry.lies[digest] = (registry.root / "blobs" / other.partition(":")[2]).read_bytes()
    said = mlrun("rerun", "latest")
    assert said.code == 125
    assert "as it was locked" in said.err
    assert "cannot be had on this host: " in said.err
    assert podman("images", "--quiet") == ""
    manifest = json.loads((registry.root / "blobs" / digest.partition(":")[2]).read_text())
    registry.lies = {manifest["layers"][0]["digest"]: b"x" * manifest["layers"][0]["size"]}
    for words in (("rerun", "latest"), ("run", project.path)):
        assert mlrun(*words).code == 125
        assert podman("images", "--quiet") == ""
    registry.lies.clear()
    assert mlrun("run", project.path).ok().out == "one\n"


def test_an_image_that_the_registry_has_not_is_said(mlrun: Mlrun, project: Project, registry: Registry):
    contain(project, f"{registry.address}/team/none:1")
    said = mlrun("run", project.path)
    assert said.code == 125
    assert f"the image {registry.address}/team/none:1 is not here, and podman" in said.err
    assert "manifest unknown" in said.err
    assert "correct `image:` under docker_env" in said.err


def test_an_image_that_went_since_is_pulled_again(mlrun: Mlrun, project: Project, podman: Podman, registry: Registry):
    registry.push(podman, IMAGE, "team/word:1")
    name = f"{registry.address}/team/word:1"
    contain(project, name)
    for _ in range(3):
        assert mlrun("run", project.path).ok().out == "one\n"
    podman("rmi", "--force", name)
    said = mlrun("run", project.path).ok()
    assert (said.out, "pulling" in said.err) == ("one\n", True)


def test_a_worker_killed_while_it_builds_leaves_nothing_that_is_taken_for_an_image(
    mlrun: Mlrun, project: Project, podman: Podman
):
    project.write("Dockerfile", f"FROM {IMAGE}\nRUN echo half > /half; sleep 20\nRUN echo whole > /word\n")
    contain(project, "mlrun-test-never-pulled")
    run = mlrun("run", project.path, "--build-image", "--detach").ok().out.strip()
    worker, building = _worker(run), until(lambda: _builders(run))
    for pid in (worker, *building):
        os.kill(pid, signal.SIGKILL)
    assert mlrun.show(run)["run"]["status"] == "lost"
    project.write("Dockerfile", (project.path / "Dockerfile").read_text().replace("sleep 20", "true"))
    assert mlrun("run", project.path, "--build-image").ok().out == "whole\n"


def _worker(run: str) -> int:
    claim = Path(os.environ["MLRUN_HOME"]) / "runs" / run / "claim.json"
    pid: int = json.loads(until(lambda: claim.exists() and claim.read_text()))["worker"]["pid"]
    return pid


def _builders(run: str) -> list[int]:
    """The programs that a run's worker has called, once they build."""
    worker = _worker(run)
    children = Path(f"/proc/{worker}/task/{worker}/children")
    pids = children.read_text().split() if children.exists() else []
    return [int(pid) for pid in pids if b"build" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]


def test_a_full_disk_is_one_line(mlrun: Mlrun, project: Project, podman: Podman, registry: Registry, tmp_path: Path):
    registry.push(podman, IMAGE, "team/word:1")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    need("root", mounted.returncode == 0, "a small disk cannot be mounted here")
    try:
        settings = podman.root / "storage.conf"
        settings.write_text(settings.read_text().replace(f"{podman.root}/graph", f"{disk}/graph"))
        contain(project, f"{registry.address}/team/word:1")
        said = mlrun("run", project.path)
        assert said.code == 125
        assert "no space left on device" in said.err
        assert "free some space" in said.err
        assert podman("images", "--quiet", check=False) == ""
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        assert mlrun("run", project.path).ok().out == "one\n"
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
