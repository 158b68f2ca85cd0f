"""The endpoint in a real run: bound before the command, started by its first connection, gone after it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.worker.facts import Start
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.tracking.endpoint import Endpoint
from tests.needs import need, python
from tests.worker.runs import until
from tests.worker.tracking.conftest import lines

PYENV = os.environ.get("PYENV_ROOT") or str(Path("~/.pyenv").expanduser())  # before a test has a home of its own
LOG = """
import json, os, sys, urllib.request
def ask(path, fields, token=None):
    request = urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + path, json.dumps(fields).encode(),
        {"Authorization": "Bearer " + (token or os.environ["MLFLOW_TRACKING_TOKEN"])})
    return json.load(urllib.request.urlopen(request, timeout=20))
def log(name, value):
    ask("runs/log-metric", {"run_id": os.environ["MLFLOW_RUN_ID"], "key": name, "value": value})
"""


def command(bench, text):
    (bench.project / "log.py").write_text(LOG + text)
    return f"{sys.executable} log.py"


def servers(run):
    """The pids of the servers of a run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and os.fsencode(run.path) in words:
            found.append(int(process.name))
    return found


def test_what_a_command_logs_is_in_the_run_directory(bench):
    run = bench.carry_out(command(bench, "log('a', 1); log('b', 2)"))
    assert run.find(Outcome).status == "succeeded", run.stderr.read_text()
    assert [each["name"] for each in lines(run.metrics)] == ["a", "b"]
    assert run.worker_log.read_text() == ""
    assert servers(run) == []


def test_a_run_that_never_logs_starts_no_server_and_leaves_no_file(bench):
    run = bench.carry_out("pgrep -f serve.$MLRUN_RUN_DIR >&2; env >env.txt")
    environ = dict(line.split("=", 1) for line in (bench.project / "env.txt").read_text().splitlines() if "=" in line)
    assert environ["MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1:")
    assert environ["MLFLOW_RUN_ID"] == run.id.replace("-", "")
    assert environ["MLFLOW_EXPERIMENT_ID"] == "0"
    assert run.stderr.read_text() == ""
    assert not [
        path.name for path in run.path.iterdir() if path.name in ("tracking.jsonl", "metrics.jsonl", "children")
    ]


def test_the_token_is_in_no_file_and_no_command_line(bench):
    text = """
log("a", 1)
from pathlib import Path
token = os.environ["MLFLOW_TRACKING_TOKEN"]
print(len(token), [str(path) for path in Path("/proc").glob("[0-9]*/cmdline") if token in path.read_text()])
for path in Path("/proc").glob("[0-9]*"):
    try:
        words = (path / "cmdline").read_bytes().split(b"\\0")
        if b"serve" in words and token.encode() in (path / "environ").read_bytes():
            print("in the server's environment")
    except OSError:
        pass
Path(sys.argv[1]).write_text(token)
"""
    secret = bench.home / "token"
    run = bench.carry_out(f"{command(bench, text)} {secret}", environ={"MLFLOW_TRACKING_TOKEN": "declared"})
    token = secret.read_text()
    assert run.stdout.read_text() == f"{len(token)} []\n"
    assert len(token) >= 40
    for path in run.path.rglob("*"):
        assert not path.is_file() or token not in path.read_text("latin-1"), path
    assert run.find(Start).environ["MLFLOW_TRACKING_TOKEN"] == "declared"


def test_what_a_caller_set_for_another_server_does_not_reach_the_command(bench):
    foreign = {
        "MLFLOW_TRACKING_URI": "http://elsewhere.example", "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "mine", "MLFLOW_TRACKING_AUTH": "plugin", "MLFLOW_WORKSPACE": "w",
        "MLFLOW_REGISTRY_URI": "http://elsewhere.example",
        "MLFLOW_TRACKING_AWS_SIGV4": "true", "NO_PROXY": "example.org, .corp", "http_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    run = bench.carry_out(command(bench, "log('a', 1); print(json.dumps(dict(os.environ)))"), env=foreign)
    environ = json.loads(run.stdout.read_text())
    assert "mine" not in environ.values()
    assert "elsewhere" not in environ["MLFLOW_TRACKING_URI"]
    assert environ["MLFLOW_TRACKING_PASSWORD"] == environ["MLFLOW_TRACKING_TOKEN"]
    removed = {"MLFLOW_TRACKING_AUTH", "MLFLOW_WORKSPACE", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_REGISTRY_URI"}
    assert not removed & environ.keys()
    assert environ["NO_PROXY"] == environ["no_proxy"] == "example.org,.corp,127.0.0.1"


@pytest.mark.parametrize("names", ["*", "127.0.0.1", "a, 127.0.0.1"])
def test_exceptions_from_the_proxy_that_are_enough_stay_as_they_are(tmp_path, names):
    with Endpoint(RunDirectory(tmp_path)) as endpoint:
        environ = endpoint.surround({b"no_proxy": names.encode()})
    assert environ[b"no_proxy"] == environ[b"NO_PROXY"] == names.encode()


def test_where_the_server_dies_the_next_connection_finds_another(bench):
    text = """
import subprocess, time
log("a", 1)
pid = subprocess.run(["pgrep", "-f", "serve " + os.environ["MLRUN_RUN_DIR"]], capture_output=True, text=True).stdout
os.kill(int(pid), 9)
time.sleep(0.2)
log("b", 2)
"""
    run = bench.carry_out(command(bench, text))
    assert run.find(Outcome).status == "succeeded", run.stderr.read_text()
    assert [each["name"] for each in lines(run.metrics)] == ["a", "b"]


def test_a_server_that_always_dies_is_given_up_and_said(bench):
    text = """
import socket, time, urllib.parse
place = urllib.parse.urlsplit(os.environ["MLFLOW_TRACKING_URI"])
for number in range(200):
    try:
        socket.create_connection((place.hostname, place.port), 5).recv(1)
    except ConnectionRefusedError:
        break
    except ConnectionError:
        pass
print("refused after", number > 0)
"""
    run = bench.prepared(command(bench, text))
    run.tracking.mkdir()  # which no server can read
    assert bench.start(run).wait(60) == 0
    outcome = run.find(Outcome)
    assert outcome.status == "succeeded", run.stderr.read_text()
    assert run.stdout.read_text() == "refused after True\n"
    assert [(gap.field, "worker.log" in gap.reason) for gap in outcome.gaps] == [("tracking", True)]


def test_the_server_is_no_part_of_the_command(bench):
    run = bench.carry_out(command(bench, "log('a', 1)"))
    outcome = run.find(Outcome)
    assert (outcome.left_behind, outcome.gaps) == (0, ())


def test_what_is_left_behind_still_logs_while_it_is_ended(bench):
    text = """
import signal, time
if os.fork():
    os._exit(0)
def last(*_):
    log("last", 3)
    os._exit(0)
signal.signal(signal.SIGTERM, last)
open("ready", "w").close()
time.sleep(60)
"""
    run = bench.carry_out(command(bench, text))
    assert [each["name"] for each in lines(run.metrics)] == ["last"]
    assert run.find(Outcome).left_behind == 1


def test_where_the_worker_is_killed_the_command_goes_on_logging(bench):
    text = """
import time
log("a", 1)
while not os.path.exists("go"):
    time.sleep(0.01)
log("b", 2)
"""
    run = bench.prepared(command(bench, text))
    worker = bench.start(run)
    until(run.metrics.exists)
    worker.kill()
    worker.wait()
    assert len(servers(run)) == 1
    (bench.project / "go").touch()
    until(lambda: len(run.metrics.read_text().splitlines()) == 2)
    until(lambda: servers(run) == [])
    assert [each["name"] for each in lines(run.metrics)] == ["a", "b"]


def test_cancelling_a_run_that_logs_ends_the_server(bench):
    run = bench.prepared(command(bench, "log('a', 1)\nimport time; time.sleep(60)"))
    worker = bench.start(run)
    until(run.metrics.exists)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert run.find(Outcome).status == "killed"
    assert servers(run) == []


STRANGER = """
import base64, glob, json, os, sys, urllib.error, urllib.request
uri, run, child = sys.argv[1:]
def ask(**headers):
    fields = json.dumps({"run_id": "x", "key": "stranger", "value": 1}).encode()
    request = urllib.request.Request(uri + "/api/2.0/mlflow/runs/log-metric", fields, headers)
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
def opens(path):
    try:
        return bool(open(path, "rb").read(1))
    except OSError:
        return False
basic = "Basic " + base64.b64encode(b"mlrun:guess").decode()
answers = [ask(), ask(Authorization="Bearer guess"), ask(Authorization=basic)]
def words(process):
    try:
        return open(process + "/cmdline", "rb").read()
    except OSError:
        return b""
pids = [p for p in glob.glob("/proc/[0-9]*") if run.encode() in words(p) and p != f"/proc/{os.getpid()}"]
secret = [f"/proc/{child}/environ", *(f"{p}/{name}" for p in pids for name in ("environ", "mem", "fd/0", "fd/3"))]
print(json.dumps([os.getuid(), answers, len(pids), [p for p in secret if opens(p)], os.access(run, os.R_OK | os.X_OK)]))
"""


def test_another_user_of_the_machine_is_refused_and_finds_no_token(bench):
    need("root", os.getuid() == 0 and shutil.which("setpriv"), "only root can be another user")
    text = """
import time
log("mine", 1)
open("ready", "w").write(os.environ["MLFLOW_TRACKING_URI"] + " " + str(os.getpid()))
while not os.path.exists("go"):
    time.sleep(0.01)
log("mine", 2)
"""
    run = bench.prepared(command(bench, text))
    run.path.chmod(0o700)
    worker = bench.start(run)
    until(lambda: len(run.metrics.read_text().splitlines()) == 1 if run.metrics.exists() else False, 30)
    ready = bench.project / "ready"
    until(lambda: ready.exists() and ready.read_text())
    uri, child = ready.read_text().split()
    stranger = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", "/usr/bin/python3", "-c", STRANGER]
    said = subprocess.run([*stranger, uri, str(run.path), child], capture_output=True, text=True, check=False, cwd="/")
    (bench.project / "go").touch()
    assert worker.wait(60) == 0
    assert said.returncode == 0, said.stderr
    user, answers, processes, opened, enters = json.loads(said.stdout)
    assert (user, answers, opened, enters) == (65533, [401, 401, 401], [], False)
    assert processes >= 2  # the worker and its server were looked at
    assert [each["name"] for each in lines(run.metrics)] == ["mine", "mine"]


def test_an_old_python_serves_too(bench, monkeypatch):
    monkeypatch.setenv("PYENV_ROOT", PYENV)
    text = """
log('a', 1)
ask('logged-models', {'name': 'm'})
os.mkdir(os.environ["MLRUN_RUN_DIR"] + "/artifacts")
open(os.environ["MLRUN_RUN_DIR"] + "/artifacts/a", "w").write("a")
"""
    run = bench.prepared(command(bench, text))
    assert bench.start(run, python=python("3.9")).wait(30) == 0, run.worker_log.read_text()
    assert run.find(Outcome).status == "succeeded", run.stderr.read_text()
    assert len(lines(run.metrics)) == len(lines(run.tracking)) == 1
    assert [(fact.path, fact.stored) for fact in run.read_files(run.outputs).files][-1] == ("artifacts/a", True)
