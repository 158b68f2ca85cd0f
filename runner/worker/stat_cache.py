"""A cache of the digests of files, keyed by all that changes when a file's bytes change."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from runner.worker.hashing import sha256_of_file

if TYPE_CHECKING:
    from runner.worker.hashing import AnyPath

_MAX = (1 << 63) - 1
_SETTLED = 0.1  # seconds: a file changed less than this before it was read may change again within one clock tick

_SCHEMA = """
CREATE TABLE IF NOT EXISTS digest (path BLOB PRIMARY KEY, device INTEGER, inode INTEGER, size INTEGER,
                                   mtime INTEGER, ctime INTEGER, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID
"""

Key = tuple[int, int, int, int, int]
Row = tuple[Any, ...]


def stat_key(status: os.stat_result) -> Key:
    """Return what tells a file's state: device, inode, size, mtime and ctime in ns (an edit can restore mtime)."""
    # Some file systems number their inodes with 64 bits, SQLite counts with 63.
    return (status.st_dev & _MAX, status.st_ino & _MAX, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def is_settled(key: tuple[int, ...], moment: float) -> bool:
    """Whether a file whose state was taken at a moment would show another state after any later change."""
    # Every change sets the ctime, to the present: nothing can set it back, and an mtime in the future says nothing.
    return moment - key[4] / 1e9 > _SETTLED


class StatCache:
    """Digests of files that have not changed since they were hashed. Losing it costs time, never truth."""

    def __init__(self, path: Optional[Path]) -> None:
        """Open the cache lazily; None keeps it in memory."""
        self._path = path
        self._known: dict[bytes, tuple[Key, str]] = {}
        self._fresh: dict[bytes, tuple[Key, str]] = {}
        self._notes: dict[str, str] = {}

    def preload(self, root: Path) -> None:
        """Read all that is known of the files under ``root`` in one query."""
        start = os.fsencode(root).rstrip(b"/") + b"/"
        query = "SELECT path, device, inode, size, mtime, ctime, sha256 FROM digest WHERE path >= ? AND path < ?"
        for row in self._ask(query, (start, start[:-1] + b"0")):
            self._known[row[0]] = (row[1:6], row[6])

    def digest(self, path: AnyPath, status: Optional[os.stat_result] = None) -> str:
        """Return the sha256 of a file, reading it only where its state is new. ``status`` is its lstat, if had."""
        key = stat_key(status or os.stat(path))
        name = os.fsencode(path)
        known = self._known.get(name)
        if known is not None and known[0] == key:
            return known[1]
        began = time.time()
        sha256 = sha256_of_file(path)
        if is_settled(key, began) and stat_key(os.stat(path)) == key:
            self._known[name] = self._fresh[name] = (key, sha256)
        return sha256

    def find(self, path: AnyPath, status: os.stat_result) -> Optional[str]:
        """Return the digest of a file if its state is known, without reading it."""
        known = self._known.get(os.fsencode(path))
        return known[1] if known is not None and known[0] == stat_key(status) else None

    def learn(self, path: AnyPath, status: os.stat_result, sha256: str, *, since: Optional[float] = None) -> None:
        """Keep a digest that was found in another way; ``status``, taken at ``since``, is older than the reading."""
        key = stat_key(status)
        if is_settled(key, time.time() if since is None else since):
            name = os.fsencode(path)
            self._known[name] = self._fresh[name] = (key, sha256)

    def recall(self, key: str) -> Optional[str]:
        """Return what was remembered under a key that says all that it depends on."""
        rows = self._ask("SELECT value FROM note WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else self._notes.get(key)

    def remember(self, key: str, value: str) -> None:
        """Keep a text that took long to find; it is written by ``save``."""
        self._notes[key] = value

    def save(self) -> None:
        """Write what was learned; a cache that cannot be written is left as it is."""
        if self._fresh:
            rows = [(name, *key, sha256) for name, (key, sha256) in self._fresh.items()]
            self._ask("INSERT OR REPLACE INTO digest VALUES (?, ?, ?, ?, ?, ?, ?)", *rows)
            self._fresh.clear()
        if self._notes:
            self._ask("INSERT OR REPLACE INTO note VALUES (?, ?)", *self._notes.items())
            self._notes.clear()

    def forget_lost(self) -> None:
        """Forget the files that are gone, as those of fresh directories are after each run."""
        lost = [(path,) for (path,) in self._ask("SELECT path FROM digest", ()) if not os.path.lexists(path)]
        if lost:
            self._ask("DELETE FROM digest WHERE path = ?", *lost)

    def _ask(self, statement: str, *rows: Row) -> list[Row]:
        """Run a query, or a statement over rows; a cache that cannot be used answers nothing."""
        if self._path is None:
            return []
        import sqlite3

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._path, timeout=5)) as database, database:
                database.execute("PRAGMA synchronous = OFF")
                database.executescript(_SCHEMA)
                if statement.startswith("SELECT"):
                    return database.execute(statement, rows[0]).fetchall()
                database.executemany(statement, rows)
        except sqlite3.OperationalError as error:  # busy, read-only, no space; or another version's tables
            if "column" in str(error):
                self._path.unlink(missing_ok=True)
        except sqlite3.DatabaseError:  # damaged: it holds nothing that cannot be found again
            self._path.unlink(missing_ok=True)
        except OSError:
            pass
        return []
