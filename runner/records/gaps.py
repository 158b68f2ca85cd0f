"""What a record does not know, and why: a gap for each fact that a reader would look for and not find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.worker.clock import seconds
from runner.worker.facts import Gap
from runner.worker.results import REUSED, Outcome
from runner.worker.state import UNREACHABLE, State

_TICK = 1.0  # seconds that clocks may differ without having been set
_GROUPS = frozenset(
    {
        *("run", "actor", "why", "code", "entry_point", "parameters", "environment", "platform", "execution"),
        *("inputs", "outputs", "logs", "metrics", "result", "relations"),
    }
)


def placed(group: str, gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return gaps with fields as a record has them: what names no group is of ``group``."""
    return tuple(
        gap if gap.field.partition(".")[0] in _GROUPS else Gap(f"{group}.{gap.field}".rstrip("."), gap.reason)
        for gap in gaps
    )


def explain_missing(
    parts: Mapping[str, Any], known: Iterable[Gap], state: State, outcome: Outcome | None
) -> tuple[Gap, ...]:
    """Return a gap for each fact that is missing in ``parts`` and that no known gap explains."""
    explained = {gap.field for gap in known}
    environment = parts["environment"]
    late = _not_reached(state)
    elsewhere = state.outcome is None and (state.started is not None or state.name == UNREACHABLE)
    unprepared = f"it is not known here yet: {late}" if elsewhere else f"the environment was not made: {late}"
    unbegun = f"it is not known here yet: {late}" if elsewhere else f"the command did not begin: {late}"
    hosts_own = "the host's own environment was used as it was"
    unmade = hosts_own if environment.kind == "host" else unprepared
    found: dict[str, tuple[bool, str]] = {
        "code.commit": (parts["code"].commit is None, _why_no_commit(parts["code"].kind)),
        "environment.lock": (
            environment.lock is None,
            f"{hosts_own}: it has no lock" if unmade == hosts_own else unmade,
        ),
        "environment.interpreter": (environment.interpreter is None, unprepared),
        "environment.installed": (environment.installed is None, unmade),
        "platform": (parts["platform"] is None, unbegun),
        "run.started": (parts["run"].started is None, unbegun),
        "result.usage": (parts["result"].usage is None, _why_no_usage(state, outcome)),
        "logs": (not parts["logs"], f"the logs are not sealed: {late}"),
    }
    return tuple(Gap(field, reason) for field, (absent, reason) in found.items() if absent and field not in explained)


def clock_set_back(outcome: Outcome | None, started: str | None) -> tuple[Gap, ...]:
    """Return a gap where a run's end is earlier than its start and its measured duration allow.

    A clock that was set forward cannot be told from the time that taking stock of outputs needs.
    """
    if outcome is None or started is None or outcome.usage is None:
        return ()
    shown, measured = seconds(outcome.at) - seconds(started), outcome.usage.wall
    if shown >= measured - _TICK:
        return ()
    return (
        Gap("run.ended", f"the clock was set back: {shown:.0f} s by it since the start, {measured:.0f} s measured"),
    )


def _not_reached(state: State) -> str:
    if state.outcome is None:
        return f"the run is {state.name}" + (f": {state.remark}" if state.remark else "")
    if state.outcome.reason == REUSED:
        return "nothing was executed, the results are another run's (relations.reused)"
    error = state.outcome.error
    return f"the run {state.name}" if error is None else f"the run {state.name}: {error.message}"


def _why_no_commit(kind: str) -> str:
    reasons = {
        "git": "git names none",
        "zip": "an archive has no commit",
        "empty": "there is no source",
    }
    return reasons.get(kind, "the directory is under no version control")


def _why_no_usage(state: State, outcome: Outcome | None) -> str:
    if outcome is None:
        return f"the run is {state.name}"
    return "the worker did not see the command end" if state.name in ("lost", "killed") else "it was not measured"
