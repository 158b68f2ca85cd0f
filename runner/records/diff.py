"""All in which two runs differ, the most telling first: how they ended, what ran, on what, and what came out."""

from __future__ import annotations

from dataclasses import field

from runner.records.explain import explain
from runner.records.model import Record
from runner.records.seal import parse
from runner.records.source_patch import source_patch
from runner.records.verdict import Difference, results_differ
from runner.worker.codec import encode
from runner.worker.files import Json
from runner.worker.objects import Objects
from runner.worker.values import dataclass

_CAUSES = ("code", "parameter", "input", "package", "environment", "interpreter")  # they go before the results


@dataclass(frozen=True)
class Diff:
    """Two runs side by side. ``took`` never counts as a difference: no two runs take the same time."""

    before: str  # ids
    after: str
    differences: tuple[Difference, ...]
    took: tuple[float | None, float | None] = (None, None)  # seconds
    patch: str = field(default="", repr=False)  # of the source, as `git diff` has it

    def to_json(self) -> Json:
        """Return it as JSON."""
        return encode(self)


def diff(before: Record | Json, after: Record | Json, objects: Objects, *, color: bool = False) -> Diff:
    """Compare two runs, ended or not. FormatError or IntegrityError where a record or a snapshot is not whole."""
    first, second = parse(before), parse(after)
    endings = results_differ(first, second, objects)
    causes = explain(first, second, objects)
    ordered = (
        *(each for each in endings if each.what == "result"),
        *(each for each in causes if each.what in _CAUSES),
        *(each for each in endings if each.what != "result"),
        *(each for each in causes if each.what not in _CAUSES),
    )
    sources = first.code.snapshot.sha256, second.code.snapshot.sha256
    return Diff(
        first.run.id,
        second.run.id,
        ordered,
        (first.run.duration, second.run.duration),
        source_patch(*sources, objects, color=color),
    )
