"""The store: a user's runs and the objects they share, under one directory."""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from runner.errors import RunNotFoundError, StoreError
from runner.store import layout, locks
from runner.store.home import cache as default_cache
from runner.store.home import home as default_home
from runner.store.ids import is_id, new_id, short, with_dashes
from runner.store.index import Index
from runner.store.summary import Summary, of_plan, read
from runner.worker.facts import Request, SourceFacts
from runner.worker.objects import Objects
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec

__all__ = ["Store", "new_id", "short"]

_NAMED = 5  # candidates that an error names


class Store:
    """Runs by id, objects by digest, and the index over them. A run directory is there whole or not at all."""

    def __init__(self, root: Path, cache: Path, say: Callable[[str], None] | None = None) -> None:
        """Name the directories, which are there; `Store.open` makes them."""
        self.root = root
        self.cache = cache
        self.objects = Objects(root / "objects")
        self.index = Index(root / "index.sqlite", root / "runs", say)

    @classmethod
    def open(
        cls, root: Path | None = None, cache: Path | None = None, say: Callable[[str], None] | None = None
    ) -> Store:
        """Return a store, made on first use; StoreError where it cannot be used. ``say`` hears of what takes long."""
        root = default_home() if root is None else root.absolute()
        cache = default_cache() if cache is None else cache.absolute()
        layout.make(root)
        layout.make_directory(cache)
        return cls(root, cache, say)

    def directory(self, identity: str) -> RunDirectory:
        """Return the directory of a run by its full id, whether it is there or not."""
        return RunDirectory(self.root / "runs" / identity)

    def new_id(self) -> str:
        """Return an id greater than those of all runs here, so that ids tell which was made last."""
        return new_id(self.index.newest())

    def runs(self) -> Iterator[RunDirectory]:
        """Return all runs on disk, the oldest first."""
        with os.scandir(self.root / "runs") as entries:
            names = sorted(entry.name for entry in entries if is_id(entry.name))
        return (self.directory(name) for name in names)

    def recent(self, limit: int) -> list[Summary]:
        """Return the newest runs, the newest first."""
        return self.index.query(limit=limit)

    def open_runs(self) -> list[RunDirectory]:
        """Return the runs without a sealed record, the oldest first."""
        runs = [self.directory(name) for name in self.index.open_runs()]
        for run in runs:
            if run.record.exists():  # sealed by a process that did not live to enter it
                self.index.put(read(run))
        return [run for run in runs if not run.record.exists()]

    def create(self, request: Request, spec: RunSpec, source: SourceFacts) -> RunDirectory:
        """Make a run's directory with the three files that plan it, and enter it in the index."""
        run = self.directory(request.id)
        aside = RunDirectory(self.root / layout.ASIDE / f"new-{request.id}")
        try:
            aside.path.mkdir(mode=0o700, parents=True)
            for value in (request, spec, source):
                aside.write(value)
            self.index.create(of_plan(request, spec), functools.partial(_place, aside.path, run.path))
        except OSError as error:
            message = f"cannot make a run in {self.root}: {error.strerror}"
            raise StoreError(
                message, hint="free some space, or point MLRUN_HOME at a directory you can write to"
            ) from error
        finally:
            shutil.rmtree(aside.path, ignore_errors=True)
        return run

    def adopt(self, made: RunDirectory) -> RunDirectory:
        """Take in the whole directory of an ended run, which lies on the store's disk, and enter it in the index."""
        run = self.directory(made.id)
        row = read(made)
        try:
            self.index.create(row.summary, functools.partial(_place, made.path, run.path))
        except OSError as error:
            message = f"cannot take in the run {run.id}: {error.strerror}"
            raise StoreError(message, hint=f"look at {run.path}, and who owns it") from error
        self.index.put(row)
        return run

    def find(self, text: str) -> RunDirectory:
        """Return the run that a name, the end of an id, any unique part of one, MLflow's id, or `latest` means.

        RunNotFoundError where there is none, or where there are several: it names them.
        """
        for spelled in (text.lower(), with_dashes(text.lower())):
            if is_id(spelled) and self.directory(spelled).path.is_dir():
                return self.directory(spelled)
        if text == "latest":
            newest = self.index.newest()
            if not newest:
                message = "there are no runs yet"
                raise RunNotFoundError(message, hint="`mlrun run DIR` makes the first")
            return self.directory(newest)
        return self.directory(self._only(text, self._candidates(text)))

    def find_each(self, texts: Iterable[str]) -> list[RunDirectory]:
        """Return the runs that texts mean, each once, in their order."""
        return [self.directory(identity) for identity in dict.fromkeys(self.find(text).id for text in texts)]

    def find_sub_run(self, text: str) -> tuple[RunDirectory, str] | None:
        """Return the run whose client made a sub-run, and that one's id, by the end of it; None where none is meant."""
        wanted = text.lower().replace("-", "")
        if not re.fullmatch("[0-9a-f]+", wanted):
            return None
        found = [(identity, run) for identity, run in self.index.sub_runs_like(wanted)]
        for run in self.index.open_runs():  # their clients may make more
            names = (path.name for path in self.directory(run).children.glob("*"))
            found += [(name, run) for name in names if name.endswith(wanted)]
        return (self.directory(found[0][1]), found[0][0]) if len(found) == 1 else None

    def remove(self, run: RunDirectory) -> None:
        """Remove a run for good; its objects stay until `garbage.collect` finds that nobody names them."""
        gone = self.root / layout.ASIDE / f"gone-{run.id}"
        try:
            gone.parent.mkdir(mode=0o700, exist_ok=True)
            self.index.remove(run.id, functools.partial(_place, run.path, gone))
        except FileNotFoundError:
            message = f"there is no run {run.id}"
            raise RunNotFoundError(message, hint="`mlrun list` shows the runs") from None
        except OSError as error:
            message = f"cannot remove the run {run.id}: {error.strerror}"
            raise StoreError(message, hint=f"look at who owns {run.path}") from error
        from runner.worker.execution.workplace import tear_down

        tear_down(gone)

    def writing(self) -> AbstractContextManager[None]:
        """Hold the store while objects are added that no run names yet: garbage is not collected meanwhile."""
        return locks.shared(self.root)

    def _candidates(self, text: str) -> list[str]:
        named = self.index.ids_named(text)
        if named or not re.fullmatch("[0-9a-f-]+", text.lower()):
            return named
        return self.index.ids_like(text.lower(), end=True) or self.index.ids_like(text.lower(), end=False)

    def _only(self, text: str, candidates: list[str]) -> str:
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            named = ", ".join(self._described(identity) for identity in candidates[:_NAMED])
            more = f" and {len(candidates) - _NAMED} more" if len(candidates) > _NAMED else ""
            message = f"{len(candidates)} runs answer to {text!r}: {named}{more}"
            raise RunNotFoundError(message, hint="give more of the id")
        inside = self.find_sub_run(text)
        if inside is not None:
            run = short(inside[0].id)
            message = f"{text!r} is a sub-run, which a client made inside of the run {run}"
            raise RunNotFoundError(message, hint=f"`mlrun show {text}` shows it; other commands take {run}")
        message = f"no run answers to {text!r}"
        raise RunNotFoundError(message, hint=self._near(text))

    def _described(self, identity: str) -> str:
        summary = self.index.get(identity)
        return identity if summary is None else f"{identity} ({summary.entry_point}, {summary.status})"

    def _near(self, text: str) -> str:
        import difflib

        near = difflib.get_close_matches(text, self.index.names(), 1)
        listed = "`mlrun list` shows the runs"
        return f"did you mean {near[0]!r}? {listed}" if near else f"{listed} of {self.root}"


def _place(origin: Path, target: Path) -> None:
    origin.rename(target)
