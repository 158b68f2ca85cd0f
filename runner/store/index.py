"""What can be asked of many runs at once, from a sqlite file that is derived and is made anew whenever it fails.

The run directories are the truth. Every question first compares the runs directory's mtime with the one the index was
right for, so that directories that came or went by other hands are noticed without listing 100,000 of them. There is
no write-ahead log: the store may lie on a network file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from runner.store import tables
from runner.store.filters import Filter, order
from runner.store.ids import is_id
from runner.store.summary import DAMAGED, Row, Summary, read
from runner.store.tables import Touch
from runner.worker.rundir import RunDirectory

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Filter", "Index", "Row", "Summary", "Touch"]

T = TypeVar("T")

_PATIENCE = 30.0  # seconds to wait for another process's lock
_ATTEMPTS = 3  # another process may put a new file in place between two of ours
_BATCH = 1000  # runs entered in one transaction, while a whole store is read
_MANY = 2000  # runs that take long enough to read for a word


class Index:
    """The runs of a store, to be searched. Losing it costs time, never truth; it never fails a run."""

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

    def query(
        self, wanted: Filter | None = None, sort: str = "created", limit: int | None = None, *, reverse: bool = False
    ) -> list[Summary]:
        """Return the runs that fit: times and amounts from the largest, texts from A. UsageError for a bad key.

        ``sort`` is created, started, ended, duration, name, project, entry_point, status, or params.NAME, tags.NAME,
        metrics.NAME. Runs that lack it come last, ``reverse`` or not.
        """
        order(sort, reverse)
        return self._ask(lambda database: tables.select(database, wanted or Filter(), sort, limit, reverse))

    def get(self, identity: str) -> Summary | None:
        """Return the summary of one run."""
        return self._ask(lambda database: tables.summary_of(database, identity))

    def newest(self) -> str:
        """Return the id of the run made last; "" where there is none."""
        return self._ask(tables.newest)

    def open_runs(self) -> list[str]:
        """Return the ids of the runs that have no sealed record yet, the oldest first."""
        return self._ask(tables.open_ids)

    def note(self, statuses: Mapping[str, str]) -> None:
        """Enter what open runs are doing now, so that searches by status find them."""
        known = self._ask(tables.open_statuses)
        news = {identity: status for identity, status in statuses.items() if known.get(identity, status) != status}
        if news:
            self._tell(lambda database: tables.note(database, news))

    def names(self) -> list[str]:
        """Return all names that runs were given, each once."""
        return self._ask(tables.names)

    def ids_named(self, name: str) -> list[str]:
        """Return the ids of the runs with a name, the newest first."""
        return self._ask(lambda database: tables.ids_named(database, name))

    def ids_with_spec(self, digest: str) -> list[str]:
        """Return the ids of the runs with a spec of this digest, the newest first."""
        return self._ask(lambda database: tables.ids_of(database, "spec", digest))

    def children_of(self, identity: str) -> list[Summary]:
        """Return the runs that were started from inside a run, the oldest first."""
        found = map(self.get, reversed(self._ask(lambda database: tables.ids_of(database, "parent", identity))))
        return [summary for summary in found if summary is not None]

    def sub_runs_like(self, text: str) -> list[tuple[str, str]]:
        """Return sub-runs by the end of their ids, each with the run that it is in, the newest first."""
        return self._ask(lambda database: tables.sub_runs_like(database, text))

    def ids_like(self, text: str, *, end: bool) -> list[str]:
        """Return the ids that end with a text, or hold it anywhere, the newest first."""
        return self._ask(lambda database: tables.ids_like(database, text, end=end))

    def producers(self, sha256: str) -> list[Touch]:
        """Return the runs that wrote a file with these bytes, the newest first."""
        return list(self.producers_of([sha256]).get(sha256, ()))

    def producers_of(self, digests: Collection[str]) -> dict[str, tuple[Touch, ...]]:
        """Return the runs that wrote each digest that any has written."""
        return self._ask(lambda database: tables.touches(database, "output", list(digests))) if digests else {}

    def readers_of(self, digests: Collection[str]) -> dict[str, tuple[Touch, ...]]:
        """Return the runs that read each digest that any has read."""
        return self._ask(lambda database: tables.touches(database, "input", list(digests))) if digests else {}

    def digests_like(self, beginning: str, limit: int = 10) -> list[str]:
        """Return the digests of files that runs wrote or read which begin with some hex digits."""
        return self._ask(lambda database: tables.digests_like(database, beginning, limit))

    def put(self, row: Row) -> None:
        """Enter a run, or what is new of it."""
        self._tell(lambda database: tables.put(database, row))

    def create(self, summary: Summary, make: Callable[[], None]) -> None:
        """Enter a run while ``make`` gives it its directory: no other process's run can fall between the two."""
        self._together(lambda database: tables.put(database, Row(summary)), make)

    def remove(self, identity: str, unmake: Callable[[], None]) -> None:
        """Leave a run out, while ``unmake`` takes its directory away."""
        self._together(lambda database: tables.remove(database, [identity]), unmake)

    def rebuild(self) -> int:
        """Make the file anew from the run directories; return how many there are."""
        self._renew(self._inode())
        return self._ask(tables.count)

    @property
    def size(self) -> int:
        """The bytes of the file; 0 where there is none."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _together(self, enter: Callable[[sqlite3.Connection], None], act: Callable[[], None]) -> None:
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

        self._tell(change)
        if not done:
            act()

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
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

    def _tell(self, change: Callable[[sqlite3.Connection], None]) -> None:
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
