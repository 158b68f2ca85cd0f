"""`mlrun verify --all` over many runs, beside `sha256sum` over the same files: `python -m benchmarks.verify [RUNS]`.

The runs are written as they stand on disk after `mlrun run`: sealed, with every file listed. They share their objects.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.flow.verify import verify
from runner.records.contents import line
from runner.records.finish import finish
from runner.store.store import Store, new_id
from runner.worker.facts import Actor, Request, SourceFacts
from runner.worker.files import pretty
from runner.worker.manifest import FILE, Entry, encode_manifest
from runner.worker.results import FileFact, Files, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import EnvironmentSpec, Parameter, RunSpec, Snapshot

_SOURCES = 30
_TIMES = ("2026-01-01T00:00:00.000+00:00", "2026-01-01T00:01:00.000+00:00")


def first_run(store: Store) -> RunDirectory:
    """Return a run such as a small project leaves."""
    files = {f"src/module_{number}.py": b"x = 1\n" * 100 * number for number in range(_SOURCES)}
    entries = [Entry(path.encode(), FILE, store.objects.add(data)) for path, data in files.items()]
    spec = RunSpec(
        *("bench", "main", (Parameter("alpha", "float", "0.5"),), "python train.py {alpha}"),
        *(Snapshot(store.objects.add(encode_manifest(entries)), "directory"), EnvironmentSpec("host")),
    )
    request = Request(new_id(), _TIMES[0], Actor("bench"), ".", ("mlrun", "run"), "/", "mlproject-runner 0")
    run = store.create(request, spec, SourceFacts("directory", "/x"))
    output = FileFact("model.bin", 9, store.objects.add(b"the model"), "declared", stored=True)
    run.write_files(run.outputs, Files((output,)))
    run.stdout.write_text("epoch 1\n" * 100)
    run.metrics.write_text('{"name": "rmse", "value": 0.25}\n')
    run.write(Outcome("succeeded", _TIMES[1], exit_code=0))
    return run


def fill(store: Store, number: int) -> None:
    """Write many runs after the first one, each sealed."""
    run = first_run(store)
    record = finish(run, store)
    assert isinstance(record, dict)
    text, sealed = pretty(record), hashlib.sha256(run.contents.read_bytes()).hexdigest().encode()
    names = ("request.json", "spec.json", "source.json", "outputs.json", "outcome.json", "stdout.log", "metrics.jsonl")
    content = {name: (run.path / name).read_bytes() for name in names}
    for _ in range(number - 1):
        identity = new_id()
        mine = {**content, "request.json": content["request.json"].replace(run.id.encode(), identity.encode())}
        listed = b"".join(line(name, hashlib.sha256(mine[name]).hexdigest()) for name in sorted(mine))
        digest = hashlib.sha256(listed).hexdigest().encode()
        data = text.replace(run.id.encode(), identity.encode()).replace(sealed, digest)
        seal = f"{hashlib.sha256(data).hexdigest()}  record.json\n".encode()
        directory = store.root / "runs" / identity
        directory.mkdir()
        for name, bytes_ in {
            **mine,
            "contents.sha256": listed,
            "record.json": data,
            "record.json.sha256": seal,
        }.items():
            (directory / name).write_bytes(bytes_)


def main() -> None:
    """Fill a store in a temporary directory, time, and print."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as name:
        store = Store.open(Path(name) / "home", Path(name) / "cache")
        start = time.perf_counter()
        fill(store, number)
        print(f"{number:,} runs written in {time.perf_counter() - start:.1f} s")
        store.index.rebuild()
        start = time.perf_counter()
        result = verify(store, store.runs(), everything=True)
        took = time.perf_counter() - start
        assert result.whole, result.findings[:3]
        assert len(result.runs) == number
        print(f"verify --all        {took:8.1f} s  {took / number * 1000:6.2f} ms for each run")
        start = time.perf_counter()
        argv = "find runs objects -type f -print0 | xargs -0 sha256sum > /dev/null"
        subprocess.run(["sh", "-c", argv], cwd=store.root, check=True, env=dict(os.environ))
        peer = time.perf_counter() - start
        print(f"sha256sum, all files{peer:8.1f} s  {peer / number * 1000:6.2f} ms for each run")
        print(f"ratio {took / peer:.1f}")


if __name__ == "__main__":
    main()
