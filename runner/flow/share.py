"""Hand a run to another store: written out as a bundle, and taken in from one, whole or not at all."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import IntegrityError, MlrunError, StoreError
from runner.flow.follow import record_of
from runner.records import contents
from runner.records.exports import bundle
from runner.records.exports.gather import Gathered, gather
from runner.records.exports.listing import Listing
from runner.records.finish import finish
from runner.records.needs import needs
from runner.records.origin import Origin, write_origin
from runner.records.seal import parse
from runner.records.seal import read as read_sealed
from runner.store import layout
from runner.store.store import Store
from runner.worker.clock import now
from runner.worker.facts import InstalledEnvironment, SourceFacts
from runner.worker.files import write_once
from runner.worker.hashing import sha256_of
from runner.worker.look import look
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPARE = 64 << 20  # bytes that are left free on the disk


@dataclass(frozen=True)
class Taken:
    """A run that came in."""

    run: RunDirectory
    listing: Listing
    new: bool = True  # False: it was here already, and nothing was changed


def collect(run: RunDirectory, store: Store, *, logs: bool, observed: bool, wheels: bool = False) -> Gathered:
    """Return what of a run travels. MlrunError for one that goes on, IntegrityError for one that was changed."""
    record_of(run, store)  # brings it here, where another machine has it
    if not look(run).ended:
        message = f"the run {run.id} has not ended"
        raise MlrunError(message, hint=f"`mlrun wait {run.id}` waits until it has")
    finish(run, store)
    archives = _archives(run, store) if wheels else ()
    return gather(run, store, logs=logs, observed=observed, archives=archives)


def _archives(run: RunDirectory, store: Store) -> tuple[str, ...]:
    """Bring the archives of a run's packages into the store, and return their digests."""
    from runner.environments.archives import fetch_archives

    installed = run.find(InstalledEnvironment)
    if installed is None or installed.lock is None:
        return ()
    with unpacking(store) as aside:
        lock = store.objects.read(installed.lock)
        return tuple(dict.fromkeys(fetch_archives(lock, installed.packages, store.objects, aside)))


def export_bundle(
    run: RunDirectory, store: Store, target: Path, *, logs: bool, observed: bool, wheels: bool = False
) -> Gathered:
    """Write a run's bundle to ``target``, where nothing is yet; return what is in it."""
    with store.writing():
        gathered = collect(run, store, logs=logs, observed=observed, wheels=wheels)
        bundle.write(target, gathered.listing, gathered.places.__getitem__)
    return gathered


def import_bundle(path: Path, store: Store) -> Taken:
    """Take a run in from a bundle; whatever is wrong with it is raised, and nothing of it is then in the store."""
    with unpacking(store) as aside:
        listing = bundle.read(path, lambda listing: refuse_unfit(listing, store), aside)
        return take_in(listing, aside.joinpath, store, aside, str(path.absolute()))


def refuse_unfit(listing: Listing, store: Store) -> None:
    """Raise StoreError where the disk has no room for what a listing announces."""
    size = sum(size for _, size in listing.contents())
    free = shutil.disk_usage(store.root).free
    if size + _SPARE > free:
        message = f"it holds {size:,} bytes, and {store.root} has {free:,} free"
        raise StoreError(message, hint="free some space, or point MLRUN_HOME at a larger disk")


def take_in(listing: Listing, places: Callable[[str], Path], store: Store, aside: Path, source: str) -> Taken:
    """Bring a run into the store: its objects, then its directory as one; ``places`` says where the bytes lie."""
    made = RunDirectory(aside / "run" / listing.run)
    for file in listing.files:
        _place(places(file.sha256), made.path / file.path)
    _check(made, listing)
    run = store.directory(listing.run)
    new = not run.path.exists()
    if not new:
        _refuse_another(run, made)
    _check_objects(made, listing, places, store)
    with store.writing():
        for each in listing.objects:
            store.objects.add_file(places(each.sha256), each.sha256)
        store.objects.sync()
        if new:
            write_origin(made, Origin(now(), source, listing.without, tuple(each.sha256 for each in listing.objects)))
            store.adopt(made)
        else:
            _complete(run, made, listing)
    return Taken(run, listing, new)


@contextmanager
def unpacking(store: Store) -> Iterator[Path]:
    """Give a directory on the store's disk, for as long as the context lasts."""
    aside = store.root / layout.ASIDE / f"import-{secrets.token_hex(8)}"
    layout.make_directory(aside)
    try:
        yield aside
    except OSError as error:
        message = f"cannot take the run in: {error.strerror or error}"
        raise StoreError(message, hint="free some space, or point MLRUN_HOME at a larger disk") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _place(origin: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(origin, target)
    target.chmod(0o600)


def _check(made: RunDirectory, listing: Listing) -> None:
    """Refuse what is not the sealed record of an ended run, with the files that it seals."""
    record = parse(read_sealed(made))
    if record.run.id != listing.run or not made.has(Outcome):
        raise _refused(f"its record is not that of the ended run {listing.run}")
    if record.contents is None:
        return
    if not made.contents.exists() or sha256_of(made.contents.read_bytes()) != record.contents.sha256:
        raise _refused(f"{made.contents.name} is not the list that its record seals")
    sealed = contents.parse(made.contents.read_bytes())
    came = {file.path: file.sha256 for file in listing.files}
    for name in contents.names(made):
        if sealed.get(name) != came[name]:
            raise _refused(f"{name} is not the file that its record seals")
    absent = sorted(sealed.keys() - came.keys() - set(listing.without))
    if absent:
        raise _refused(f"{absent[0]} is missing")


def _check_objects(made: RunDirectory, listing: Listing, places: Callable[[str], Path], store: Store) -> None:
    """Refuse a run with an object that neither came with it nor is here: it could not be run again."""
    came = {each.sha256 for each in listing.objects}

    def read(sha256: str) -> bytes:
        return places(sha256).read_bytes() if sha256 in came else store.objects.read(sha256)

    for sha256 in _named(made):
        if not _SHA256.fullmatch(sha256):
            raise _refused(f"it names {sha256[:80]!r} as a digest")
    for need in needs(made, read):
        if need.kept and need.sha256 not in came and not store.objects.has(need.sha256):
            raise _refused(f"{need.what} ({need.sha256[:12]}) did not come with it")


def _named(made: RunDirectory) -> Iterator[str]:
    """Yield all that a run's own files name as digests: they become names of files."""
    spec, source, installed = made.read(RunSpec), made.read(SourceFacts), made.find(InstalledEnvironment)
    locks = (spec.environment.lock, source.patch, None if installed is None else installed.lock)
    yield from (spec.snapshot.manifest, *(sha256 for sha256 in locks if sha256 is not None))
    yield from (each.sha256 for each in spec.inputs if each.sha256 is not None)
    for path in (made.inputs, made.outputs):
        files = made.read_files(path)
        yield from (fact.sha256 for fact in (files.files if files else ()) if fact.sha256 is not None)


def _refuse_another(run: RunDirectory, made: RunDirectory) -> None:
    if not run.record.exists() or run.record.read_bytes() != made.record.read_bytes():
        message = f"the run {run.id} is in {run.path.parent.parent} already, with another record"
        raise StoreError(message, hint=f"nothing was taken in; `mlrun verify {run.id}` says whether that one is whole")


def _complete(run: RunDirectory, made: RunDirectory, listing: Listing) -> None:
    """Add the files that a run here lacks: logs that were left out, signatures that came later."""
    for file in listing.files:
        target = run.path / file.path
        if not target.exists():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_once(target, (made.path / file.path).read_bytes())


def _refused(reason: str) -> IntegrityError:
    return IntegrityError(f"the run is refused: {reason}", hint="it was damaged or tampered with; ask for it again")
