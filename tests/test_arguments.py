"""What the Python API refuses, before anything is made: one line that names the argument."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runner
from runner.errors import UsageError
from runner.store.home import home

RUN = [
    ({"uri": None}, "uri: a path or a URI is expected, not None"),
    ({"uri": b"."}, "uri: a path or a URI is expected, not b'.'"),
    ({"uri": ["."]}, "uri: a path or a URI is expected, not a list"),
    ({"entry_point": 3}, "entry_point: a text is expected, not 3"),
    ({"version": 1.0}, "version: a text is expected, not 1.0"),
    ({"parameters": ["alpha=1"]}, "parameters: a mapping from names to values is expected, not a list"),
    ({"parameters": "alpha=1"}, "parameters: a mapping from names to values is expected, not 'alpha=1'"),
    ({"parameters": {1: 2}}, "a name in parameters: a text that is not empty is expected, not 1"),
    ({"tags": {"": "x"}}, "a name in tags: a text that is not empty is expected, not ''"),
    ({"experiment_name": "a", "experiment_id": "1"}, "an experiment is named twice, by its name and by its id"),
    ({"parameters": {"a": None}}, "parameters['a']: a text, a number, True, False or a list of them is expected, n"),
    ({"parameters": {"a": {"b": 1}}}, "parameters['a']: a text, a number, True, False or a list of them is expecte"),
    ({"parameters": {"a": b"x"}}, "parameters['a']: a text, a number, True, False or a list of them is expected, n"),
    ({"parameters": {"a": [None]}}, "parameters['a']: a text, a number, True, False or a list of them is expected,"),
    ({"parameters": {"a": "x\0y"}}, "parameters['a']: a text with a NUL character in it cannot be passed on"),
    ({"backend_config": "{nonsense"}, "backend_config {nonsense: Expecting property name"),
    ({"backend_config": "[1]"}, "backend_config [1]: a JSON object is expected"),
    ({"backend_config": "gone.json"}, "backend_config gone.json: "),
    ({"backend_config": [("a", 1)]}, "backend_config: a mapping from names to values is expected, not a list"),
    ({"backend": 1}, "backend: a text is expected, not 1"),
    ({"on": 1}, "on: a text is expected, not 1"),
    ({"env_manager": ["uv"]}, "env_manager: a text is expected, not a list"),
    ({"env_manager": "pip"}, "'pip' is no environment manager"),
    ({"run_name": 7}, "run_name: a text is expected, not 7"),
    ({"run_name": "latest"}, "a run cannot be named `latest`"),
    ({"why": None}, "why: a text is expected, not None"),
    ({"tags": ["a"]}, "tags: a mapping from names to values is expected, not a list"),
    ({"docker_args": "gpus"}, "docker_args: a mapping from names to values is expected, not 'gpus'"),
    ({"storage_dir": 1}, "storage_dir: a path or a URI is expected, not 1"),
    ({"experiment_id": 0}, "experiment_id: a text is expected, not 0"),
    ({"tracking_uri": 5}, "tracking_uri: a text is expected, not 5"),
]


@pytest.mark.parametrize(("given", "message"), RUN)
def test_an_odd_argument_is_named(tmp_path: Path, given: dict, message: str) -> None:
    (tmp_path / "MLproject").write_text("entry_points: {main: {command: 'true'}}\n")
    with pytest.raises(UsageError) as caught:
        runner.run(**{"uri": tmp_path, "env_manager": "local", **given})
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message
    assert not any((home() / "runs").glob("*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"status": "runing"}, "status: no run is ever 'runing'"),
        ({"project": 3}, "project: a text is expected, not 3"),
        ({"where": 3}, "where: a text is expected, not 3"),
        ({"limit": "3"}, "limit: a number of runs, or None is expected, not '3'"),
        ({"limit": -1}, "limit: a number of runs, or None is expected, not -1"),
        ({"limit": True}, "limit: a number of runs, or None is expected, not True"),
        ({"tags": "a"}, "tags: a mapping from names to values is expected, not 'a'"),
    ],
)
def test_an_odd_question_is_refused(given: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        runner.runs(**given)
    assert caught.value.message == message


def test_an_odd_re_run_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^run_id: a text is expected, not 5$"):
        runner.rerun(5)
    with pytest.raises(runner.MlrunError, match="no run answers to ''"):
        runner.rerun("")


def test_the_package_lists_its_api_and_imports_none_of_it() -> None:
    code = "import runner, sys; print(*dir(runner)); print('runner.api' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    names, imported = done.stdout.splitlines()
    assert {"run", "rerun", "runs", "SubmittedRun", "MlrunError", "__version__"} <= set(names.split())
    assert imported == "False"
