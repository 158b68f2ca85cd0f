"""Groups of runs side by side: of each metric the mean, the spread, and how sure the mean is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from runner.worker.values import dataclass


@dataclass(frozen=True)
class Sample:
    """A metric in a group of runs; each run counts once, with its last value. NaN and infinities count as missing."""

    metric: str
    count: int
    mean: float
    deviation: float | None = None  # of the sample, with n - 1; None for a single run
    minimum: float = math.nan
    maximum: float = math.nan
    interval: tuple[float, float] | None = None  # of the mean, by Student's t; None without scipy, or for a single run


@dataclass(frozen=True)
class Contrast:
    """A group's mean beside the baseline's."""

    metric: str
    difference: float
    relative: float | None = None  # to the baseline's mean
    p_value: float | None = None  # by Welch's t-test, two-sided; None without scipy, or for single runs


@dataclass(frozen=True)
class Group:
    """Runs that are compared as one."""

    name: str
    runs: tuple[str, ...]
    values: Mapping[str, tuple[float, ...]]  # metric -> a value for each run that has it


def summarise(group: Group, metric: str, confidence: float) -> Sample | None:
    """Return what a group says of a metric; None where no run of it has a value."""
    values = group.values.get(metric, ())
    if not values:
        return None
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Sample(metric, 1, mean, None, mean, mean)
    deviation = statistics.stdev(values)
    interval = _interval(values, mean, deviation, confidence)
    return Sample(metric, len(values), mean, deviation, min(values), max(values), interval)


def contrast(group: Group, baseline: Group, metric: str) -> Contrast | None:
    """Return how a group's mean of a metric differs from the baseline's; None where one of them has no value."""
    here, there = group.values.get(metric, ()), baseline.values.get(metric, ())
    if not here or not there:
        return None
    mean, base = statistics.fmean(here), statistics.fmean(there)
    return Contrast(metric, mean - base, (mean - base) / abs(base) if base else None, _p_value(here, there))


def finite(value: float | str) -> float | None:
    """Return a metric's value as records have it, where it is a finite number."""
    number = math.nan if isinstance(value, str) else float(value)
    return number if math.isfinite(number) else None


def has_scipy() -> bool:
    """Whether intervals and p-values can be computed."""
    from importlib.util import find_spec

    return find_spec("scipy") is not None


def metrics_of(groups: Iterable[Group]) -> list[str]:
    """Return the names of all metrics of some groups, sorted; without those of the machine."""
    return sorted({name for group in groups for name in group.values if not name.startswith("system/")})


def _interval(values: Sequence[float], mean: float, deviation: float, confidence: float) -> tuple[float, float] | None:
    if not has_scipy():
        return None
    from scipy.stats import t

    reach = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean - reach, mean + reach


def _p_value(here: Sequence[float], there: Sequence[float]) -> float | None:
    if len(here) < 2 or len(there) < 2 or not has_scipy():  # noqa: PLR2004 - a spread needs two
        return None
    if len({*here, *there}) == 1:
        return 1.0
    from scipy.stats import ttest_ind

    value = float(ttest_ind(here, there, equal_var=False).pvalue)
    return value if math.isfinite(value) else None
