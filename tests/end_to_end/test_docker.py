"""Runs in containers by a real docker: what podman's tests ask for, and what is docker's own."""

# ruff: noqa: F401 - pytest collects what is imported

from collections.abc import Iterator

import pytest

from tests.docker import Docker, serving
from tests.end_to_end.conftest import Mlrun, Project
from tests.end_to_end.test_containers import (
    contain,
    test_a_cancelled_command_hears_of_it_and_its_container_is_gone,
    test_a_command_is_ended_at_its_time_limit,
    test_a_command_runs_in_its_image_as_it_would_outside,
    test_a_container_does_not_outlive_its_engines_client,
    test_a_container_that_lost_its_worker_is_orphaned_and_can_be_ended,
    test_a_rerun_takes_the_very_image_or_none,
    test_a_volume_of_the_users_takes_the_place_of_our_own,
    test_an_image_is_built_from_the_snapshot,
    test_an_image_without_a_shell_is_said,
    test_an_interrupt_reaches_the_command,
    test_arguments_reach_the_engine_and_stand_over_our_own,
    test_no_value_is_on_a_command_line_or_with_the_engine,
    test_paths_and_volumes_are_seen_where_they_are,
    test_what_the_engine_refuses_is_said,
)


@pytest.fixture(scope="session")
def storage() -> Iterator[Docker]:
    with serving() as docker:
        yield docker


@pytest.fixture(autouse=True)
def engine(storage: Docker, monkeypatch: pytest.MonkeyPatch) -> Docker:
    for name, value in storage.environ.items():
        monkeypatch.setenv(name, value)
    return storage


def test_an_image_that_went_since_is_not_there(mlrun: Mlrun, project: Project, engine: Docker):
    engine("tag", "localhost/tiny:1", "127.0.0.1:9/going:1")
    contain(project, "cat /word", image="127.0.0.1:9/going:1")
    assert mlrun("run", project.path).ok().out == "one\n"
    engine("rmi", "127.0.0.1:9/going:1")
    said = mlrun("run", project.path)
    assert said.code == 125
    assert "the image 127.0.0.1:9/going:1 is not here, and docker" in said.err


def test_why_docker_gives_no_container_is_told(mlrun: Mlrun, project: Project, engine: Docker):
    contain(project, "true", entry="    resources: {gpus: 1}\n")
    said = mlrun("run", project.path)
    assert "error: the container could not be started: could not select device driver" in said.err
    assert "hint: the engine has no GPU to give" in said.err
    contain(project, "true")
    said = mlrun("run", project.path, "-A", "no-such-option")
    assert "error: the container could not be started: unknown flag: --no-such-option" in said.err
    said = mlrun("run", project.path, DOCKER_HOST="unix:///nowhere.sock")
    assert "cannot say whether it has the image" in said.err
    assert "hint: start it (`systemctl start docker`)" in said.err
