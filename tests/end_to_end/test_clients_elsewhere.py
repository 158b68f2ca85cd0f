"""MLflow's own client where the run is elsewhere: what it logs there is in the record here, as if it had been here."""

import json
import sys
from pathlib import Path

import pytest

from tests.clients import install
from tests.needs import need
from tests.podman import IMAGE, shared
from tests.podman import install as install_podman
from tests.slurm import _shared_cluster, cluster

__all__ = ["_shared_cluster", "cluster"]

SCRIPT = """\
import mlflow

class Doubled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * 2

mlflow.set_experiment("x")
with mlflow.start_run() as run:
    mlflow.log_param("beta", 2)
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.set_tag("a/b", "ü")
    mlflow.log_artifact(__file__, "code")
    mlflow.log_dict({"a": [1]}, "d/x.json")
    mlflow.pyfunc.log_model(
        name="doubled", python_model=Doubled(), pip_requirements=["mlflow"], registered_model_name="two")
    with mlflow.start_run(nested=True, run_name="kid"):
        mlflow.log_metric("k", 1)
        mlflow.log_text("kid", "kid.txt")
back = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/d/x.json")
print(mlflow.pyfunc.load_model("models:/two/1").predict(2), back)
"""
ENTRY = """\
entry_points:
  main:
    command: GIT_PYTHON_REFRESH=quiet MLFLOW_DISABLE_TELEMETRY=true {} train.py
    resources: {{memory: 1G}}
"""


@pytest.fixture(scope="session")
def python():
    """An interpreter that has the client."""
    python, reason = install()
    need("mlflow", python, reason)
    return python


def test_on_another_machine(mlrun, project, python, loopback):
    check(mlrun, project, python, "--on", "lab", "--env-manager", "local")


def test_in_a_job(mlrun, project, python, cluster):
    check(mlrun, project, python, "-b", "slurm", "--env-manager", "local")


def test_in_a_container(mlrun, project, python, tmp_path_factory, monkeypatch):
    """It has this machine's interpreter and libraries, and nothing else of it."""
    podman = install_podman(shared(tmp_path_factory) / "podman")
    for name, value in podman.environ.items():
        monkeypatch.setenv(name, value)
    seen = {"/usr", "/lib", "/lib64", str(python.parents[1]), sys.base_prefix}
    volumes = [f"{place}:{place}:ro" for place in sorted(seen) if Path(place).exists()]
    check(mlrun, project, python, more=f"docker_env: {{image: '{IMAGE}', volumes: {json.dumps(volumes)}}}\n")


def check(mlrun, project, python, *argv, more=""):
    """Run the script there, and look here for what it logged."""
    project.write("MLproject", more + ENTRY.format(python))
    project.write("train.py", SCRIPT)
    said = mlrun("run", project.path, *argv)
    assert (said.code, said.out) == (0, "4 {'a': [1]}\n"), said.err

    record, run = mlrun.show(), mlrun.directory()
    [series] = record["metrics"]["series"]
    assert [(point["step"], point["value"]) for point in series["points"]] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    tracking = record["tracking"]
    assert (tracking["params"], tracking["tags"]["a/b"]) == ({"beta": "2"}, "ü")
    [kid] = tracking["children"]
    assert (kid["name"], kid["status"], kid["metrics"]["series"][0]["last"]) == ("kid", "finished", 1.0)
    [model] = tracking["models"]
    [registered] = tracking["registered"]
    assert (model["path"], model["status"]) == ("artifacts/models/doubled", "ready")
    assert (registered["name"], registered["versions"][0]["path"]) == ("two", model["path"])
    kept = {each["path"]: each for each in record["outputs"] if each["basis"] == "logged" and each["stored"]}
    expected = {"artifacts/code/train.py", "artifacts/d/x.json", f"children/{kid['id']}/artifacts/kid.txt"}
    assert expected | {f"{model['path']}/MLmodel"} <= set(kept)
    mlrun("artifacts", "latest", "-o", run.parent.parent / "out").ok()
    brought = run.parent.parent / "out" / "artifacts"
    assert json.loads((brought / "d" / "x.json").read_text()) == {"a": [1]}
    assert (brought / "models" / "doubled" / "MLmodel").stat().st_size == kept[f"{model['path']}/MLmodel"]["size"]
    assert (run / "worker.log").read_text() == ""
