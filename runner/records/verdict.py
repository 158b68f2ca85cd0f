"""Whether two runs came to the same result: their outputs by digest, their metrics by name, step and value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from runner.errors import UsageError
from runner.records.basics import BASES
from runner.records.metrics import amount
from runner.records.mlmodel import home_of, same_model
from runner.records.model import Record
from runner.records.results import Metrics, Output, Series
from runner.records.seal import parse
from runner.records.sub_runs import by_place, sub_runs
from runner.worker.files import Json
from runner.worker.objects import Objects
from runner.worker.state import KILLED, LOST

IDENTICAL, WITHIN, DIFFERENT, UNVERIFIABLE = "identical", "within-tolerance", "different", "unverifiable"
_EXIT_CODES = {IDENTICAL: 0, WITHIN: 0, DIFFERENT: 1, UNVERIFIABLE: 3}
_MACHINE = "system/"  # metrics of the machine, which are never the same twice


@dataclass(frozen=True)
class Tolerance:
    """How far two values of a metric may lie apart."""

    amount: float
    relative: bool = False  # to the value of the first run; 0.01 is one percent

    def allows(self, before: float, after: float) -> bool:
        """Whether ``after`` is near enough; a number is never near NaN."""
        if not (math.isfinite(before) and math.isfinite(after)):
            return before == after or (math.isnan(before) and math.isnan(after))
        return abs(after - before) <= (self.amount * abs(before) if self.relative else self.amount)


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in two runs."""

    what: str  # output, metric, result; code, parameter, package, interpreter, machine, input, ...
    name: str
    before: str | None = None
    after: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the comparison of a re-run with the run that it repeats came to."""

    kind: str
    compared: int = 0  # outputs and values of metrics
    differences: tuple[Difference, ...] = ()
    within: tuple[Difference, ...] = ()  # not the same, but near enough
    reasons: tuple[str, ...] = ()  # why it is unverifiable
    version: int = field(default=1)

    @property
    def exit_code(self) -> int:
        """What `rerun --check` exits with."""
        return _EXIT_CODES[self.kind]


@dataclass
class _Findings:
    """What is found while two records are compared."""

    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    within: list[Difference] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def verdict(self) -> Verdict:
        if not self.compared and not self.differences and not self.reasons:
            self.reasons.append("neither run has outputs or metrics that could be compared")
        if self.differences:
            kind = DIFFERENT
        elif self.reasons:
            kind = UNVERIFIABLE
        else:
            kind = WITHIN if self.within else IDENTICAL
        return Verdict(kind, self.compared, tuple(self.differences), tuple(self.within), tuple(self.reasons))


def parse_tolerance(text: str) -> tuple[str, Tolerance]:
    """Return the metric (or pattern of metrics) and the tolerance that `rmse=0.01` or `rmse=1%` names; UsageError."""
    name, _, value = text.rpartition("=")
    relative = value.strip().endswith("%")
    try:
        size = float(value.strip().removesuffix("%"))
    except ValueError:
        size = math.nan
    if not name.strip() or not math.isfinite(size) or size < 0:
        message = f"{text!r} is no tolerance"
        raise UsageError(message, hint="write METRIC=0.01 for an absolute one, METRIC=1% for a relative one")
    return name.strip(), Tolerance(size / 100 if relative else size, relative)


def compare(
    before: Record | Json,
    after: Record | Json,
    tolerances: Mapping[str, Tolerance] | None = None,
    objects: Objects | None = None,
) -> Verdict:
    """Compare two ended runs. ``tolerances`` are by the name of a metric, or a pattern like `val_*`.

    With ``objects``, files called `MLmodel` are compared without their ids, times and paths.
    """
    first, second = parse(before), parse(after)
    cut_short = tuple(_cut_short(first, "first")) + tuple(_cut_short(second, "second"))
    if cut_short:
        return Verdict(UNVERIFIABLE, reasons=cut_short)
    return _found(first, second, tolerances or {}, objects).verdict()


def results_differ(before: Record, after: Record, objects: Objects | None = None) -> tuple[Difference, ...]:
    """Return how the endings, outputs and metrics of two runs differ, whether or not they came to their own end."""
    return tuple(_found(before, after, {}, objects).differences)


def _found(before: Record, after: Record, tolerances: Mapping[str, Tolerance], objects: Objects | None) -> _Findings:
    findings = _Findings()
    _compare_results(before, after, findings)
    _compare_outputs(before, after, objects, findings)
    _compare_metrics(("", before.metrics), ("", after.metrics), tolerances, findings)
    _compare_sub_runs(before, after, tolerances, findings)
    return findings


def _cut_short(record: Record, which: str) -> Iterator[str]:
    """A run that did not come to its own end has no result: what lies there says nothing."""
    if record.run.status in (KILLED, LOST):
        yield f"the {which} run was {record.run.status} before its end"
    elif record.result.reason in ("prepare", "submit", "node-fail"):
        yield f"the {which} run failed before its command could end"


def _compare_results(first: Record, second: Record, findings: _Findings) -> None:
    """A run that failed is not the same as one that succeeded; two that end alike are compared by what they made."""
    before, after = _ending(first), _ending(second)
    if before != after:
        note = "" if second.result.error is None else second.result.error.message
        findings.differences.append(Difference("result", "status", before, after, note))


def _ending(record: Record) -> str:
    result = record.result
    if result.signal is not None:
        return f"{record.run.status} (signal {result.signal})"
    return record.run.status if not result.exit_code else f"{record.run.status} (exit code {result.exit_code})"


def _compare_outputs(first: Record, second: Record, objects: Objects | None, findings: _Findings) -> None:
    old, new, basis = compared_outputs(first, second)
    homes = home_of(first), home_of(second)
    for path in sorted(old.keys() | new.keys()):
        _compare_output(path, old.get(path), new.get(path), homes, objects, findings)
    for record, which in ((first, "first"), (second, "second")):
        if basis == "observed":
            said = (gap.reason for gap in record.gaps if gap.field == "outputs")
            findings.reasons += [f"the outputs of the {which} run are not all known: {reason}" for reason in said]


def compared_outputs(first: Record, second: Record) -> tuple[dict[str, Output], dict[str, Output], str]:
    """Return what is compared of two runs: what was logged, and what was declared; else the observed outputs too.

    Of declared files of metrics the values are compared, with the other metrics.
    """
    declared = any(output.basis == "declared" for record in (first, second) for output in record.outputs)
    basis = "declared" if declared else "observed"
    bases = ("declared", "logged") if declared else BASES - {"measured"}
    old, new = (
        by_place([output for output in record.outputs if output.basis in bases], record) for record in (first, second)
    )
    return old, new, basis


def _compare_output(
    path: str,
    old: Output | None,
    new: Output | None,
    homes: tuple[str, str],
    objects: Objects | None,
    findings: _Findings,
) -> None:
    if old is None or new is None:
        findings.compared += 1
        note = "only the first run made it" if new is None else "only the second run made it"
        findings.differences.append(Difference("output", path, _shown(old), _shown(new), note))
    elif old.digest is None or new.digest is None:
        if old.size == new.size:
            findings.reasons.append(f"{path} was not hashed")
        else:
            findings.compared += 1
            findings.differences.append(Difference("output", path, f"{old.size} bytes", f"{new.size} bytes"))
    else:
        findings.compared += 1
        if old.digest != new.digest and not same_model(path, (old.digest, homes[0]), (new.digest, homes[1]), objects):
            note = "" if old.size == new.size else f"{old.size} bytes, then {new.size}"
            findings.differences.append(Difference("output", path, _shown(old), _shown(new), note))


def _shown(output: Output | None) -> str | None:
    if output is None:
        return None
    return "not hashed" if output.digest is None else f"sha256 {output.digest.sha256[:12]}"


def _compare_sub_runs(first: Record, second: Record, tolerances: Mapping[str, Tolerance], findings: _Findings) -> None:
    """Compare the runs that a client made, in the order in which it made them: their ids and names are chance."""
    old, new = sub_runs(first), sub_runs(second)
    if len(old) != len(new):
        findings.differences.append(Difference("sub-runs", "number", str(len(old)), str(len(new))))
    for number, (before, after) in enumerate(zip(old, new, strict=False), 1):
        label = f"sub-run {number}: "
        if before.status != after.status:
            findings.differences.append(Difference("sub-runs", f"{label}status", before.status, after.status))
        _compare_metrics((label, before.metrics), (label, after.metrics), tolerances, findings)


def _compare_metrics(
    before: tuple[str, Metrics], after: tuple[str, Metrics], tolerances: Mapping[str, Tolerance], findings: _Findings
) -> None:
    """Compare metrics, each by a label and what was logged."""
    label = before[0]
    old, new = (
        {series.name: series for series in metrics.series if not series.name.startswith(_MACHINE)}
        for _, metrics in (before, after)
    )
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if one is None or other is None:
            findings.compared += 1
            note = "only the first run logged it" if other is None else "only the second run logged it"
            findings.differences.append(Difference("metric", label + name, _last(one), _last(other), note))
        else:
            _compare_series((label, one, other), _tolerance(name, tolerances), findings)


def _compare_series(pair: tuple[str, Series, Series], tolerance: Tolerance | None, findings: _Findings) -> None:
    label, before, after = pair
    name = label + before.name
    findings.compared += max(before.count, after.count)
    if before.digest == after.digest:
        return
    if before.count != after.count:
        note = f"{before.count} values, then {after.count}"
        findings.differences.append(Difference("metric", name, _last(before), _last(after), note))
    elif before.points and after.points:
        near, worst = _furthest(pair, tolerance)
        if worst is not None:
            (findings.within if near else findings.differences).append(worst)
    elif tolerance is None:
        note = "the values are too many for the records: their digests differ"
        findings.differences.append(Difference("metric", name, _last(before), _last(after), note))
    else:
        findings.reasons.append(f"the values of the metric {name} differ, and are too many for the records")


def _furthest(pair: tuple[str, Series, Series], tolerance: Tolerance | None) -> tuple[bool, Difference | None]:
    """Return whether all values are near enough, and the first pair that is not, else the first that differs at all."""
    label, before, after = pair
    worst: tuple[bool, Difference] | None = None
    for old, new in zip(before.points, after.points, strict=True):
        a, b = amount(old.value), amount(new.value)
        same_step = old.step == new.step
        if same_step and (a == b or (math.isnan(a) and math.isnan(b))):
            continue
        near = same_step and tolerance is not None and tolerance.allows(a, b)
        if worst is None or (worst[0] and not near):
            steps = f"step {old.step}" if same_step else f"step {old.step}, then {new.step}"
            note = "" if old.step is None and same_step else steps
            worst = near, Difference("metric", label + before.name, str(old.value), str(new.value), note)
    return worst or (True, None)


def _tolerance(name: str, tolerances: Mapping[str, Tolerance]) -> Tolerance | None:
    if name in tolerances:
        return tolerances[name]
    return next((value for pattern, value in tolerances.items() if fnmatchcase(name, pattern)), None)


def _last(series: Series | None) -> str | None:
    return None if series is None else str(series.last)
