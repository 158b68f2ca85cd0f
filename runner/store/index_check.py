"""Whether the index says of the runs what their directories say: it is derived from them, and from nothing else."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.store import tables
from runner.store.summary import read
from runner.worker.rundir import RunDirectory

_TABLES = {"run": "id", "label": "run", "output": "run", "input": "run"}  # and the column that names the run
_BATCH = 500


def check_file(path: Path, runs: Path) -> Iterator[str]:
    """Yield what is wrong with the index by itself, and with the runs that it knows. Nothing is changed.

    Every byte that says something of a run is checked, here or by `differences`; those that say nothing (unused
    parts of a page, counters of changes) are not: no question is answered from them.
    """
    try:
        with _opened(path) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
            yield from (f"is damaged: {text}" for text in said if text != "ok")
            if said != ["ok"]:
                return
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version != tables.VERSION:
                yield f"is of version {version}"
            elif tables.known_mtime(database) == runs.stat().st_mtime_ns:  # else the next question looks for itself
                gone = (identity for identity in sorted(tables.ids(database)) if not (runs / identity).exists())
                yield from (f"has a run {identity}, which is not there" for identity in gone)
    except (sqlite3.Error, OSError, ValueError) as error:
        yield f"is damaged: {error}"


def differences(path: Path, runs: Path, ids: Sequence[str]) -> Iterator[str]:
    """Yield of which of some sealed runs the index says something else than their records."""
    try:
        with _opened(path) as database:
            yield from _differences(database, runs, ids)
    except (sqlite3.Error, OSError, ValueError) as error:
        yield f"is damaged: {error}"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)) as database:
        yield database


def _differences(database: sqlite3.Connection, runs: Path, ids: Sequence[str]) -> Iterator[str]:
    """Compare a batch at once, and only where that is not the same its runs one by one."""
    complete = tables.known_mtime(database) == runs.stat().st_mtime_ns
    for first in range(0, len(ids), _BATCH):
        some = ids[first : first + _BATCH]
        known = {str(row[0]) for row in _rows(database, "run", "id", some)}
        # One that the index does not know may have come by other hands: the next question enters it.
        yield from (f"lacks the run {one}" for one in some if one not in known and complete and (runs / one).exists())
        yield from _compare(database, runs, sorted(known))


def _compare(database: sqlite3.Connection, runs: Path, ids: Sequence[str]) -> Iterator[str]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as right:
        tables.make(right)
        for identity in ids:
            tables.add(right, read(RunDirectory(runs / identity)))
        for table, column in _TABLES.items():
            if _rows(database, table, column, ids) == _rows(right, table, column, ids):
                continue
            for identity in ids:
                if _rows(database, table, column, [identity]) != _rows(right, table, column, [identity]):
                    yield f"says something else of the run {identity} than its record (table {table})"


def _rows(database: sqlite3.Connection, table: str, column: str, ids: Sequence[str]) -> set[tuple[object, ...]]:
    statement = f"SELECT * FROM {table} WHERE {column} IN ({','.join('?' * len(ids))})"  # noqa: S608 - our own names
    return set(database.execute(statement, ids))
