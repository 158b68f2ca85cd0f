"""sha256 of files, and a cache of digests keyed by all that changes when a file's bytes change."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

_CHUNK = 1 << 20
_SETTLED = 0.1  # seconds: a file touched later than this before it was hashed may change within one clock tick

_SCHEMA = """
CREATE TABLE IF NOT EXISTS digest (path BLOB PRIMARY KEY, device INTEGER, inode INTEGER, size INTEGER,
                                   mtime INTEGER, ctime INTEGER, sha256 TEXT NOT NULL) WITHOUT ROWID
"""

Key = tuple[int, int, int, int, int]
Row = tuple[Any, ...]


def sha256_of(data: bytes) -> str:
    """Return the sha256 of bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: os.PathLike[str] | str) -> str:
    """Return the sha256 of a file's bytes, as hex; OSError where it cannot be read."""
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as stream:
        while size := stream.readinto(buffer):
            digest.update(view[:size])
    return digest.hexdigest()


def digest_of_directory(files: Iterable[tuple[str, str]]) -> str:
    """Return the digest of (path, sha256) pairs: the sha256 of their sorted `sha256  path` lines."""
    lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files)
    return sha256_of("".join(lines).encode("utf-8", "surrogateescape"))


def stat_key(status: os.stat_result) -> Key:
    """Return what tells a file's state: device, inode, size, mtime and ctime in ns (an edit can restore mtime)."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class StatCache:
    """Digests of files that have not changed since they were hashed. Losing it costs time, never truth."""

    def __init__(self, path: Optional[Path]) -> None:
        """Open the cache lazily; None keeps it in memory."""
        self._path = path
        self._known: dict[bytes, tuple[Key, str]] = {}
        self._fresh: dict[bytes, tuple[Key, str]] = {}

    def preload(self, root: Path) -> None:
        """Read all that is known of the files under ``root`` in one query."""
        start = os.fsencode(root).rstrip(b"/") + b"/"
        query = "SELECT path, device, inode, size, mtime, ctime, sha256 FROM digest WHERE path >= ? AND path < ?"
        for row in self._ask(query, (start, start[:-1] + b"0")):
            self._known[row[0]] = (row[1:6], row[6])

    def digest(self, path: os.PathLike[str] | str, status: Optional[os.stat_result] = None) -> str:
        """Return the sha256 of a file, reading it only where its state is new. ``status`` is its lstat, if had."""
        key = stat_key(status or os.stat(path))
        name = os.fsencode(path)
        known = self._known.get(name)
        if known is not None and known[0] == key:
            return known[1]
        now = time.time()
        sha256 = sha256_of_file(path)
        if now - max(key[3], key[4]) / 1e9 > _SETTLED and stat_key(os.stat(path)) == key:
            self._known[name] = self._fresh[name] = (key, sha256)
        return sha256

    def find(self, path: os.PathLike[str] | str, status: os.stat_result) -> Optional[str]:
        """Return the digest of a file if its state is known, without reading it."""
        known = self._known.get(os.fsencode(path))
        return known[1] if known is not None and known[0] == stat_key(status) else None

    def learn(self, path: os.PathLike[str] | str, status: os.stat_result, sha256: str) -> None:
        """Keep a digest that was found in another way; ``status`` is from before the bytes were read."""
        key = stat_key(status)
        if time.time() - max(key[3], key[4]) / 1e9 > _SETTLED:
            name = os.fsencode(path)
            self._known[name] = self._fresh[name] = (key, sha256)

    def save(self) -> None:
        """Write what was learned; a cache that cannot be written is left as it is."""
        if not self._fresh:
            return
        rows = [(name, *key, sha256) for name, (key, sha256) in self._fresh.items()]
        self._ask("INSERT OR REPLACE INTO digest VALUES (?, ?, ?, ?, ?, ?, ?)", *rows)
        self._fresh.clear()

    def _ask(self, statement: str, *rows: Row) -> list[Row]:
        """Run a query, or a statement over rows; a cache that cannot be used answers nothing."""
        if self._path is None:
            return []
        import sqlite3

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._path, timeout=5)) as database, database:
                database.execute("PRAGMA synchronous = OFF")
                database.execute(_SCHEMA)
                if statement.startswith("SELECT"):
                    return database.execute(statement, rows[0]).fetchall()
                database.executemany(statement, rows)
        except sqlite3.OperationalError:  # busy, read-only, no space
            pass
        except sqlite3.DatabaseError:  # damaged: it holds nothing that cannot be found again
            self._path.unlink(missing_ok=True)
        except OSError:
            pass
        return []
