"""`mlrun lineage` over 100,000 runs that made files of one another's: `python -m benchmarks.lineage [RUNS]`.

Each run reads the output of one before it, in chains of ten; the index is rebuilt from the sealed records.
"""

from __future__ import annotations

import copy
import hashlib
import os
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.list import median_ms, template
from benchmarks.timing import Case, in_turn, report
from runner.records.lineage import DOWN, UP, Subject, trace
from runner.store.store import Store, new_id
from runner.worker.files import pretty

_CHAIN = 10  # runs from outside data to the last file


def digest(number: int) -> str:
    """Return the digest of the file that a run makes."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def fill(store: Store, number: int) -> None:
    """Write sealed records of runs in chains."""
    record: dict[str, Any] = copy.deepcopy(template(store))
    begin = datetime(2025, 1, 1, tzinfo=timezone.utc)
    for each in range(number):
        identity = new_id()
        created = (begin + timedelta(minutes=each)).isoformat(timespec="milliseconds")
        record["run"].update(id=identity, name="", created=created)
        record["outputs"][0].update(path="out.bin", digest={"sha256": digest(each)})
        source = digest(each - 1) if each % _CHAIN else hashlib.sha256(b"outside").hexdigest()
        record["inputs"] = [{"path": "in.bin", "size": 9, "digest": {"sha256": source}, "basis": "declared"}]
        record["inputs"][0].update(produced_by=[], changed=False, stored=False, name="in.bin", parameter=None, mode=420)
        directory = store.root / "runs" / identity
        directory.mkdir()
        data = pretty(record)
        (directory / "record.json").write_bytes(data)
        (directory / "record.json.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  record.json\n")


def main() -> None:
    """Fill a store in a temporary directory, time, and print."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as name:
        scratch = Path(name)
        env = {**os.environ, "MLRUN_HOME": str(scratch / "home"), "MLRUN_CACHE": str(scratch / "cache")}
        store = Store.open(scratch / "home", scratch / "cache")
        fill(store, number)
        start = time.perf_counter()
        assert store.index.rebuild() == number
        print(f"index of {number:,} runs rebuilt in {time.perf_counter() - start:.1f} s")
        last, first = Subject(sha256=digest(number - 1)), Subject(sha256=digest(number - _CHAIN))
        assert len(trace(last, store, UP).steps) == _CHAIN
        print(f"in process: up a chain of {_CHAIN} {median_ms(lambda: trace(last, store, UP)):.1f} ms")
        print(f"in process: down {median_ms(lambda: trace(first, store, DOWN)):.1f} ms")
        words = [sys.executable, "-m", "runner", "lineage"]
        cases = [
            Case("bare python", [sys.executable, "-c", ""], scratch, env),
            Case("mlrun lineage DIGEST", [*words, digest(number - 1)], scratch, env),
            Case("mlrun lineage DIGEST --down", [*words, digest(number - _CHAIN), "--down"], scratch, env),
        ]
        print(report(in_turn(cases), "bare python"))


if __name__ == "__main__":
    main()
