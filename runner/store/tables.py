"""The index's tables and the statements over them: what is asked of the runs, in SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.store.filters import Filter, conditions, order
from runner.store.keys import key, number, value_key
from runner.store.summary import DAMAGED, Row, Summary
from runner.worker.values import dataclass

if TYPE_CHECKING:
    import sqlite3

VERSION = 6
_NEAR = 2000  # runs that are looked at one by one for a condition, before all of its values are

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE run (id TEXT NOT NULL UNIQUE, name BLOB, project BLOB, entry_point BLOB, status TEXT, created TEXT,
                         started TEXT, ended TEXT, duration REAL, sealed INTEGER, summary TEXT NOT NULL, reason TEXT,
                         exit_code INTEGER, host BLOB, why BLOB, rerun_of TEXT, parent TEXT)""",
    "CREATE INDEX run_created ON run (created, id)",
    "CREATE INDEX run_name ON run (name) WHERE name != x''",
    "CREATE INDEX run_project ON run (project, created)",
    "CREATE INDEX run_status ON run (status, created)",
    "CREATE INDEX run_open ON run (id) WHERE sealed = 0",
    """CREATE TABLE label (kind TEXT, name BLOB, value BLOB, number REAL, run TEXT,
                           PRIMARY KEY (kind, name, value, run)) WITHOUT ROWID""",
    "CREATE INDEX label_run ON label (run, kind, name)",
    *(
        f"CREATE TABLE {role} (sha256 TEXT, run TEXT, path BLOB, PRIMARY KEY (sha256, run, path)) WITHOUT ROWID"
        for role in ("output", "input")
    ),
    *(f"CREATE INDEX {role}_run ON {role} (run)" for role in ("output", "input")),
    "CREATE INDEX label_number ON label (kind, name, number) WHERE number IS NOT NULL",
    f"PRAGMA user_version = {VERSION}",
)


@dataclass(frozen=True)
class Touch:
    """A run that wrote, or read, a file with certain bytes."""

    run: str
    path: str
    created: str


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Make all changes or none; no other process writes meanwhile."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # on a full disk sqlite has ended it by itself
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def make(database: sqlite3.Connection) -> None:
    """Make the tables of an empty file."""
    for statement in TABLES:
        database.execute(statement)


def known_mtime(database: sqlite3.Connection) -> int | None:
    """Return the mtime of the runs directory, in ns, for which the tables are right."""
    row = database.execute("SELECT value FROM meta WHERE key = 'mtime'").fetchone()
    return None if row is None else row[0]


def remember(database: sqlite3.Connection, mtime: int) -> None:
    """Keep the mtime for which the tables are right."""
    database.execute("INSERT OR REPLACE INTO meta VALUES ('mtime', ?)", (mtime,))


def put(database: sqlite3.Connection, row: Row) -> None:
    """Make a run's rows, in place of those that were."""
    remove(database, [row.summary.id])
    add(database, row)


def add(database: sqlite3.Connection, row: Row) -> None:
    """Make a run's rows where there are none; rows that are there are newer, and stand."""
    summary = row.summary
    columns = (
        summary.id,
        *(key(value) for value in (summary.name, summary.project, summary.entry_point)),
        *(summary.status, summary.created, summary.started, summary.ended, summary.duration),
        summary.sealed or summary.status == DAMAGED,
        json.dumps(summary.to_json(), separators=(",", ":")),
        *(summary.reason, summary.exit_code, key(summary.host), key(summary.why), summary.rerun_of, summary.parent),
    )
    made = database.execute(f"INSERT OR IGNORE INTO run VALUES ({','.join('?' * len(columns))})", columns)  # noqa: S608
    if made.rowcount:
        database.executemany("INSERT OR IGNORE INTO label VALUES (?, ?, ?, ?, ?)", _labels(row))
        for role, files in (("output", row.outputs), ("input", row.inputs)):
            rows = ((sha256, summary.id, key(path)) for sha256, path in files)
            database.executemany(f"INSERT OR IGNORE INTO {role} VALUES (?, ?, ?)", rows)  # noqa: S608


def remove(database: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Remove the rows of runs."""
    rows = [(identity,) for identity in ids]
    database.executemany("DELETE FROM run WHERE id = ?", rows)
    database.executemany("DELETE FROM label WHERE run = ?", rows)
    database.executemany("DELETE FROM output WHERE run = ?", rows)
    database.executemany("DELETE FROM input WHERE run = ?", rows)


def select(database: sqlite3.Connection, wanted: Filter, sort: str, limit: int | None, reverse: bool) -> list[Summary]:
    """Return the runs that fit; amounts and times from the largest, texts from A, what lacks the key last."""
    if wanted.where is not None and sort == "created" and limit is not None and limit < _NEAR:
        _, keys, _ = order(sort, reverse)
        near = f"(SELECT * FROM run r ORDER BY {keys} LIMIT {_NEAR})"  # noqa: S608
        found = _select(database, near, wanted, sort, limit, reverse)
        if len(found) == limit:
            return found
    return _select(database, "run", wanted, sort, limit, reverse)


def _select(
    database: sqlite3.Connection, rows: str, wanted: Filter, sort: str, limit: int | None, reverse: bool
) -> list[Summary]:
    parts, values = conditions(wanted, few=rows != "run")
    join, keys, more = order(sort, reverse)
    where = f"WHERE {' AND '.join(parts)}" if parts else ""
    statement = f"SELECT r.summary FROM {rows} r {join} {where} ORDER BY {keys} LIMIT ?"  # noqa: S608
    found = database.execute(statement, (*more, *values, -1 if limit is None else limit))
    return [_summary(row[0]) for row in found]


def touches(database: sqlite3.Connection, role: str, digests: Sequence[str]) -> dict[str, tuple[Touch, ...]]:
    """Return, for each digest that is an `output` (or `input`) of runs, those runs, the newest first."""
    found: dict[str, list[Touch]] = {}
    for first in range(0, len(digests), 500):
        some = digests[first : first + 500]
        statement = f"""SELECT f.sha256, f.run, f.path, r.created FROM {role} f JOIN run r ON r.id = f.run
                        WHERE f.sha256 IN ({",".join("?" * len(some))}) ORDER BY r.created DESC, r.id DESC"""  # noqa: S608
        for sha256, run, path, created in database.execute(statement, some):
            found.setdefault(sha256, []).append(Touch(run, path.decode("utf-8", "surrogatepass"), created))
    return {sha256: tuple(runs) for sha256, runs in found.items()}


def digests_like(database: sqlite3.Connection, beginning: str, limit: int) -> list[str]:
    """Return the digests of outputs and inputs that begin with some hex digits."""
    statement = """SELECT sha256 FROM output WHERE sha256 >= ?1 AND sha256 < ?2
                   UNION SELECT sha256 FROM input WHERE sha256 >= ?1 AND sha256 < ?2 LIMIT ?3"""
    return [row[0] for row in database.execute(statement, (beginning, f"{beginning}g", limit))]


def summary_of(database: sqlite3.Connection, identity: str) -> Summary | None:
    """Return one run's summary."""
    row = database.execute("SELECT summary FROM run WHERE id = ?", (identity,)).fetchone()
    return None if row is None else _summary(row[0])


def _summary(text: str) -> Summary:
    data = json.loads(text)
    return Summary(**{**data, "sub_runs": tuple(data.get("sub_runs", ()))})


def ids(database: sqlite3.Connection) -> set[str]:
    """Return all ids."""
    return {row[0] for row in database.execute("SELECT id FROM run")}


def newest(database: sqlite3.Connection) -> str:
    """Return the id of the run made last, whatever the clock said then; "" where there is none."""
    row = database.execute("SELECT id FROM run ORDER BY id DESC LIMIT 1").fetchone()
    return "" if row is None else str(row[0])


def count(database: sqlite3.Connection) -> int:
    """Return how many runs there are."""
    number: int = database.execute("SELECT count(*) FROM run").fetchone()[0]
    return number


def open_ids(database: sqlite3.Connection) -> list[str]:
    """Return the ids of the runs without a sealed record, the oldest first."""
    return [row[0] for row in database.execute("SELECT id FROM run WHERE sealed = 0 ORDER BY id")]


def open_statuses(database: sqlite3.Connection) -> dict[str, str]:
    """Return what the runs without a sealed record were last seen doing."""
    return dict(database.execute("SELECT id, status FROM run WHERE sealed = 0"))


def note(database: sqlite3.Connection, statuses: Mapping[str, str]) -> None:
    """Enter what open runs are doing; one that was sealed meanwhile stays as it is."""
    for identity, status in statuses.items():
        summary = summary_of(database, identity)
        if summary is not None and not summary.sealed:
            text = json.dumps({**summary.to_json(), "status": status}, separators=(",", ":"))
            database.execute("UPDATE run SET status = ?, summary = ? WHERE id = ?", (status, text, identity))


def damaged(database: sqlite3.Connection) -> list[str]:
    """Return the ids of the runs that could not be read."""
    return [row[0] for row in database.execute("SELECT id FROM run WHERE status = ?", (DAMAGED,))]


def names(database: sqlite3.Connection) -> list[str]:
    """Return the names of runs, each once."""
    rows = database.execute("SELECT DISTINCT name FROM run WHERE name != x''")
    return sorted(row[0].decode("utf-8", "surrogatepass") for row in rows)


def ids_like(database: sqlite3.Connection, text: str, *, end: bool) -> list[str]:
    """Return the ids that end with a text, or that hold it anywhere, the newest first."""
    pattern = f"%{text}" if end else f"%{text}%"
    return [row[0] for row in database.execute("SELECT id FROM run WHERE id LIKE ? ORDER BY id DESC", (pattern,))]


def sub_runs_like(database: sqlite3.Connection, text: str) -> list[tuple[str, str]]:
    """Return the sub-runs whose ids end with a text: their ids, and those of the runs that they are in."""
    statement = """SELECT CAST(value AS TEXT), run FROM label
                   WHERE kind = 'sub-run' AND name = x'' AND CAST(value AS TEXT) LIKE ? ORDER BY run DESC"""
    return [(str(row[0]), str(row[1])) for row in database.execute(statement, (f"%{text}",))]


def ids_of(database: sqlite3.Connection, kind: str, value: str) -> list[str]:
    """Return the ids of the runs of a `spec` (by its digest), or of a `parent` (by its id), the newest first."""
    statement = "SELECT run FROM label WHERE kind = ? AND name = x'' AND value = ? ORDER BY run DESC"
    return [row[0] for row in database.execute(statement, (kind, key(value)))]


def ids_named(database: sqlite3.Connection, name: str) -> list[str]:
    """Return the ids of the runs with a name, the newest first."""
    statement = "SELECT id FROM run WHERE name = ? AND name != x'' ORDER BY created DESC, id DESC"
    return [row[0] for row in database.execute(statement, (key(name),))]


def _labels(row: Row) -> Iterable[tuple[str, bytes, bytes, float | None, str]]:
    summary = row.summary
    for kind, pairs in (("param", summary.params), ("tag", summary.tags), ("metric", summary.metrics)):
        for name, value in pairs.items():
            yield kind, key(name), value_key(str(value)), number(value), summary.id
    if summary.spec_digest:
        yield "spec", b"", key(summary.spec_digest), None, summary.id
    if summary.parent:
        yield "parent", b"", key(summary.parent), None, summary.id
    for identity in row.sub_runs:
        yield "sub-run", b"", key(identity), None, summary.id
