"""Runs at a team's own server: a real `mlflow server`, and servers that are down, slow, or refuse."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.clients import install
from tests.end_to_end.conftest import until
from tests.needs import need
from tests.publishing.servers import Small

CLIENT = """\
import os, sys, time
import mlflow
class Doubled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * 2
with mlflow.start_run(run_name="renamed"):
    mlflow.log_param("beta", 2)
    mlflow.set_tag("a/b", "ü")
    for step in range(2500):
        mlflow.log_metric("loss", 1 / (step + 1), step=step, synchronous=False)
    mlflow.flush_async_logging()
    mlflow.log_metric("bad", float("nan"))
    mlflow.log_text("hi", "d/ü t.txt")
    mlflow.log_text("{}", "a model/MLmodel")
    uri = f"runs:/{mlflow.active_run().info.run_id}/a model"
    versions = [mlflow.register_model(uri, "live model", tags={"k": "ü"}).version for _ in range(2)]
    mlflow.MlflowClient().set_registered_model_alias("live model", "champion", versions[1])
    made = mlflow.pyfunc.log_model(
        name="two x", python_model=Doubled(), pip_requirements=["mlflow"], registered_model_name="two", params={"p": 1})
    mlflow.log_metric("good", 0.5, model_id=made.model_id)
    with mlflow.start_run(nested=True, run_name="kid"):
        mlflow.log_metric("score", 1)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
"""
METRIC = """entry_points:
  main:
    command: |
      echo '{{"name": "loss", "value": 0.5}}' >> $MLRUN_METRICS
"""


@pytest.fixture(scope="module", params=["mlflow", "mlflow-2.22"])
def team(request, tmp_path_factory):
    """The address of a real server with a database, where today's client is, and whether the server is today's, too."""
    (python, reason), (client, why) = install(request.param), install()
    need("mlflow", python and client, reason or why)
    root = tmp_path_factory.mktemp("team")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [python.with_name("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{root}/db.sqlite", "--artifacts-destination", root / "artifacts"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLRUN_"))}
    clean |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{python.parent}:{os.environ['PATH']}"}
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=root, env=clean, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: server.poll() is not None or _up(port), 120)
        assert server.poll() is None, (root / "log").read_text()
        yield f"http://127.0.0.1:{port}", client.parent, request.param == "mlflow"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
        server.wait()


def _up(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def ask(uri, path, **body):
    url = f"{uri}/api/2.0/mlflow/{path}"
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def runs_in(uri, experiment):
    found = ask(uri, "experiments/search", max_results=100, filter=f"name = '{experiment}'").get("experiments")
    if not found:
        return []
    runs = ask(uri, "runs/search", experiment_ids=[found[0]["experiment_id"]]).get("runs", [])
    return [{**run, "data": {k: {i["key"]: i["value"] for i in v} for k, v in run["data"].items()}} for run in runs]


def history(uri, run, name):
    found = query(uri, "metrics/get-history", run_id=run, metric_key=name)["metrics"]
    return [(point["step"], point["value"]) for point in found]


def query(uri, path, **fields):
    with urllib.request.urlopen(f"{uri}/api/2.0/mlflow/{path}?{urlencode(fields)}", timeout=60) as answer:
        return json.loads(answer.read())


def find_models(uri, run, client, env, *, new):
    """Look for the versions, and for the logged model where the server is of MLflow 3; load them by its client."""
    run_id = run["info"]["run_id"]
    assert len(query(uri, "model-versions/search", filter=f"run_id = '{run_id}'")["model_versions"]) == 3
    if new:
        [model] = ask(uri, "logged-models/search", experiment_ids=[run["info"]["experiment_id"]])["models"]
        assert (model["info"]["name"], model["info"]["status"]) == ("two x", "LOGGED_MODEL_READY")
        assert model["info"]["source_run_id"] == run_id
        assert ("good", 0.5) in [(each["key"], each["value"]) for each in model["data"]["metrics"]]
        assert {"key": "p", "value": "1"} in model["data"]["params"]
    load = "import mlflow, sys; print([mlflow.pyfunc.load_model(uri).predict(2) for uri in sys.argv[1:]])"
    logged = f"runs:/{run_id}/two x" if new else f"runs:/{run_id}/models/two x"
    argv = [client / "python", "-c", load, "models:/two/1", logged]
    assert subprocess.check_output(argv, env={**os.environ, **env}, timeout=120) == b"[4, 4]\n"


def test_a_run_appears_at_the_teams_server_while_it_goes_on(team, mlrun, project, tmp_path):
    uri, client, new = team
    project.write("MLproject", 'entry_points: {main: {parameters: {gate: string, alpha: {default: "0.50"}}, '
                  'command: "python train.py {gate} # {alpha}"}}')  # fmt: skip
    project.write("train.py", CLIENT)
    commit = project.commit()
    env = {"PATH": f"{client}:{os.environ['PATH']}", "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    gate = tmp_path / "gate"
    argv = ("--env-manager", "local", "-P", f"gate={gate}", "--experiment-name", "live", "-m", "why")
    going = mlrun.popen("run", project.path, *argv, **env)
    try:
        there = until(
            lambda: next((run for run in runs_in(uri, "live") if "bad" in run["data"].get("metrics", {})), 0), 120
        )
        assert there["info"]["status"] == "RUNNING"
    finally:
        gate.touch()
        _, err = going.communicate(timeout=120)
    assert going.returncode == 0, err
    assert b"not all of the run" not in err
    by = {run["info"]["run_name"]: run for run in runs_in(uri, "live")}
    assert set(by) == {"renamed", "kid"}
    run = by["renamed"]
    run_id = run["info"]["run_id"]
    assert run["info"]["status"] == by["kid"]["info"]["status"] == "FINISHED"
    assert run["data"]["params"] == {"gate": str(gate), "alpha": "0.50", "beta": "2"}
    wanted = {
        "mlflow.source.type": "PROJECT", "mlflow.source.git.commit": commit, "mlflow.project.entryPoint": "main",
        "mlflow.source.name": f"file://{project.path}", "mlflow.project.env": "local", "mlflow.note.content": "why",
        "a/b": "ü", "mlrun.run_id": mlrun.show()["run"]["id"],
    }  # fmt: skip
    assert {name: run["data"]["tags"].get(name) for name in wanted} == wanted
    assert by["kid"]["data"]["tags"]["mlflow.parentRunId"] == run_id
    points = [(step, 1 / (step + 1)) for step in range(2500)]
    assert sorted(history(uri, run_id, "loss")) == points
    with urllib.request.urlopen(f"{uri}/get-artifact?path=d/%C3%BC%20t.txt&run_id={run_id}", timeout=60) as answer:
        assert answer.read() == b"hi"
    assert f"{uri}/#/experiments/{run['info']['experiment_id']}/runs/{run_id}" in mlrun("show", "latest").ok().out
    made = query(uri, "model-versions/search", filter=f"run_id = '{run_id}' and name = 'live model'")["model_versions"]
    assert {each["source"] for each in made} == {f"{run['info']['artifact_uri']}/a model"}
    assert {each["key"]: each["value"] for each in made[0]["tags"]}["k"] == "ü"
    best = query(uri, "registered-models/alias", name="live model", alias="champion")["model_version"]
    assert (best["version"], best["run_id"]) == ("2", run_id)
    # What may have come there, and was not noted here, is sent again and is there once.
    nothing = {"metrics": 0, "tracking": 0, "artifacts": "", "models": {}}
    nothing |= dict.fromkeys(("complete", "modeled", "registered"), False)
    for path in mlrun.directory().glob("published/*/*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), **nothing}))
    mlrun("publish", "latest", **env).ok()
    find_models(uri, run, client, env, new=new)
    assert sorted(history(uri, run_id, "loss")) == points
    assert len(runs_in(uri, "live")) == 2


def test_what_a_server_missed_follows(mlrun, project):
    with socket.socket() as nobody:  # bound, and not listening: a server that is down
        nobody.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        project.write("MLproject", METRIC + "      exit 3\n")
        said = mlrun("run", project.path, "--env-manager", "local", "--tracking-uri", down, "--experiment-name", "late")
    assert said.code == 3
    assert f"warning: not all of the run is at its server: the MLflow server {down} does not answer" in said.err
    assert "`mlrun publish " in said.err
    refused = mlrun("publish", "latest")
    assert refused.code == 125
    assert "does not answer" in refused.err
    with Small() as small:
        done = mlrun("publish", "latest", "--tracking-uri", small.uri, "--json").ok().json["published"][0]
        (run,) = small.runs.values()
    assert run["info"]["experiment_id"] == small.experiments["late"]
    assert (run["status"], run["metrics"]) == ("FAILED", [("loss", 0, 0.5)])
    assert done["run_id"] == run["info"]["run_id"]
    assert done["complete"]
    assert mlrun("verify", "latest").code == 0  # what is said of servers is no part of what the record seals


def test_a_detached_run_is_forwarded_by_who_waits_for_it(mlrun, project):
    with Small() as small:
        project.write("MLproject", METRIC)
        argv = ("--env-manager", "local", "--detach", "--experiment-id", "0")
        identity = mlrun("run", project.path, *argv, MLFLOW_TRACKING_URI=small.uri).ok().out.strip()
        assert small.runs == {}
        mlrun("wait", identity).ok()  # the run knows its server; the variable is not needed any more
        (there,) = small.runs.values()
        assert there["metrics"] == [("loss", 0, 0.5)]
        assert there["status"] == "FINISHED"


def test_a_re_run_is_in_the_experiment_of_the_run_that_it_repeats(mlrun, project):
    with Small() as small:
        argv = ("--env-manager", "local", "--experiment-name", "churn", "--tracking-uri", small.uri)
        mlrun("run", project.path, *argv).ok()
        past = mlrun.show()["run"]["id"]
        mlrun("rerun", past, "--tracking-uri", small.uri).ok()
        first, second = small.runs.values()
        assert first["info"]["experiment_id"] == second["info"]["experiment_id"] == small.experiments["churn"]
        assert second["tags"]["mlrun.rerun_of"] == past
        mlrun("rerun", past).ok()  # nobody asked for a server
        assert len(small.runs) == 2


@pytest.mark.parametrize(
    ("mood", "why"), [("broken", "answers 500"), ("closed", "refuses who asks: 401"), ("silent", "does not answer")]
)
def test_a_server_that_misbehaves_harms_no_run(mlrun, project, mood, why):
    with Small() as small:
        small.mood = mood
        said = mlrun("run", project.path, "--env-manager", "local", MLFLOW_TRACKING_URI=small.uri).ok()
        assert said.out == "hello\n"
        assert "warning: not all of the run is at its server" in said.err
        assert why in said.err
        assert mlrun.show()["run"]["status"] == "succeeded"
        if mood == "closed":
            refused = mlrun("publish", "latest")
            assert refused.code == 125
            assert "hint: set MLFLOW_TRACKING_USERNAME" in refused.err
        small.mood = "well"
        mlrun("publish", "latest").ok()
        assert next(iter(small.runs.values()))["status"] == "FINISHED"


def test_credentials_are_used_and_never_kept(mlrun, project, home):
    with Small() as small:
        with_user = small.uri.replace("http://", "http://ada:s3cr%40t@")
        said = mlrun("run", project.path, "--env-manager", "local", "--tracking-uri", with_user).ok()
        basic = "Basic " + base64.b64encode(b"ada:s3cr@t").decode()
        assert {authorization for _, _, authorization in small.asked} == {basic}
        environ = {"MLFLOW_TRACKING_USERNAME": "bob", "MLFLOW_TRACKING_PASSWORD": "hush9"}
        mlrun("run", project.path, "--env-manager", "local", MLFLOW_TRACKING_URI=small.uri, **environ).ok()
        assert small.asked[-1][2] == "Basic " + base64.b64encode(b"bob:hush9").decode()
    for word in (b"s3cr", b"hush9", basic[6:].encode()):
        assert word not in said.err.encode()
        assert [path for path in Path(home).rglob("*") if path.is_file() and word in path.read_bytes()] == []


def test_a_run_inside_a_run_follows_under_it_when_both_have_ended(mlrun, project):
    project.write("MLproject", "entry_points:\n  main: {command: mlrun run . -e inner --env-manager local}\n"
                  "  inner: {command: echo hello}\n")  # fmt: skip
    with Small() as small:
        said = mlrun("run", project.path, "--env-manager", "local", MLFLOW_TRACKING_URI=small.uri).ok()
        assert "hello" in said.out
        assert "warning" not in said.err
        main, inner = small.runs.values()
        assert main["tags"]["mlflow.project.entryPoint"] == "main"
        assert inner["tags"]["mlflow.parentRunId"] == main["info"]["run_id"]
    assert mlrun("publish", "latest", "--tracking-uri", "sqlite:///x").code == 2
    assert "no server is named" in mlrun("publish", mlrun("list", "--json").ok().json["runs"][0]["id"]).err
