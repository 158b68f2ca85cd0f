"""Share runs through a depot: bring there what it lacks, and here what we lack; nothing there is ever changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import field
from pathlib import Path

from runner.backends.depots.depot import Depot
from runner.errors import IntegrityError, RunNotFoundError
from runner.flow.share import Taken, collect, refuse_unfit, take_in, unpacking
from runner.records.exports.listing import MOST_BYTES, Listing, parse
from runner.store.store import Store, short
from runner.worker.hashing import sha256_of
from runner.worker.remote.depot import Item, object_item
from runner.worker.rundir import RunDirectory
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Pushed:
    """A run that is in a depot now."""

    run: str
    files: int = 0  # that it lacked
    bytes: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pulled:
    """A run that is here now."""

    run: str
    new: bool
    bytes: int = 0
    without: tuple[str, ...] = field(default=())


def push(run: RunDirectory, depot: Depot, store: Store, *, logs: bool, observed: bool) -> Pushed:
    """Bring a run into a depot; what it names first, and what makes it a run of the depot last."""
    with store.writing(), unpacking(store) as aside:
        gathered = collect(run, store, logs=logs, observed=observed)
        items = [object_item(sha256, size) for sha256, size in gathered.listing.contents()]
        lacking = depot.lacking(items)
        depot.put({item: gathered.places[item.sha256] for item in lacking})
        data = gathered.listing.to_bytes()
        listing = Item(f"runs/{run.id}/{sha256_of(data)}.json", len(data))
        (aside / "listing").write_bytes(data)
        if depot.lacking([listing]):
            depot.put({listing: aside / "listing"})
    return Pushed(run.id, len(lacking), sum(item.size for item in lacking), gathered.remarks)


def known(depot: Depot) -> dict[str, list[Item]]:
    """Return the runs of a depot: their listings by id, the oldest run first."""
    found: dict[str, list[Item]] = {}
    for item in depot.listings("runs"):
        found.setdefault(item.name.split("/")[1], []).append(item)
    return dict(sorted(found.items()))


def chosen(words: Sequence[str], runs: Iterable[str]) -> list[str]:
    """Return the runs that words mean, by the end of an id or any unique part of it; all where there are no words."""
    names = list(runs)
    return [_only(word.lower(), names) for word in words] if words else names


def pull(identity: str, items: Iterable[Item], depot: Depot, store: Store, source: str) -> Pulled:
    """Bring a run of a depot here; as an import does, it is taken in whole or not at all."""
    size, taken = 0, None
    for item in items:
        with unpacking(store) as aside:
            listing = _listing(depot, item, aside)
            if listing.run != identity:
                message = f"{item.name} of the depot is not of the run {identity}"
                raise IntegrityError(message, hint="somebody has tampered with the depot")
            if _is_here(listing, store):
                taken = taken or Taken(store.directory(identity), listing, new=False)
                continue
            refuse_unfit(listing, store)
            size += _fetch(listing, depot, store, aside)
            here = store.objects
            places = {sha256: aside / sha256 for sha256, _ in listing.contents()}
            places = {sha256: place if place.exists() else here.path(sha256) for sha256, place in places.items()}
            done = take_in(listing, places.__getitem__, store, aside, source)
            taken = done if taken is None or done.new else taken
    assert taken is not None
    return Pulled(identity, taken.new, size, taken.listing.without)


def _listing(depot: Depot, item: Item, aside: Path) -> Listing:
    if item.size > MOST_BYTES:
        message = f"{item.name} of the depot has {item.size:,} bytes"
        raise IntegrityError(message, hint="somebody has tampered with the depot")
    target = aside / "listing.json"
    depot.get({item: target})
    try:
        return parse(json.loads(target.read_bytes()))
    except ValueError:
        message = f"{item.name} of the depot is not JSON"
        raise IntegrityError(message, hint="push the run again") from None


def _is_here(listing: Listing, store: Store) -> bool:
    """Whether nothing of a listing is new: its run is here, with every file of it."""
    run = store.directory(listing.run)
    same = {file.path: file.sha256 for file in listing.files}.get(run.record.name)
    return (
        run.record.exists()
        and sha256_of(run.record.read_bytes()) == same
        and all((run.path / file.path).exists() for file in listing.files)
        and all(store.objects.has(each.sha256, each.size) for each in listing.objects)
    )


def _fetch(listing: Listing, depot: Depot, store: Store, aside: Path) -> int:
    """Bring what is not here under its digest into ``aside``; return its bytes."""
    wanted = [(sha256, size) for sha256, size in listing.contents() if not store.objects.has(sha256, size)]
    depot.get({object_item(sha256, size): aside / sha256 for sha256, size in wanted})
    return sum(size for _, size in wanted)


def _only(word: str, names: list[str]) -> str:
    ending = [name for name in names if name.endswith(word)]
    found = ending or [name for name in names if word in name]
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{len(found)} runs of the depot answer to {word!r}: {', '.join(map(short, found[:5]))}"
        raise RunNotFoundError(message, hint="give more of the id")
    message = f"no run of the depot answers to {word!r}"
    raise RunNotFoundError(message, hint="`mlrun pull REMOTE --dry-run` lists its runs")
