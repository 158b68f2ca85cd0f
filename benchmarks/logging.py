"""What logging costs: many points, many artifacts, a server's memory, and a run that never logs.

`python -m benchmarks.logging` needs no MLflow; `benchmarks.tracking` measures its client against its own server.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import runner
from runner.worker.execution import artifacts
from runner.worker.objects import Objects
from runner.worker.results import Files
from runner.worker.rundir import RunDirectory
from runner.worker.tracking.endpoint import Endpoint

_ROUNDS = 5
_POINTS = 100_000
_ARTIFACTS = 10_000
_TOKEN = "benchmark"
_WORKER = Path(runner.__file__).parent / "worker" / "__main__.py"
_WRITE = """\
import json, os
with open(os.environ["MLRUN_METRICS"], "w") as stream:
    for step in range(%d):
        line = {"name": "m%%d" %% (step %% %d), "value": 1 / (step + 1), "step": step, "timestamp": step}
        stream.write(json.dumps(line) + "\\n")
"""


def seconds(act: Callable[[], object]) -> float:
    """Return how long a call took."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def show(scratch: Path, series: int) -> tuple[float, float]:
    """Return the median time of `mlrun show` on a run with many points, and of `mlrun --version`."""
    project = scratch / f"points-{series}"
    project.mkdir()
    (project / "MLproject").write_text("name: points\nentry_points:\n  main: {command: python3 write.py}\n")
    (project / "write.py").write_text(_WRITE % (_POINTS, series))
    env = {**os.environ, "MLRUN_HOME": str(scratch / "home"), "MLRUN_CACHE": str(scratch / "cache")}

    def mlrun(*argv: str | Path) -> float:
        call = [sys.executable, "-m", "runner", *map(str, argv)]
        return seconds(lambda: subprocess.run(call, env=env, check=True, capture_output=True))

    mlrun("run", project, "--env-manager", "local")
    shown = statistics.median(mlrun("show", "latest") for _ in range(_ROUNDS))
    return shown, statistics.median(mlrun("--version") for _ in range(_ROUNDS))


def keep(scratch: Path) -> tuple[list[float], list[float]]:
    """Return the times to seal small artifacts, and to copy and hash the same files, in turn."""
    run = RunDirectory(scratch / "sealed")
    ours, theirs = [], []
    for number in range(_ROUNDS):
        run.artifacts.mkdir(parents=True)
        for index in range(_ARTIFACTS):
            (run.artifacts / f"{index:05}.json").write_bytes(secrets.token_bytes(600))
        names = [f"{index:05}.json" for index in range(_ARTIFACTS)]
        copy, store = scratch / f"copy-{number}", scratch / f"store-{number}"
        theirs.append(seconds(lambda names=names, copy=copy: _copy(run.artifacts, names, copy)))  # type: ignore[misc]
        ours.append(seconds(lambda store=store: artifacts.seal(run, Files(), Objects(store))))  # type: ignore[misc]
        for directory in (run.path, copy, store):
            shutil.rmtree(directory)
    return ours, theirs


def _copy(source: Path, names: list[str], target: Path) -> None:
    target.mkdir()
    for name in names:
        shutil.copy(source / name, target / name)
        hashlib.sha256((target / name).read_bytes()).hexdigest()


def memory(scratch: Path) -> tuple[int, int]:
    """Return the memory in bytes of a run's server after 1,000 points and after all of them."""
    import socket

    run = RunDirectory(scratch / "served")
    run.path.mkdir()
    listening = socket.create_server(("127.0.0.1", 0))
    theirs, ours = os.pipe()
    os.write(ours, f"{_TOKEN}\n".encode())
    inherited = (listening.fileno(), theirs)
    argv = [sys.executable, "-S", "-E", str(_WORKER), "serve", str(run.path), *map(str, inherited)]
    server = subprocess.Popen(argv, pass_fds=inherited)
    connection = http.client.HTTPConnection(*listening.getsockname())
    seen = []
    for first in range(0, _POINTS, 1000):
        points = [{"key": "loss", "value": 1 / (s + 1), "step": s, "timestamp": s} for s in range(first, first + 1000)]
        body = json.dumps({"run_id": run.id.replace("-", ""), "metrics": points})
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        connection.request("POST", "/api/2.0/mlflow/runs/log-batch", body, headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()  # noqa: PLR2004
        answer.read()
        seen.append(int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    os.write(ours, b".")
    server.wait()
    return seen[0], seen[-1]


def never(scratch: Path) -> float:
    """Return what the endpoint of a run that never logs costs its worker."""

    def hold() -> None:
        with Endpoint(RunDirectory(scratch)) as endpoint:
            endpoint.surround(dict(os.environb))
            endpoint.tend()

    return statistics.median(seconds(hold) for _ in range(200))


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as directory:
        scratch = Path(directory)
        for series in (1, 10):
            shown, version = show(scratch, series)
            both = f"{shown * 1000:.0f} ms; mlrun --version: {version * 1000:.0f} ms"
            print(f"show, {_POINTS:,} points in {series} series: {both}")
        ours, theirs = map(statistics.median, keep(scratch))
        print(f"{_ARTIFACTS:,} artifacts: {ours:.2f} s; copy and hash: {theirs:.2f} s; ratio {ours / theirs:.2f}")
        first, last = memory(scratch)
        print(f"memory of the server after 1,000 and {_POINTS:,} points: {first / 1e6:.1f} and {last / 1e6:.1f} MB")
        print(f"the endpoint of a run that never logs: {never(scratch) * 1e6:.0f} us")


if __name__ == "__main__":
    main()
