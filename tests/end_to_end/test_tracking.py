"""Scripts that log through MLflow's own client, unchanged, under the real `mlrun run`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients import install
from tests.end_to_end.conftest import until
from tests.needs import need

MLPROJECT = """\
name: logs
entry_points:
  main:
    parameters: {alpha: {default: "0.5"}}
    command: python train.py {alpha}
"""
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ASYNC_LOGGING": "false", "GIT_PYTHON_REFRESH": "quiet"}


@pytest.fixture(scope="session")
def client():
    """The directory of an interpreter that has MLflow."""
    python, reason = install()
    need("mlflow", python, reason)
    return python.parent


@pytest.fixture
def log(mlrun, project, client):
    """Run a script, and return its run directory and what it printed."""

    def call(text, *argv, **env):
        project.write("MLproject", MLPROJECT)
        project.write("train.py", "import json, math, os, sys\nimport mlflow\nfrom mlflow import MlflowClient\n" + text)
        path = f"{client}:{os.environ['PATH']}"
        said = mlrun("run", project.path, "--env-manager", "local", *argv, **{"PATH": path, **QUIET, **env})
        assert said.code == 0, said.err
        directory = mlrun.directory()
        assert (directory / "worker.log").read_text() == ""
        return directory, said.out

    return call


def series(directory):
    found = {}
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        data = json.loads(line)
        found.setdefault(data["name"], []).append((data["step"], data["value"]))
    return found


def kept(directory, kind):
    lines = map(json.loads, (directory / "tracking.jsonl").read_text().splitlines())
    return {line["name"]: line["value"] for line in lines if line["do"] == kind}


def test_what_a_script_logs_is_in_the_record(log, mlrun):
    directory, out = log(
        """
mlflow.set_experiment("x")
with mlflow.start_run() as run:
    mlflow.log_param("alpha", float(sys.argv[1]))
    mlflow.log_params({"größe/tiefe": 3, "long": "x" * 5000})
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "val/größe µ": 2})
    mlflow.set_tags({"mlflow.note.content": "ü", "a/b": 1})
    mlflow.log_dict({"a": [1]}, "d/x.json")
    mlflow.log_text("hi", "t.txt")
    mlflow.log_artifact(__file__, "code")
    print(json.dumps([run.info.run_id, run.info.experiment_id, os.environ.get("MLFLOW_RUN_ID")]))
""",
        "--run-name", "first",
    )  # fmt: skip
    run_id = directory.name.replace("-", "")
    assert json.loads(out) == [run_id, "0", None]  # the client takes the id, and removes it
    assert series(directory) == {
        "loss": [(0, 1.0), (1, 0.5), (2, 1 / 3)], "nan": [(0, "NaN")], "inf": [(0, "Infinity")],
        "-inf": [(0, "-Infinity")], "val/größe µ": [(0, 2.0)],
    }  # fmt: skip
    assert kept(directory, "param") == {"alpha": "0.5", "größe/tiefe": "3", "long": "x" * 5000}
    assert kept(directory, "tag") == {"mlflow.note.content": "ü", "a/b": "1"}
    files = {str(path.relative_to(directory / "artifacts")) for path in (directory / "artifacts").rglob("*.*")}
    assert files == {"d/x.json", "t.txt", "code/train.py"}
    record = mlrun.show()
    assert {(each["path"], each["basis"], each["stored"]) for each in record["outputs"]} == {
        (f"artifacts/{path}", "logged", True) for path in files
    }
    out = mlrun.cwd / "out"
    assert "artifacts/d/x.json" in mlrun("artifacts", "latest").ok().out
    mlrun("artifacts", "latest", "d", "-o", out).ok()
    assert json.loads((out / "artifacts" / "d" / "x.json").read_text()) == {"a": [1]}
    assert record["tracking"] == {
        "params": kept(directory, "param"), "tags": kept(directory, "tag"), "children": [], "models": [],
        "datasets": [], "registered": [],
    }  # fmt: skip
    shown = mlrun("show", "latest").ok().out
    assert "größe/tiefe" in shown
    assert "a/b" in shown
    metrics = {each["name"]: each["last"] for each in record["metrics"]["series"]}
    assert metrics["loss"] == 1 / 3
    assert (metrics["nan"], metrics["inf"], metrics["-inf"]) == ("NaN", "Infinity", "-Infinity")


def test_a_script_reads_back_what_it_logged(log):
    _, out = log(
        """
client = MlflowClient()
with mlflow.start_run(run_name="renamed", tags={"given": "1"}) as run:
    mlflow.log_metrics({"m": 0.25}, step=1)
    mlflow.log_metrics({"m": 0.5}, step=2)
    mlflow.log_metric("nan", math.nan)
    mlflow.log_param("beta", 2)
    mlflow.log_dict({"a": 1}, "d/x.json")
    mlflow.log_input(mlflow.data.from_pandas(__import__("pandas").DataFrame({"a": [1.0]}), name="frame"))
    for rate in (1, 2):
        with mlflow.start_run(nested=True, run_name=f"kid {rate}"):
            mlflow.log_param("rate", rate)
            mlflow.log_metric("score", rate)
got = client.get_run(run.info.run_id)
found = mlflow.search_runs(
    filter_string=f"tags.mlflow.parentRunId = '{run.info.run_id}' and metrics.score > 1", output_format="list")
frame = mlflow.search_runs(search_all_experiments=True, order_by=["metrics.score DESC"])
print(json.dumps({
    "metrics": got.data.metrics["m"], "nan": math.isnan(got.data.metrics["nan"]), "params": got.data.params,
    "tag": got.data.tags["given"], "name": got.info.run_name, "status": got.info.status,
    "history": [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "m")],
    "found": [each.info.run_name for each in found], "frame": list(frame["tags.mlflow.runName"]),
    "files": [each.path for each in client.list_artifacts(run.info.run_id, "d")],
    "json": mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/d/x.json"),
    "dataset": [each.dataset.name for each in got.inputs.dataset_inputs],
    "experiments": [each.name for each in mlflow.search_experiments()],
}))
with mlflow.start_run():
    mlflow.log_metric("of a later run", 1)
"""
    )
    said = json.loads(out)
    assert said == {
        "metrics": 0.5, "nan": True, "params": {"alpha": "0.5", "beta": "2"}, "tag": "1", "name": "renamed",
        "status": "FINISHED", "history": [[1, 0.25], [2, 0.5]], "found": ["kid 2"],
        "frame": ["kid 2", "kid 1", "renamed"], "files": ["d/x.json"], "json": {"a": 1}, "dataset": ["frame"],
        "experiments": ["Default"],
    }  # fmt: skip


def test_sub_runs_lie_under_the_run(log, mlrun):
    directory, out = log(
        """
with mlflow.start_run():
    with mlflow.start_run(nested=True, run_name="kid") as kid:
        mlflow.log_param("rate", 1)
        mlflow.log_metric("k", 1)
        mlflow.log_text("kid", "kid.txt")
client = MlflowClient()
other = client.create_run("0", run_name="by hand")
client.log_batch(other.info.run_id, metrics=[mlflow.entities.Metric("b", 2, 3, 4)])
client.set_terminated(other.info.run_id, "FAILED")
print(kid.info.run_id, other.info.run_id, client.get_run(other.info.run_id).info.status)
"""
    )
    kid, other, status = out.split()
    assert status == "FAILED"
    assert {path.name for path in (directory / "children").iterdir()} == {kid, other}
    first, second = mlrun.show()["tracking"]["children"]
    assert ([first["id"], second["id"]], first["parent"]) == ([kid, other], None)
    assert [(each["name"], each["status"]) for each in (first, second)] == [("kid", "finished"), ("by hand", "failed")]
    assert [(s["name"], s["last"]) for s in second["metrics"]["series"]] == [("b", 2.0)]
    shown = [line.split() for line in mlrun("show", "latest").ok().out.splitlines()]
    assert ["sub-runs", "kid", "finished", "k=1", "(rate=1)"] in shown
    assert ["by", "hand", "failed", "b=2"] in shown
    for text in (kid, kid[-8:]):
        alone = [line.split() for line in mlrun("show", text).ok().out.splitlines()]
        assert alone[:2] == [["sub-run", kid, "(kid)"], ["status", "finished"]]
        assert [alone[3], alone[-1]] == [["logged", "rate", "1"], ["metrics", "k", "1"]]
        assert f"children/{kid}/artifacts/kid.txt" in alone[-2]
    assert mlrun("show", other, "--json").json["sub_run"] == second
    said = mlrun("metrics", kid[-8:])
    assert (said.code, f"is a sub-run, which a client made inside of the run {directory.name[-8:]}" in said.err) == (
        125,
        True,
    )
    listed = mlrun("list", "--columns", "id,status,name,metrics.k").ok().out.splitlines()
    assert [line.split() for line in listed[2:]] == [
        [kid[-8:], "finished", "kid", "1"], [other[-8:], "failed", "by", "hand", "-"],
    ]  # fmt: skip
    (run,) = mlrun("list", "--json").json["runs"]
    assert (run["sub_run_count"], run["sub_runs"][0]["metrics"]) == (2, {"k": 1.0})
    assert f"children/{kid}/artifacts/kid.txt" in mlrun("artifacts", "latest").out
    assert series(directory / "children" / kid) == {"k": [(0, 1.0)]}
    assert series(directory / "children" / other) == {"b": [(4, 2.0)]}
    assert (directory / "children" / kid / "artifacts" / "kid.txt").read_text() == "kid"
    assert kept(directory / "children" / kid, "tag")["mlflow.parentRunId"] == directory.name.replace("-", "")


def test_models_of_scikit_learn_are_logged_by_hand_and_by_themselves(log, mlrun):
    directory, out = log(
        """
import numpy
from sklearn.linear_model import Ridge
one = numpy.array([[1.0]])
mlflow.sklearn.autolog()
with mlflow.start_run() as run:
    model = Ridge(alpha=float(sys.argv[1])).fit(numpy.array([[0.0], [1.0], [2.0]]), [0.0, 1.0, 2.0])
    info = mlflow.sklearn.log_model(model, name="by hand", pip_requirements=["scikit-learn"])
again = mlflow.pyfunc.load_model(info.model_uri).predict(one)
assert again == mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model").predict(one) == model.predict(one)
got = mlflow.get_run(run.info.run_id)
print(json.dumps([got.data.params["alpha"], sorted(got.data.metrics), len(got.outputs.model_outputs)]))
"""
    )
    alpha, metrics, models = json.loads(out.splitlines()[-1])
    assert alpha == "0.5"
    assert "training_mean_squared_error" in metrics
    assert models == 2
    assert {path.name for path in (directory / "artifacts" / "models").iterdir()} == {"model", "by hand"}
    for model in mlrun.show()["tracking"]["models"]:
        assert model["status"] == "ready"
        assert (directory / model["path"] / "MLmodel").exists()
    assert all(len(points) == 1 for points in series(directory).values())  # those tied to a model are no second ones


def test_a_rerun_that_logs_the_same_is_identical_and_another_artifact_is_named(log, mlrun, client):
    log(
        """
import numpy
from sklearn.linear_model import Ridge
with mlflow.start_run():
    model = Ridge(alpha=float(sys.argv[1])).fit(numpy.array([[0.0], [1.0], [2.0]]), [0.0, 1.0, 2.0])
    mlflow.sklearn.log_model(model, name="ridge", pip_requirements=["scikit-learn"])
    class Doubled(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2
    mlflow.pyfunc.log_model(name="doubled", python_model=Doubled(), pip_requirements=["mlflow"])
    mlflow.log_text(sys.argv[1], "alpha.txt")
    mlflow.log_metric("system/cpu", os.getpid())
"""
    )
    first = mlrun.show()["run"]["id"]
    env = {"PATH": f"{client}:{os.environ['PATH']}", **QUIET}
    assert "\nidentical: " in mlrun("rerun", first, "--check", **env).ok().err
    said = mlrun("rerun", first, "--check", "-P", "alpha=2", **env)
    assert said.code == 1
    assert "output artifacts/alpha.txt: " in said.err
    assert "output artifacts/models/ridge/model" in said.err
    assert "MLmodel" not in said.err
    assert "doubled" not in said.err


def test_mistakes_and_what_is_not_there_are_said_at_once(log):
    _, out = log(
        """
import time
from mlflow.exceptions import MlflowException
def refused(call):
    started = time.monotonic()
    try:
        call()
    except MlflowException as error:
        return [error.error_code, time.monotonic() - started < 30, "set_tracking_uri" in str(error)]
client = MlflowClient()
with mlflow.start_run() as run:
    mlflow.log_param("a", 1)
    said = [
        refused(lambda: mlflow.log_param("a", 2)),
        refused(lambda: mlflow.search_traces()),
        refused(lambda: client.get_run("0" * 32)),
        refused(lambda: client.search_runs(["0"], "metrics.a ~ 1")),
        refused(lambda: mlflow.log_text("x", "../../outside.txt")),
        refused(lambda: mlflow.log_text("x", "/tmp/outside.txt")),
    ]
    os.environ["MLFLOW_TRACKING_PASSWORD"] = "wrong"
    said.append(refused(lambda: mlflow.log_metric("m", 1)))
    os.environ["MLFLOW_TRACKING_PASSWORD"] = os.environ["MLFLOW_TRACKING_TOKEN"]
print(json.dumps(said))
"""
    )
    codes = [each[0] for each in json.loads(out)]
    assert codes[:4] == [
        "INVALID_PARAMETER_VALUE",
        "FEATURE_DISABLED",
        "RESOURCE_DOES_NOT_EXIST",
        "INVALID_PARAMETER_VALUE",
    ]
    assert codes[6] == "UNAUTHENTICATED"
    assert all(each[1] for each in json.loads(out))
    assert json.loads(out)[1][2]
    assert all(code is not None for code in codes)


def test_proxies_and_other_servers_credentials_are_in_nobodys_way(log, home):
    (home / ".mlflow").mkdir()
    (home / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = mine\n"
    )
    directory, _ = log(
        "with mlflow.start_run():\n    mlflow.log_metric('m', 1)\n",
        http_proxy="http://127.0.0.1:9",
        ALL_PROXY="http://127.0.0.1:9",
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MLFLOW_TRACKING_USERNAME="me",
        MLFLOW_TRACKING_PASSWORD="mine",
        MLFLOW_EXPERIMENT_NAME="somewhere",
    )
    assert series(directory) == {"m": [(0, 1.0)]}


def test_all_that_a_killed_client_was_told_is_kept(log):
    directory, out = log(
        """
import subprocess
text = '''
import mlflow, sys
for step in range(1000000):
    mlflow.log_metric("m", step, step=step)
    print(step, flush=True)
'''
child = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
for line in child.stdout:
    if int(line) == 50:
        child.kill()
        break
last = max([50, *map(int, child.stdout.read().split())])
child.wait()
print(last)
"""
    )
    steps = [step for step, _ in series(directory)["m"]]
    assert steps == list(range(len(steps)))
    assert len(steps) in (int(out) + 1, int(out) + 2)  # the last may have been kept and not be told


def test_a_killed_worker_loses_nothing_and_the_script_goes_on(mlrun, project, client):
    project.write("MLproject", MLPROJECT)
    project.write(
        "train.py",
        "import os, time, mlflow\nmlflow.log_text('kept', 'a.txt')\nmlflow.log_metric('m', 1)\n"
        "while not os.path.exists('go'): time.sleep(0.02)\nmlflow.log_metric('m', 2, step=1)\nopen('done', 'w')\n",
    )
    path = f"{client}:{os.environ['PATH']}"
    mlrun("run", project.path, "--env-manager", "local", "--detach", PATH=path, **QUIET).ok()
    (run,) = (Path(os.environ["MLRUN_HOME"]) / "runs").iterdir()
    until((run / "metrics.jsonl").exists, 30)
    os.kill(json.loads((run / "claim.json").read_text())["worker"]["pid"], 9)
    project.write("go", "")
    until((project.path / "done").exists)
    until(lambda: mlrun("list", "--json").json["runs"][0]["status"] == "lost")
    record = mlrun.show()
    metrics = {each["name"]: each["count"] for each in record["metrics"]["series"]}
    assert metrics == {"m": 2}
    outputs = [(each["path"], each["basis"], each["stored"]) for each in record["outputs"]]
    assert outputs == [("artifacts/a.txt", "logged", True)]
    assert any("its artifacts alone" in gap["reason"] for gap in record["gaps"])


def test_a_logged_model_is_one_that_mlflow_serves(log, mlrun, client, tmp_path):
    directory, _ = log(
        """
import mlflow.pyfunc
class Doubled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * 2
with mlflow.start_run():
    mlflow.pyfunc.log_model(name="doubled", python_model=Doubled(), pip_requirements=["mlflow"])
"""
    )
    (tmp_path / "in.csv").write_text("a\n2\n")
    model = directory / "artifacts" / "models" / "doubled"
    argv = [client / "mlflow", "models", "predict", "-m", model, "-i", tmp_path / "in.csv", "-t", "csv"]
    done = subprocess.run(
        [*argv, "--env-manager", "local"], capture_output=True, text=True, check=False,
        env={**os.environ, **QUIET, "PATH": f"{client}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert json.loads(done.stdout) == {"predictions": [{"a": 4}]}, done.stderr
    mlrun("artifacts", "latest", "doubled", "-o", tmp_path / "out").ok()
    brought = tmp_path / "out" / "artifacts" / "models" / "doubled"
    files = sorted(path.relative_to(model) for path in model.rglob("*.*") if path.suffix != ".pyc")
    assert files
    assert all((brought / name).read_bytes() == (model / name).read_bytes() for name in files)
