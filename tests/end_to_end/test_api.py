"""The Python API: the shape of `mlflow.projects.run` and its SubmittedRun."""

import os
import shutil
from pathlib import Path

import pytest

import runner
from runner.errors import ProjectError, RunFailedError, RunNotFoundError
from tests.end_to_end.conftest import Project, until


def test_run_returns_when_it_has_ended(project: Project):
    submitted = runner.run(str(project.path), parameters={"word": "hi"}, env_manager="local")
    assert submitted.get_status() == "succeeded"
    assert (submitted.directory / "stdout.log").read_text() == "hi\n"
    [summary] = runner.runs(project="demo")
    assert summary.id == submitted.run_id


def test_asynchronous_run_is_waited_for_and_cancelled(project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: sleep 300}\n  quick: {command: 'true'}\n")
    quick = runner.run(str(project.path), "quick", env_manager="local", synchronous=False)
    assert quick.wait() is True
    slow = runner.run(str(project.path), env_manager="local", synchronous=False)
    assert slow.get_status() in ("submitted", "preparing", "running")
    slow.cancel()
    assert slow.get_status() == "killed"


def test_failures_are_raised(project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'exit 3'}\n")
    with pytest.raises(RunFailedError, match="failed"):
        runner.run(str(project.path), env_manager="local")
    with pytest.raises(ProjectError):
        runner.run(str(project.path), "nowhere", env_manager="local")
    assert len(runner.runs()) == 1


def test_a_failure_says_why_and_a_run_that_was_removed_is_not_there(project: Project):
    project.write("MLproject", "entry_points: {main: {command: 'exit 3'}, ok: {command: 'true'}}\n")
    with pytest.raises(RunFailedError, match=r"^run \S+ failed: the command exited with code 3$"):
        runner.run(str(project.path), env_manager="local")
    submitted = runner.run(str(project.path), "ok", env_manager="local")
    shutil.rmtree(submitted.directory)
    for question in (submitted.get_status, submitted.wait, submitted.cancel, submitted.verdict):
        with pytest.raises(RunNotFoundError, match="was removed"):
            question()


def test_rerun_and_verdict(project: Project):
    project.write("MLproject", "entry_points:\n  main: {outputs: [out], command: 'echo 1 > out'}\n")
    first = runner.run(str(project.path), env_manager="local")
    again = runner.rerun(first.run_id)
    assert again.verdict().verdict.kind == "identical"


def test_nothing_is_changed_in_this_process(project: Project):
    before = (dict(os.environ), Path.cwd())
    runner.run(str(project.path), env_manager="local")
    assert (dict(os.environ), Path.cwd()) == before


def test_a_path_names_a_project_and_errors_are_of_the_package(project: Project):
    assert runner.run(Path(project.path), env_manager="local").get_status() == "succeeded"
    assert issubclass(runner.RunFailedError, runner.MlrunError)


def test_runs_that_go_on_are_found_by_their_status(project: Project):
    project.write("MLproject", "entry_points: {main: {command: sleep 60}}\n")
    submitted = runner.run(str(project.path), env_manager="local", synchronous=False)
    until(lambda: submitted.get_status() == "running")
    assert [(each.id, each.status) for each in runner.runs(status="running")] == [(submitted.run_id, "running")]
    submitted.cancel()
    assert runner.runs(status="running") == []


@pytest.mark.usefixtures("machine")
def test_a_run_on_another_machine(project: Project):
    submitted = runner.run(str(project.path), on="lab", env_manager="local", synchronous=False)
    assert submitted.wait() is True
    assert (submitted.directory / "stdout.log").read_text() == "hello\n"
    again = runner.rerun(submitted.run_id, on="lab")
    assert again.get_status() == "succeeded"
    by_config = runner.run(str(project.path), backend="ssh", backend_config={"host": "lab"}, env_manager="local")
    assert by_config.get_status() == "succeeded"
    project.write("MLproject", "entry_points:\n  main: {command: 'echo up; sleep 300'}\n")
    slow = runner.run(str(project.path), on="lab", env_manager="local", synchronous=False)
    slow.cancel()
    assert slow.get_status() == "killed"
