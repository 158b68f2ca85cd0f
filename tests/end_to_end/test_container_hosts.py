"""Containers where the run is elsewhere: on a machine over ssh, without root there, and in a job of Slurm."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project
from tests.machines import Machine, lab_machine, machine
from tests.needs import need
from tests.podman import IMAGE, Podman, install, shared
from tests.slurm import Cluster, _shared_cluster, cluster

__all__ = ["_shared_cluster", "cluster", "lab_machine", "machine"]


@pytest.fixture
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    return install(shared(tmp_path_factory) / "podman")


@pytest.fixture
def contained(project: Project) -> Project:
    command = "cat /word; id -u; touch made; exit 4"
    project.write("MLproject", f"docker_env: {{image: '{IMAGE}'}}\nentry_points: {{main: {{command: '{command}'}}}}\n")
    return project


def mount_control_groups(machine: Machine) -> None:
    """Mount there what is mounted here: a network namespace's own /sys has no control groups, and runc wants them."""
    script = "mountpoint -q /sys/fs/cgroup || mount -t tmpfs cgroup /sys/fs/cgroup\n"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options = line.split()[:4]
        if kind in ("cgroup", "cgroup2") and place.startswith("/sys/fs/cgroup"):
            script += f"mkdir -p {place}; mountpoint -q {place} || mount -t {kind} -o {options} {kind} {place}\n"
    enter = ["nsenter", f"--mount=/proc/{machine._process.pid}/ns/mnt", "sh", "-c", script]
    subprocess.run(enter, check=True, capture_output=True, timeout=30)


def test_a_container_runs_on_another_machine(
    mlrun: Mlrun, contained: Project, podman: Podman, machine: Machine, home: Path
):
    need("root", machine.isolated, "a machine of its own needs root, iproute2 and unshare")
    mount_control_groups(machine)
    place = machine.home
    for file in ("containers.conf", "storage.conf"):
        text = (podman.root / file).read_text().replace(str(podman.root), "/home/lab/podman")
        (place / file).write_text(text)
    (place / "xdg").mkdir(mode=0o700)
    setup = (
        "export CONTAINERS_CONF=~/containers.conf CONTAINERS_STORAGE_CONF=~/storage.conf XDG_RUNTIME_DIR=~/xdg "
        "MLRUN_CONTAINER_ENGINE=podman"
    )
    status = place.stat()
    subprocess.run(["chown", "-R", f"{status.st_uid}:{status.st_gid}", place], check=True)
    archive = subprocess.run(["tar", "-C", podman.root / "tree-one", "-c", "."], capture_output=True, check=True).stdout
    ssh = ["ssh", "-F", machine.config, "lab"]
    bring = [*ssh, f"{setup}; podman import --quiet - {IMAGE}"]
    done = subprocess.run(bring, input=archive, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    hosts = home / ".config" / "mlrun" / "hosts.toml"
    hosts.write_text(hosts.read_text().replace("[hosts.lab]\n", f"[hosts.lab]\nsetup = '''{setup}'''\n", 1))
    try:
        # Not with processes of its own: /proc has a boot id bound upon it there, and no second one may be mounted.
        said = mlrun("run", contained.path, "--on", "lab", "-A", "pid=host")
        record = mlrun.show()
    finally:
        subprocess.run([*ssh, f"{setup}; podman system migrate"], capture_output=True, timeout=60, check=False)
    assert (said.code, said.out) == (4, "one\n0\n"), (
        said.err
    )  # no further user ids are set up there: its root is the user
    assert record["execution"]["host"] == "lab-machine"
    assert record["environment"]["container"]["engine"].startswith("podman")
    [made] = (machine.home / ".local/share/mlrun/runs").glob("*/work/made")
    assert made.stat().st_uid == status.st_uid
    assert [output["path"] for output in record["outputs"]] == ["made"]


def test_a_container_runs_as_a_job(
    mlrun: Mlrun, contained: Project, podman: Podman, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    for name, value in podman.environ.items():
        monkeypatch.setenv(name, value)
    said = mlrun("run", contained.path, "-b", "slurm")
    assert (said.code, said.out) == (4, f"one\n{os.getuid()}\n"), said.err
    record = mlrun.show()
    assert record["execution"]["launcher"] == "slurm"
    assert record["environment"]["container"]["id"]["sha256"] == podman.image(IMAGE)
    assert [output["path"] for output in record["outputs"]] == ["made"]
