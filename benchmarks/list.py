"""`mlrun list` over 100,000 runs, beside the bare interpreter: `python -m benchmarks.list [RUNS]`.

The runs are written as sealed records, as they stand on disk after `mlrun run`; the index is rebuilt from them.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.timing import Case, in_turn, report
from runner.records.finish import finish
from runner.store.expression import parse
from runner.store.index import Filter
from runner.store.store import Store, new_id
from runner.worker.facts import Actor, InstalledEnvironment, Package, Request, SourceFacts
from runner.worker.files import pretty
from runner.worker.results import FileFact, Files, Outcome
from runner.worker.spec import EnvironmentSpec, Parameter, RunSpec, Snapshot

_PACKAGES = 20


def template(store: Store) -> dict[str, Any]:
    """Return a record such as a run of a small project leaves."""
    spec = RunSpec(
        *("bench", "main", (Parameter("alpha", "float", "0.5"), Parameter("data", "path", "/data/train.csv"))),
        *("python train.py {alpha} {data}", Snapshot("0" * 64, "directory"), EnvironmentSpec("virtualenv")),
    )
    actor = Actor("bench", "B", "b@example.org")
    request = Request(
        new_id(), "2026-01-01T00:00:00.000+00:00", actor, ".", ("mlrun", "run"), "/", "mlproject-runner 0"
    )
    run = store.create(request, spec, SourceFacts("directory", "/x"))
    packages = tuple(Package(f"package-{number}", "1.0", ("1" * 64,)) for number in range(_PACKAGES))
    run.write(InstalledEnvironment("virtualenv", "/e", "/e/bin", lock="2" * 64, packages=packages))
    run.write_files(run.outputs, Files((FileFact("model.bin", 9, "3" * 64, "declared", stored=True),)))
    run.metrics.write_text('{"name": "rmse", "value": 0.25}\n')
    run.write(Outcome("succeeded", "2026-01-01T00:01:00.000+00:00", exit_code=0))
    record = finish(run, store)
    store.remove(run)
    assert isinstance(record, dict)
    return record


def fill(store: Store, number: int) -> None:
    """Write the records of many runs, each a little different."""
    record = copy.deepcopy(template(store))
    begin = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for each in range(number):
        identity = new_id()
        record["run"].update(
            id=identity,
            name=f"run-{each}" if each % 10 == 0 else "",
            status="failed" if each % 7 == 0 else "succeeded",
            created=(begin + timedelta(minutes=each)).isoformat(timespec="milliseconds"),
        )
        record["entry_point"]["project"] = f"project-{each % 50}"
        record["parameters"][0]["raw"] = str(each % 100 / 100)
        record["metrics"]["series"][0]["last"] = each / number
        record["outputs"][0]["digest"]["sha256"] = f"{each:064x}"
        directory = store.root / "runs" / identity
        directory.mkdir()
        (directory / "record.json").write_bytes(pretty(record))


def median_ms(action: Any, rounds: int = 9) -> float:
    """Return how long an action takes in this process, in ms."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def _where(text: str) -> Filter:
    return Filter(where=parse(text))


def in_process(store: Store, number: int) -> None:
    """Print the times of the questions that lists ask."""
    find = f"{number // 2:064x}"
    questions = {
        "the newest 20": lambda: store.index.query(limit=20),
        "of a project, 20": lambda: store.index.query(Filter(project="project-7"), limit=20),
        "failed, 20": lambda: store.index.query(Filter(status="failed"), limit=20),
        "by a parameter, 20": lambda: store.index.query(Filter(params={"alpha": "0.5"}), limit=20),
        "by a metric, best 20": lambda: store.index.query(sort="metrics.rmse", limit=20),
        "where a metric is small, 20": lambda: store.index.query(_where("metrics.rmse < 0.8"), limit=20),
        "where few are, 20": lambda: store.index.query(_where("metrics.rmse < 0.0001"), limit=20),
        "where two things hold, 20": lambda: store.index.query(
            _where('metrics.rmse < 0.8 and params.alpha = "0.5"'), limit=20
        ),
        "a run by a part of its id": lambda: store.find(store.recent(1)[0].id[-8:]),
        "who wrote a digest": lambda: store.index.producers(find),
        "runs not sealed": store.open_runs,
    }
    print(f"\nin process, ms, over {number:,} runs")
    for name, question in questions.items():
        print(f"{name:28}{median_ms(question):10.1f}")


def main() -> None:
    """Fill a store in a temporary directory, time, and print."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as name:
        scratch = Path(name)
        env = {**os.environ, "MLRUN_HOME": str(scratch / "home"), "MLRUN_CACHE": str(scratch / "cache")}
        store = Store.open(scratch / "home", scratch / "cache")
        start = time.perf_counter()
        fill(store, number)
        print(f"{number:,} records written in {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        assert store.index.rebuild() == number
        print(f"index rebuilt in {time.perf_counter() - start:.1f} s, {store.index.size / 1e6:.0f} MB")
        in_process(store, number)
        cases = [
            Case("bare python", [sys.executable, "-c", ""], scratch, env),
            Case("mlrun --version", [sys.executable, "-m", "runner", "--version"], scratch, env),
            Case("mlrun list", [sys.executable, "-m", "runner", "list"], scratch, env),
            Case(
                "mlrun list --where",
                [sys.executable, "-m", "runner", "list", "--where", 'metrics.rmse < 0.8 and params.alpha = "0.5"'],
                scratch,
                env,
            ),
            Case(
                "mlrun list -n 20 --json", [sys.executable, "-m", "runner", "list", "-n", "20", "--json"], scratch, env
            ),
        ]
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent.parent), env.get("PYTHONPATH"))))
        print(f"\nas a command, over {number:,} runs")
        print(report(in_turn(cases), "bare python"))
        listed = json.loads(_said(cases[-1]))
        assert len(listed["runs"]) == min(20, number)


def _said(case: Case) -> bytes:
    import subprocess

    return subprocess.run(case.argv, env=case.env, cwd=case.cwd, capture_output=True, check=True).stdout


if __name__ == "__main__":
    main()
