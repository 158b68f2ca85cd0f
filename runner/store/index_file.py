"""The sqlite file under the index: right for the run directories whenever it is asked, made anew whenever it fails.

The run directories are the truth. Every question first compares the runs directory's mtime with the one the file was
right for, so that directories that came or went by other hands are noticed without listing 100,000 of them. There is
no write-ahead log: the store may lie on a network file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from runner.store import tables
from runner.store.ids import is_id
from runner.store.summary import DAMAGED, read
from runner.worker.rundir import RunDirectory

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

_PATIENCE = 30.0  # seconds to wait for another process's lock
_ATTEMPTS = 3  # another process may put a new file in place between two of ours
_BATCH = 1000  # runs entered in one transaction, while a whole store is read
_MANY = 2000  # runs that take long enough to read for a word


class IndexFile:
    """The file, or what is kept in memory in its place where it cannot be used."""

    def __init__(self, path: Path, runs: Path, say: Callable[[str], None] | None = None) -> None:
        """Name the file and the runs directory; nothing is opened before something is asked."""
        self._path = path
        self._runs = runs
        self._say = say
        self._memory: sqlite3.Connection | None = None  # where the file cannot be used
        self._lock = threading.RLock()

    def __del__(self) -> None:
        """Close what is kept in memory: Python 3.13 warns of a connection that is left to itself."""
        if self._memory is not None:
            self._memory.close()

    @property
    def size(self) -> int:
        """The bytes of the file; 0 where there is none."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def renew(self) -> None:
        """Make the file anew from the run directories, where one can be written."""
        self._renew(self._inode())

    def together(self, enter: Callable[[sqlite3.Connection], None], act: Callable[[], None]) -> None:
        """Change the index and the runs directory as one; the directory also where the index cannot be changed."""
        done = False

        def change(database: sqlite3.Connection) -> None:
            nonlocal done
            right = tables.known_mtime(database) == self._mtime()
            enter(database)
            if not done:
                act()
                done = True
            if right:
                tables.remember(database, self._mtime())

        self.tell(change)
        if not done:
            act()

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Answer from an index that is right for the run directories."""
        import sqlite3

        if self._memory is None:
            for _attempt in range(_ATTEMPTS):
                inode = self._inode()
                try:
                    with self._connected() as database:
                        self._catch_up(database)
                        return question(database)
                except (sqlite3.Error, ValueError, TypeError) as error:
                    if not _is_damage(error) or not self._renew(inode):
                        break
        with self._lock:
            database = self._in_memory()
            self._catch_up(database)
            return question(database)

    def tell(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Make a change in one transaction; one that cannot be made is found by the next question."""
        import sqlite3

        for _attempt in range(_ATTEMPTS):
            inode = self._inode()
            try:
                with self._connected() as database, tables.transaction(database):
                    change(database)
            except sqlite3.Error as error:
                if _is_damage(error) and self._renew(inode):
                    continue
                if "full" in str(error):  # what this process knows is true all the same
                    self._in_memory()
            break
        if self._memory is not None:
            with self._lock, tables.transaction(self._memory):
                change(self._memory)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        import sqlite3

        if not self._path.exists():  # sqlite would make an empty one
            message = "no index yet"
            raise sqlite3.DatabaseError(message)
        with contextlib.closing(sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)) as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != tables.VERSION:
                message = "another version"
                raise sqlite3.DatabaseError(message)
            database.execute("PRAGMA journal_mode = TRUNCATE")
            database.execute("PRAGMA synchronous = NORMAL")
            yield database

    def _catch_up(self, database: sqlite3.Connection) -> None:
        """Enter the directories that came by other hands, and leave out those that went."""
        for identity in tables.damaged(database):  # perhaps they were still being copied here
            self._mend(database, identity)
        before = self._mtime()
        if tables.known_mtime(database) == before:
            return
        present = self._present()
        known = tables.ids(database)
        self._enter(database, sorted(present - known))
        with tables.transaction(database):
            # A run made since the directory was listed is in the index and not in the list.
            tables.remove(database, [name for name in known - present if not (self._runs / name).exists()])
            tables.remember(database, before)

    def _enter(self, database: sqlite3.Connection, identities: list[str]) -> None:
        if self._say is not None and len(identities) > _MANY:
            self._say(f"reading {len(identities):,} runs into the index")
        for first in range(0, len(identities), _BATCH):
            rows = [read(RunDirectory(self._runs / name)) for name in identities[first : first + _BATCH]]
            with tables.transaction(database):
                for row in rows:
                    tables.add(database, row)

    def _mend(self, database: sqlite3.Connection, identity: str) -> None:
        row = read(RunDirectory(self._runs / identity))
        if row.summary.status != DAMAGED:
            with tables.transaction(database):
                tables.put(database, row)

    def _renew(self, inode: int | None) -> bool:
        """Make the file anew, unless another process has just done so; False where that is impossible."""
        import sqlite3

        try:
            with self._path.with_name("index.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._inode() == inode:
                    self._build_aside()
        except (OSError, sqlite3.Error):
            return False
        return True

    def _build_aside(self) -> None:
        import sqlite3

        aside = self._path.with_name(f"{self._path.name}.new")
        aside.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            tables.make(database)
            self._catch_up(database)
        with aside.open("rb") as stream:
            os.fsync(stream.fileno())
        # A journal that the old file left behind would be played into the new one.
        self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        aside.replace(self._path)

    def _in_memory(self) -> sqlite3.Connection:
        import sqlite3

        if self._memory is None:
            memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            try:
                with self._connected() as database:
                    database.backup(memory)
                tables.ids(memory)
            except sqlite3.Error:
                memory.close()
                memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                tables.make(memory)
            self._memory = memory
        return self._memory

    def _present(self) -> set[str]:
        try:
            with os.scandir(self._runs) as entries:
                return {entry.name for entry in entries if is_id(entry.name)}
        except FileNotFoundError:
            return set()

    def _mtime(self) -> int:
        try:
            return self._runs.stat().st_mtime_ns
        except OSError:
            return 0

    def _inode(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None


def _is_damage(error: Exception) -> bool:
    """Whether a new file helps: not where the old one is busy, or where none can be written."""
    text = str(error)
    return not any(word in text for word in ("locked", "busy", "readonly", "unable to open", "full", "disk I/O"))
