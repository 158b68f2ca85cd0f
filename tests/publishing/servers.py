"""An MLflow server of a few lines, over real sockets, that can be told to misbehave."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Small(ThreadingHTTPServer):
    """Keeps what it is told; ``mood``: well, broken (500), closed (401), silent, or html."""

    daemon_threads = True

    def __init__(self, artifact_root="mlflow-artifacts:/0/{run}/artifacts"):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.mood = "well"
        self.unwanted = set()  # keys that are refused
        self.registry = 404  # the status that all its requests are answered with
        self.artifact_root = artifact_root
        self.asked = []  # method, path, authorization
        self.experiments = {"Default": "0"}
        self.runs = {}
        self.artifacts = {}
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class RefusalError(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


class _Answers(BaseHTTPRequestHandler):
    server: Small

    def log_message(self, *_):
        pass

    def _answer(self):
        server = self.server
        server.asked.append((self.command, self.path, self.headers.get("Authorization")))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if server.mood == "silent":
            time.sleep(60)
        status, data = {"broken": (500, b""), "closed": (401, b"who are you"), "html": (200, b"<html>")}.get(
            server.mood, (200, b"")
        )
        if server.mood == "well":
            try:
                data = json.dumps(self._do(body)).encode()
            except RefusalError as error:
                status, data = error.status, json.dumps({"error_code": error.code, "message": str(error)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - so http.server calls them

    def _do(self, body):  # noqa: PLR0911 - one for each question
        server = self.server
        path, _, query = self.path.partition("?")
        if self.command == "PUT":
            server.artifacts[path.removeprefix("/api/2.0/mlflow-artifacts/artifacts/")] = body
            return {}
        what = path.removeprefix("/api/2.0/mlflow/")
        said = dict(pair.split("=") for pair in query.split("&")) if query else json.loads(body)
        if what.startswith("experiments/"):
            return self._experiment(what, said)
        if what == "runs/search":
            wanted = said["filter"].split("'")[1]
            return {"runs": [r for r in server.runs.values() if r["tags"].get("mlrun.run_id") == wanted]}
        if what == "runs/create":
            run_id = f"run{len(server.runs)}"
            info = {"run_id": run_id, "experiment_id": said["experiment_id"], "lifecycle_stage": "active"}
            info["artifact_uri"] = server.artifact_root.format(run=run_id)
            tags = {tag["key"]: tag["value"] for tag in said["tags"]}
            server.runs[run_id] = {"info": info, "tags": tags, "params": {}, "metrics": [], "name": said["run_name"]}
            return {"run": server.runs[run_id]}
        if what.startswith("logged-models"):
            raise RefusalError(404, "ENDPOINT_NOT_FOUND", "there are no logged models")
        if what.startswith(("registered-models/", "model-versions/")):
            raise RefusalError(server.registry, "ENDPOINT_NOT_FOUND", "there is no registry")
        run = server.runs[said["run_id"]]
        if what == "runs/get":
            return {"run": run}
        if what == "runs/log-batch":
            return self._batch(run, said)
        if what == "runs/update":
            run.update({key: said[key] for key in ("status", "end_time") if key in said})
        return {}

    def _experiment(self, what, said):
        server = self.server
        if what == "experiments/get-by-name":
            if said["experiment_name"] not in server.experiments:
                raise RefusalError(404, "RESOURCE_DOES_NOT_EXIST", "no such experiment")
            return {"experiment": {"experiment_id": server.experiments[said["experiment_name"]]}}
        server.experiments[said["name"]] = str(len(server.experiments))
        return {"experiment_id": server.experiments[said["name"]]}

    def _batch(self, run, said):
        rows = [*said.get("params", ()), *said.get("tags", ()), *said.get("metrics", ())]
        unwanted = [row["key"] for row in rows if row["key"] in self.server.unwanted]
        if unwanted:
            raise RefusalError(400, "INVALID_PARAMETER_VALUE", f"not {unwanted[0]}")
        run["params"].update({row["key"]: row["value"] for row in said.get("params", ())})
        run["tags"].update({row["key"]: row["value"] for row in said.get("tags", ())})
        run["metrics"] += [(row["key"], row["step"], row["value"]) for row in said.get("metrics", ())]
        return {}
