"""What can be asked of many runs at once, without opening their directories."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from runner.store import tables
from runner.store.filters import Filter, order
from runner.store.index_file import IndexFile
from runner.store.summary import Row, Summary
from runner.store.tables import Touch

__all__ = ["Filter", "Index", "Row", "Summary", "Touch"]


class Index:
    """The runs of a store, to be searched. Losing it costs time, never truth; it never fails a run."""

    def __init__(self, path: Path, runs: Path, say: Callable[[str], None] | None = None) -> None:
        """Name the file and the runs directory; nothing is opened before something is asked."""
        self._file = IndexFile(path, runs, say)
        self._ask, self._tell = self._file.ask, self._file.tell

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
        self._file.together(lambda database: tables.put(database, Row(summary)), make)

    def remove(self, identity: str, unmake: Callable[[], None]) -> None:
        """Leave a run out, while ``unmake`` takes its directory away."""
        self._file.together(lambda database: tables.remove(database, [identity]), unmake)

    def rebuild(self) -> int:
        """Make the file anew from the run directories; return how many there are."""
        self._file.renew()
        return self._ask(tables.count)

    @property
    def size(self) -> int:
        """The bytes of the file; 0 where there is none."""
        return self._file.size
