"""A run's tracking server as the worker starts it, spoken to without MLflow."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.worker.runs import FLAGS, WORKER, until

TOKEN = "the-token-of-this-run"


@dataclass
class Served:
    """A server, its run, and a client of one connection."""

    run: object
    process: subprocess.Popen
    port: int
    lifeline: int

    def __post_init__(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.id = self.run.id.replace("-", "")

    def ask(self, method, path, fields=None, token=TOKEN, connection=None, headers=None):
        """Return status and JSON of an answer."""
        connection = connection or self.connection
        path = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
        body = None
        if method == "GET":
            path += "?" + urlencode(fields or {}, doseq=True)
        else:
            body = fields if isinstance(fields, bytes) else json.dumps(fields or {})
        headers = headers if headers is not None else {"Authorization": f"Bearer {token}"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path, /, **fields):
        status, data = self.ask("GET", path, fields)
        assert status == 200, data
        return data

    def post(self, path, method="POST", /, **fields):
        status, data = self.ask(method, path, fields)
        assert status == 200, data
        return data

    def refusal(self, path, method="POST", /, **fields):
        status, data = self.ask(method, path, fields)
        assert 400 <= status <= 507, data
        assert set(data) == {"error_code", "message"}
        return status, data["error_code"], data["message"]

    def data(self, run_id=None):
        return self.get("runs/get", run_id=run_id or self.id)["run"]

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def end(self):
        """End it as the worker does, and return its exit code."""
        self.connection.close()
        os.write(self.lifeline, b".")
        return self.process.wait(10)

    def memory(self):
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def launch(run, token=TOKEN, python=sys.executable):
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listening.getsockname()[1]
    theirs, ours = os.pipe()
    os.write(ours, token.encode() + b"\n")
    inherited = (listening.fileno(), theirs)
    argv = [python, *FLAGS, str(WORKER), "serve", str(run.path), *map(str, inherited)]
    with run.worker_log.open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=inherited)
    os.close(theirs)
    listening.close()
    return Served(run, process, port, ours)


@pytest.fixture
def run(bench):
    return bench.prepared("true")


@pytest.fixture
def served(run):
    served = launch(run)
    served.data()  # it has imported all it needs
    yield served
    served.connection.close()
    if served.process.poll() is None:
        served.process.send_signal(signal.SIGKILL)
    served.process.wait()
    os.close(served.lifeline)
    assert run.worker_log.read_text() == ""


__all__ = ["TOKEN", "Served", "basic", "launch", "lines", "until"]
