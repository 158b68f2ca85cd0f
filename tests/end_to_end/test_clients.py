"""Clients of MLflow from 1.30 to today's, installed from PyPI, with one script that does what scripts do."""

import json
import os
from pathlib import Path

import pytest

from tests.clients import install
from tests.needs import need

MLPROJECT = """\
name: clients
entry_points:
  main: {command: python script.py results.json}
  step:
    parameters: {x: float}
    command: python -c "import mlflow; mlflow.log_metric('step', {x})"
"""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
MISSING = {  # what a client itself does not have
    "mlflow-1.30": {
        *("log_image_by_key", "log_table", "log_input", "asynchronous", "system_metrics", "aliases", "traces"),
    },
    "mlflow-2.22": set(),
    "mlflow": {"system_metrics"},  # psutil is not installed
    "mlflow-skinny": {
        *("log_figure", "log_image", "log_image_by_key", "log_table", "log_input", "search_runs"),
        *("scikit_learn", "pyfunc", "system_metrics", "project"),
    },
}
EXPECTED = {
    "log_figure": None,
    "log_image": None,
    "log_image_by_key": None,
    "log_table": ["a", "b", "c"],
    "log_input": ["frame"],
    "search_runs": ["kid"],
    "find_runs": ["kid"],
    "list_artifacts": ["d/x.json"],
    "download_artifacts": {"a": [1]},
    "download_by_client": "hi",
    "scikit_learn": ["True", 2.0],
    "pyfunc": 4,
    "asynchronous": [1.0, "1"],
    "system_metrics": True,
    "project": ["FINISHED", {"step": 3.0}],
    "preset": [True, "0", True],
    "other_value_of_a_parameter": ["INVALID_PARAMETER_VALUE", True, False],
    "registry": [
        [["m", 1, "None"], ["m", 2, "Production"]],
        [1, 2],
        "of the script",
        {"n": "2", "mine": "yes"},
        True,
    ],
    "register_a_model": 3,
    "aliases": [1, {"champion": "1"}],
    "model_of_a_taken_name": ["RESOURCE_ALREADY_EXISTS", True, False],
    "version_of_nobody": ["RESOURCE_DOES_NOT_EXIST", True, False],
    "version_from_elsewhere": ["INVALID_PARAMETER_VALUE", True, False],
    "traces": ["FEATURE_DISABLED", True, True],
    "artifact_above": ["INTERNAL_ERROR", True, False],
    "artifact_elsewhere": ["INTERNAL_ERROR", True, False],
    "run_of_nobody": ["RESOURCE_DOES_NOT_EXIST", True, False],
    "read": {
        "params": {"given": "0.5", "größe/tiefe": "3", "b": "1"},
        "tags": {"a/b": "1", "b": "1"},
        "nan": True,
        "history": [[0, 1.0], [1, 0.5], [2, 1 / 3]],
    },
}


@pytest.mark.parametrize("name", MISSING)
def test_one_script_under_every_client(mlrun, project, name):
    python, reason = install(name)
    need("mlflow", python, reason)
    project.write("MLproject", MLPROJECT)
    project.write("folder/deep/file.txt", "deep")
    project.write("script.py", Path(__file__).with_name("client_script.py").read_text())
    path = f"{python.parent}:{os.environ['PATH']}"
    said = mlrun("run", project.path, "--env-manager", "local", **{**QUIET, "PATH": path})
    assert said.code == 0, said.err

    results = json.loads((project.path / "results.json").read_text())
    kid = results.pop("sub_run")
    expected = {key: value for key, value in EXPECTED.items() if key not in MISSING[name]}
    assert {key: results[key] for key in expected} == expected

    record = mlrun.show()
    metrics = {each["name"]: each["last"] for each in record["metrics"]["series"]}
    assert {key: metrics[key] for key in ("loss", "nan", "inf", "val/größe µ", "b", "again")} == {
        "loss": 1 / 3, "nan": "NaN", "inf": "Infinity", "val/größe µ": 2.0, "b": 1.0, "again": 1.0,
    }  # fmt: skip
    assert record["tracking"]["params"]["größe/tiefe"] == "3"
    children = {each["name"]: each for each in record["tracking"]["children"]}
    assert children["kid"]["id"] == kid
    assert children["without the id"]["metrics"]["series"][0]["name"] == "other"
    outputs = {each["path"] for each in record["outputs"] if each["basis"] == "logged" and each["stored"]}
    assert {"artifacts/d/x.json", "artifacts/t.txt", "artifacts/code/script.py"} <= outputs
    assert {"artifacts/folder/deep/file.txt", f"children/{kid}/artifacts/kid.txt"} <= outputs
    if "pyfunc" in expected:
        models = {path.rpartition("/")[0] for path in outputs if path.endswith("/MLmodel")}
        assert {model.rpartition("/")[2] for model in models} == {"ridge", "doubled", "by hand"}
    registered = {each["name"]: each["versions"] for each in record["tracking"]["registered"]}
    assert [each["path"] for each in registered["m"]] == ["artifacts/d", "artifacts/d", "artifacts/by hand"]
    assert (registered["m"][1]["stage"], registered["m"][0]["description"]) == ("Production", "the first")
    if "pyfunc" in expected:
        assert f"{registered['two x'][0]['path']}/MLmodel" in outputs
    if "log_input" in expected:
        datasets = [(each["name"], each["context"]) for each in record["tracking"]["datasets"]]
        assert ("frame", "training") in datasets
    assert (mlrun.directory() / "worker.log").read_text() == ""
