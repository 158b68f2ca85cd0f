"""Groups of runs to compare: by a condition, by the value of a parameter or tag, or run by run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.errors import MlrunError, UsageError
from runner.flow.follow import refresh
from runner.records.statistics import Group, finite
from runner.store.index import Filter, Summary
from runner.store.store import Store, short
from runner.worker.results import REUSED
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Asked:
    """Which runs, and how they are put together; runs that did not succeed are left out."""

    runs: tuple[str, ...] = ()  # ids or names; none: all that fit ``where``
    groups: tuple[tuple[str, str], ...] = ()  # name, condition
    by: str | None = None  # params.NAME, tags.NAME, name, project, entry_point, host
    where: str | None = None


@dataclass(frozen=True)
class Found:
    """The groups, and how many runs were left out: those that did not succeed, or took over another's results."""

    groups: tuple[Group, ...]
    left_out: int = 0


def gather(asked: Asked, store: Store) -> Found:
    """Return the groups that are asked for; UsageError for words that mean none, MlrunError where one is empty."""
    refresh(store)
    if asked.groups:
        named = [(name, _matching(condition, store)) for name, condition in asked.groups]
    else:
        named = _split(_chosen(asked, store), asked)
    if not named and asked.by is not None:
        message = f"no run has {asked.by}, by which they are to be put together"
        raise MlrunError(message, hint="`mlrun list` shows the parameters of runs, `mlrun show ID` their tags")
    if not named:
        message = "there are no runs to compare"
        raise MlrunError(message, hint="name runs, or say which: --where 'params.alpha = 0.5', --by params.alpha")
    names = [name for name, _ in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"two groups are called {twice!r}"
        raise UsageError(message, hint="give each group a name of its own, and each run once")
    groups = tuple(_group(name, runs) for name, runs in named)
    empty = [group.name for group in groups if not group.runs]
    if empty:
        message = f"no run that succeeded is in {', '.join(empty)}"
        raise MlrunError(message, hint="`mlrun list --where CONDITION` shows what a condition finds")
    return Found(groups, sum(len(runs) for _, runs in named) - sum(len(group.runs) for group in groups))


def _chosen(asked: Asked, store: Store) -> list[Summary]:
    if asked.runs:
        found = [store.index.get(store.find(text).id) for text in asked.runs]
        return [summary for summary in found if summary is not None]
    return _matching(asked.where, store) if asked.where or asked.by else []


def _matching(condition: str | None, store: Store) -> list[Summary]:
    from runner.store.expression import parse

    return store.index.query(Filter(where=None if condition is None else parse(condition)))


def _split(runs: Sequence[Summary], asked: Asked) -> list[tuple[str, list[Summary]]]:
    """Put runs together by a value, in the order of the values; without one each is a group of its own."""
    if asked.by is None:
        return [(run.name or short(run.id), [run]) for run in runs]
    found: dict[str, list[Summary]] = {}
    for run in runs:
        value = _value(run, asked.by)
        if value is not None:
            found.setdefault(value, []).append(run)
    return sorted(found.items(), key=lambda item: _order(item[0]))


def _value(run: Summary, by: str) -> str | None:
    kind, _, name = by.partition(".")
    if kind in ("params", "tags") and name:
        value = getattr(run, kind).get(name)
        return None if value is None else f"{name}={value}"
    if by in ("name", "project", "entry_point", "host"):
        return str(getattr(run, by)) or None
    message = f"runs cannot be put together by {by!r}"
    raise UsageError(message, hint="write params.NAME, tags.NAME, name, project, entry_point or host")


def _order(text: str) -> tuple[bool, float, str]:
    value = text.partition("=")[2]
    try:
        return False, float(value), text
    except ValueError:
        return True, 0.0, text


def _group(name: str, runs: Iterable[Summary]) -> Group:
    kept = [run for run in runs if run.status == "succeeded" and run.reason != REUSED]  # a copy is no second sample
    values: dict[str, list[float]] = {}
    for run in kept:
        for metric, last in run.metrics.items():
            value = finite(last)
            if value is not None:
                values.setdefault(metric, []).append(value)
    return Group(name, tuple(run.id for run in kept), {metric: tuple(each) for metric, each in values.items()})
