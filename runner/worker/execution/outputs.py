"""The files a run wrote: what differs between two looks at its directory, sealed by digest and stored."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from typing import Optional

from runner.errors import StoreError
from runner.worker.execution.digests import Digests
from runner.worker.execution.inputs import MOST_BYTES, MOST_FILES, list_gaps, mode_of, within_budget
from runner.worker.execution.scan import Listing
from runner.worker.facts import Gap
from runner.worker.globs import matches
from runner.worker.hashing import sha256_of_file
from runner.worker.objects import Objects
from runner.worker.results import FileFact, Files
from runner.worker.values import dataclass

MEASURED = "measured"  # the basis of a declared file of metrics: its numbers count, not its bytes


@dataclass(frozen=True)
class Before:
    """A run's directory before its command began; paths are relative to the project."""

    listing: Listing
    source: Mapping[str, str]  # the snapshot's files and their digests
    known: Mapping[str, str] = field(default_factory=dict)  # digests of other files
    ambiguous: tuple[str, ...] = ()  # snapshot files that were no longer what the snapshot says


@dataclass(frozen=True)
class Policy:
    """Which outputs are stored."""

    declared: tuple[str, ...]  # paths and globs; what they name is always stored
    fresh: bool  # nobody else works in the directory, and it will be removed
    metrics: tuple[str, ...] = ()  # files whose numbers are read afterwards: stored too
    keep: bool = False  # undeclared ones are stored, whatever is declared

    def pattern(self, path: str) -> Optional[str]:
        """Return the declared output, or file of metrics, a file answers to."""
        return next((pattern for pattern in (*self.declared, *self.metrics) if matches(pattern, path)), None)

    def basis(self, path: str) -> str:
        """Return how it is known that a file is the run's."""
        if any(matches(pattern, path) for pattern in self.declared):
            return "declared"
        return MEASURED if any(matches(pattern, path) for pattern in self.metrics) else "observed"

    @property
    def keeps_all(self) -> bool:
        """Whether undeclared outputs are stored as well."""
        return self.keep or (self.fresh and not self.declared)


@dataclass(frozen=True)
class Written:
    """A run's outputs; ``kept``: the directory holds none that ought to be kept and is kept nowhere else."""

    files: Files
    kept: bool


def seal(root: str, before: Before, after: Listing, policy: Policy, objects: Objects, digests: Digests) -> Written:
    """Hash and store what a run wrote. What is sealed is read anew: no cache vouches for it."""
    old, new = before.listing.written, after.written
    changed = sorted(path for path, status in new.items() if _is_new(old.get(path), status))
    declared = [path for path in changed if policy.pattern(path) is not None]
    observed = [path for path in changed if policy.pattern(path) is None]
    chosen = within_budget(observed[:MOST_FILES], new) | set(declared)
    sealer = _Sealer(root, before, policy, objects, digests)
    facts = [sealer.seal(path, new[path], path in chosen) for path in [*declared, *observed[:MOST_FILES]]]
    facts = [fact and replace(fact, place=after.places.get(fact.path)) for fact in facts]
    files = tuple(sorted((fact for fact in facts if fact is not None), key=lambda fact: fact.path))
    gaps = (
        *list_gaps("outputs", after),
        *(Gap("outputs", reason) for reason in after.left),
        *_beyond(observed, chosen),
        *_unwritten(policy, declared, after),
    )
    needed = [fact for fact in files if fact.basis != "observed" or policy.keeps_all]
    kept = all(fact.stored for fact in needed) and not (policy.keeps_all and (gaps or not after.complete))
    ambiguous = () if policy.fresh else _ambiguous(before, after, files)
    return Written(Files(files, (*gaps, *sealer.gaps), ambiguous), kept)


class _Sealer:
    """Seals one file after the other, and keeps what went wrong."""

    def __init__(self, root: str, before: Before, policy: Policy, objects: Objects, digests: Digests) -> None:
        self._root, self._before, self._policy = root, before, policy
        self._objects, self._digests = objects, digests
        self.gaps: list[Gap] = []

    def seal(self, path: str, status: os.stat_result, read: bool) -> Optional[FileFact]:
        """Return the fact of a file; None where it was touched and not written."""
        pattern = self._policy.pattern(path)
        known = self._before.known.get(path)
        previous = known if path in self._before.listing.followed else self._before.source.get(path) or known
        blank = FileFact(
            path,
            status.st_size,
            None,
            self._policy.basis(path),
            previous=previous,
            name=pattern,
            mode=mode_of(status),
        )
        fact = self._sealed(blank, status) if read else blank
        if (
            pattern is None
            and fact.sha256 is not None
            and fact.sha256 == previous
            and not self._is_written(path, status)
        ):
            return None
        return fact

    def _is_written(self, path: str, status: os.stat_result) -> bool:
        """Whether a file with its old bytes was written: not if it is source, or if only its links changed."""
        old = self._before.listing.written.get(path)
        return path not in self._before.source and (old is None or old.st_mtime_ns != status.st_mtime_ns)

    def _sealed(self, blank: FileFact, status: os.stat_result) -> FileFact:
        place = f"{self._root}/{blank.path}"
        try:
            if stat.S_ISLNK(status.st_mode):
                return replace(blank, sha256=self._objects.add(os.fsencode(os.readlink(place))), stored=True)
            if blank.basis == "observed" and not self._policy.keeps_all:
                return replace(blank, sha256=sha256_of_file(place))
            sha256 = self._objects.add_file(place)
        except StoreError as error:
            self.gaps.append(Gap("outputs", f"{blank.path} is not stored: {error.message}"))
            return replace(blank, sha256=sha256_of_file(place))
        except OSError as error:
            self.gaps.append(Gap("outputs", f"{blank.path} cannot be read: {error.strerror}"))
            return blank
        self._digests.learn(place, status, sha256)
        return replace(blank, sha256=sha256, stored=True)


def _is_new(before: Optional[os.stat_result], after: os.stat_result) -> bool:
    return before is None or _state(before) != _state(after)


def _state(status: os.stat_result) -> tuple[int, int, int, int, int]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _beyond(observed: Sequence[str], chosen: set[str]) -> list[Gap]:
    gaps = []
    if len(observed) > MOST_FILES:
        gaps.append(Gap("outputs", f"{len(observed):,} files were written; the first {MOST_FILES:,} are named"))
    left = sum(path not in chosen for path in observed[:MOST_FILES])
    if left:
        gaps.append(
            Gap("outputs", f"{left:,} observed files are not hashed: together they exceed {MOST_BYTES:,} bytes")
        )
    return gaps


def _untouched(policy: Policy, declared: Collection[str], after: Listing) -> list[Gap]:
    """Say how many files stand among those a run wrote that it did not write: they may belong to its result."""
    written = {pattern for pattern in policy.declared if any(matches(pattern, path) for path in declared)}
    stale = [path for path in after.written if path not in declared and any(matches(each, path) for each in written)]
    if not stale:
        return []
    more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
    return [Gap("outputs", f"not written by this run, and left in its declared outputs: {min(stale)}{more}")]


def _unwritten(policy: Policy, declared: Sequence[str], after: Listing) -> list[Gap]:
    gaps = _untouched(policy, frozenset(declared), after)
    for pattern in (*policy.declared, *policy.metrics):
        if any(matches(pattern, path) for path in declared):
            continue
        there = any(matches(pattern, path) for path in after.written)
        what = "was there before, and this run did not write it" if there else "was not written"
        field, kind = ("outputs", "output") if pattern in policy.declared else ("metrics", "file of metrics")
        gaps.append(Gap(field, f"the declared {kind} {pattern} {what}"))
    return gaps


def _ambiguous(before: Before, after: Listing, files: Sequence[FileFact]) -> tuple[str, ...]:
    """Return the snapshot's files that changed while the run went on: by the command, or by somebody else."""
    rewritten = {fact.path for fact in files if fact.path in before.source and fact.basis == "observed"}
    removed = {path for path in before.source if path in before.listing.files and path not in after.files}
    return tuple(sorted({*rewritten, *removed, *before.ambiguous}))
