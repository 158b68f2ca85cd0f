"""A project with a conda.yaml on another machine, over the real ssh, and as a job of Slurm."""

from pathlib import Path

import pytest

from tests.conda.channel import Channel
from tests.conda.conftest import CondaHost, share
from tests.conda.test_run import channel, mlrun, project
from tests.end_to_end.conftest import Mlrun, Project
from tests.machines import Machine
from tests.slurm import Cluster, _shared_cluster, cluster

__all__ = ["_shared_cluster", "channel", "cluster", "mlrun", "project"]


@pytest.fixture
def lab(loopback: Machine, tools: Path, tmp_path: Path) -> Machine:
    """A machine that has made py-rattler's environment before; the channel's python is one of this machine's."""
    share(loopback.home / "cache", tools, CondaHost(tmp_path / "far maker"))
    return loopback


def test_a_conda_project_runs_on_another_machine_and_again_here(
    mlrun: Mlrun, project: Project, channel: Channel, lab: Machine
):
    said = mlrun("run", project.path, "-P", "who=world", "--on", "lab").ok()
    assert said.out == "hello 1.0 world\n"
    there = mlrun.show()
    assert there["execution"]["backend"] == "ssh"
    assert (there["environment"]["kind"], there["environment"]["lock_origin"]) == ("conda", "resolved")
    assert {one["name"] for one in there["environment"]["packages"]} == {"python", "green", "red"}
    assert list((lab.home / "cache" / "envs").iterdir())
    channel.module("green", "1.0.1", text="def greet(): return 'changed'\n")
    assert mlrun("rerun", "latest").ok().out == said.out
    here = mlrun.show()
    assert here["execution"]["backend"] == "local"
    assert here["environment"]["lock"] == there["environment"]["lock"]
    assert mlrun("rerun", "latest", "--on", "lab").ok().out == said.out
    assert mlrun.show()["environment"]["reused"]


def test_the_versions_of_the_lock_made_here_are_kept_there(
    mlrun: Mlrun, project: Project, channel: Channel, lab: Machine
):
    assert mlrun("run", project.path).ok().out == "hello 1.0 you\n"
    project.write("conda.yaml", (project.path / "conda.yaml").read_text().replace("green=1.0", "green"))
    assert mlrun("run", project.path).ok().out == "hello 1.0 you\n"
    channel.module("green", "1.0.1", text="def greet(): return 'newer'\n")
    assert mlrun("run", project.path, "--on", "lab").ok().out == "hello 1.0 you\n"
    assert mlrun("run", project.path, "--on", "lab", "--upgrade").ok().out == "newer 1.0 you\n"


def test_a_conda_project_runs_as_a_job(mlrun: Mlrun, project: Project, cluster: Cluster):
    assert mlrun("run", project.path, "-b", "slurm").ok().out == "hello 1.0 you\n"
    record = mlrun.show()
    assert (record["environment"]["kind"], record["execution"]["launcher"]) == ("conda", "slurm")
