"""`log_metric` by MLflow's own client: to the endpoint of a run, and to `mlflow server` with SQLite.

`python -m benchmarks.tracking --mlflow DIR` takes a virtual environment that has MLflow; both sides run in turn.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

_SCRIPT = """\
import sys, time, mlflow
number = int(sys.argv[1])
with mlflow.start_run():
    mlflow.log_metric("loss", 0.0, step=0)
    start = time.perf_counter()
    for step in range(1, number + 1):
        mlflow.log_metric("loss", 1 / step, step=step)
    print("rate", number / (time.perf_counter() - start))
"""
_MLPROJECT = "name: rate\nentry_points:\n  main: {command: python rate.py %d}\n"


def rate(argv: list[str | Path], cwd: Path, env: dict[str, str]) -> float:
    """Return the points a second that the script says it logged."""
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    found = re.search(r"^rate ([\d.]+)$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        message = f"{argv[0]} failed ({done.returncode}): {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return float(found[1])


def serve(mlflow: Path, scratch: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start `mlflow server` with a SQLite store, and wait until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [mlflow / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += ["--backend-store-uri", f"sqlite:///{scratch / 'mlflow.db'}", "--default-artifact-root", scratch / "art"]
    with (scratch / "server.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=scratch, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return process, uri
    process.kill()
    message = "mlflow server does not start: " + (scratch / "server.log").read_text()[-2000:]
    raise RuntimeError(message)


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlflow", type=Path, required=True, metavar="DIR")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    bin_ = args.mlflow.absolute() / "bin"
    names = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as directory:
        scratch = Path(directory)
        project = scratch / "project"
        project.mkdir()
        (project / "MLproject").write_text(_MLPROJECT % args.points)
        (project / "rate.py").write_text(_SCRIPT)
        env = {**os.environ, **names, "MLRUN_HOME": str(scratch / "home"), "MLRUN_CACHE": str(scratch / "cache")}
        process, uri = serve(bin_, scratch)
        try:
            for _ in range(args.rounds):
                mlrun = [sys.executable, "-m", "runner", "run", project, "--env-manager", "local"]
                ours.append(rate([*mlrun], scratch, env))
                argv = [bin_ / "python", project / "rate.py", str(args.points)]
                theirs.append(rate([*argv], scratch, {**os.environ, **names, "MLFLOW_TRACKING_URI": uri}))
        finally:
            os.killpg(process.pid, 9)
            process.wait()
    for name, rates in (("mlrun", ours), ("mlflow server, SQLite", theirs)):
        print(f"{name:24}{statistics.median(rates):10.0f} points/s   ({min(rates):.0f} to {max(rates):.0f})")
    print(f"{'ratio':24}{statistics.median(ours) / statistics.median(theirs):10.1f}")


if __name__ == "__main__":
    main()
