"""Whether the index says of the runs what their directories say: it is derived from them, and from nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runner.store import tables
from runner.store.summary import read
from runner.worker.rundir import RunDirectory

if TYPE_CHECKING:
    import sqlite3

_ROWS = {
    "run": "SELECT * FROM run WHERE id = ?",
    "label": "SELECT * FROM label WHERE run = ?",
    "output": "SELECT * FROM output WHERE run = ?",
    "input": "SELECT * FROM input WHERE run = ?",
}


def check_index(path: Path, runs: Path, ids: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the index; ``ids`` are the sealed runs that are compared. Nothing is changed."""
    import sqlite3

    if not path.exists():
        return
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
            yield from (f"is damaged: {text}" for text in said if text != "ok")
            if said == ["ok"]:
                yield from _differences(database, runs, ids)
    except (sqlite3.Error, ValueError) as error:
        yield f"is damaged: {error}"


def _differences(database: sqlite3.Connection, runs: Path, ids: Collection[str]) -> Iterator[str]:
    import sqlite3

    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != tables.VERSION:
        yield f"is of version {version}"
        return
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as right:
        tables.make(right)
        for identity in ids:
            if database.execute("SELECT 1 FROM run WHERE id = ?", (identity,)).fetchone() is None:
                continue  # it came by other hands: the next question enters it
            tables.put(right, read(RunDirectory(runs / identity)))
            for table, statement in _ROWS.items():
                found, wanted = (set(base.execute(statement, (identity,))) for base in (database, right))
                if found != wanted:
                    yield f"says something else of the run {identity} than its record (table {table})"
