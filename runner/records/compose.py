"""From the files of a run directory to its record, whatever became of the run: what is not there becomes a gap."""

from __future__ import annotations

import re
from typing import Any

from runner.records import composed_setting
from runner.records.basics import Digest, digest, uri
from runner.records.clean import clean_argv, clean_text
from runner.records.evidence import Evidence, gather, said
from runner.records.gaps import clock_set_back, explain_missing
from runner.records.metrics import MOST_POINTS_ALTOGETHER, read_metrics
from runner.records.model import Record, Relations, Run, Tool, Why
from runner.records.results import Input, Log, Output, Result
from runner.records.scores import read_scores
from runner.records.tracking import read_tracking
from runner.store.store import Store
from runner.worker.facts import Gap, Request
from runner.worker.look import look
from runner.worker.results import FileFact, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.state import State

__all__ = ["clean_argv", "compose"]

_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # the digest of an empty file
_MOST_PRODUCERS = 20  # runs named as producers of one input
_REFERENCE = re.compile(r"https?://\S*[\w/]|(?:[\w.-]+/[\w.-]+)?#\d+\b|\b[A-Z][A-Z0-9]+-\d+\b")


def compose(run: RunDirectory, store: Store, state: State | None = None, *, brief: bool = False) -> Record:
    """Return the record of a run as it is now; one that goes on has the status and the facts of this moment.

    ``state`` is what `look` said, where it was asked already; ``brief`` leaves the values of metrics out. FormatError
    where the run's own files are damaged.
    """
    state = state or look(run)
    facts, gaps = gather(run, state.outcome)
    inputs, more = _inputs(facts, store)
    scores, score_gaps = read_scores(facts.outputs.files, facts.spec.metrics, store.objects)
    metrics, metric_gaps = read_metrics(run.metrics, scores, brief=brief)
    room = 0 if brief else MOST_POINTS_ALTOGETHER - sum(len(series.points) for series in metrics.series)
    tracking, tracking_gaps = read_tracking(run, ended=state.ended, room=room)
    parts: dict[str, Any] = {
        "run": _run(run, facts, state),
        "code": composed_setting.code(facts),
        "environment": composed_setting.environment(facts),
        "platform": composed_setting.platform(facts.start),
        "result": _result(facts),
        "logs": _logs(run, facts.outcome),
    }
    clock = clock_set_back(facts.outcome, parts["run"].started)
    known = (*gaps, *said(facts), *more, *score_gaps, *metric_gaps, *tracking_gaps, *clock)
    return Record(
        **parts,
        actor=facts.request.actor,
        why=_why(facts.request),
        entry_point=composed_setting.entry_point(facts),
        parameters=facts.spec.parameters,
        execution=composed_setting.execution(facts),
        inputs=inputs,
        outputs=tuple(_output(fact) for fact in facts.outputs.files),
        metrics=metrics,
        tracking=tracking,
        relations=Relations(parent=facts.request.parent, rerun_of=facts.request.rerun_of, reused=facts.request.reused),
        spec_digest=Digest(facts.spec.digest),
        pinned_digest=Digest(_pinned(facts).pinned_digest),
        tool=_tool(facts.request.tool),
        gaps=(*known, *explain_missing(parts, known, state, facts.outcome)),
    )


def _run(run: RunDirectory, facts: Evidence, state: State) -> Run:
    outcome, start = facts.outcome, facts.start
    usage = None if outcome is None else outcome.usage
    return Run(
        id=run.id,
        status=state.name,
        created=facts.request.created,
        name=facts.request.name,
        started=state.started if start is None else start.at,
        ended=None if outcome is None else outcome.at,
        duration=None if usage is None else usage.wall,
        experiment=facts.request.experiment or facts.request.experiment_id,
    )


def _why(request: Request) -> Why:
    text = clean_text(request.why)
    return Why(text, tuple(dict.fromkeys(_REFERENCE.findall(text))), dict(request.tags))


def _inputs(facts: Evidence, store: Store) -> tuple[tuple[Input, ...], list[Gap]]:
    digests = {fact.sha256 for fact in facts.inputs.files if fact.sha256 not in (None, _NOTHING)}
    producers = store.index.producers_of([digest for digest in digests if digest is not None])
    earlier = {
        digest: [each.run for each in found if each.created < facts.request.created]
        for digest, found in producers.items()
    }
    many = [fact.path for fact in facts.inputs.files if len(set(earlier.get(fact.sha256 or "", ()))) > _MOST_PRODUCERS]
    gaps = [
        Gap("inputs", f"{path} was written by more than {_MOST_PRODUCERS} runs; the newest are named") for path in many
    ]
    return tuple(_input(fact, earlier.get(fact.sha256 or "", [])) for fact in facts.inputs.files), gaps


def _input(fact: FileFact, producers: list[str]) -> Input:
    return Input(
        path=uri(fact.path),
        size=fact.size,
        digest=digest(fact.sha256),
        basis="declared" if fact.basis == "parameter" else fact.basis,
        produced_by=tuple(dict.fromkeys(producers))[:_MOST_PRODUCERS],
        changed=fact.changed,
        stored=fact.stored,
        name=fact.name,
        parameter=fact.parameter,
        mode=fact.mode,
    )


def _output(fact: FileFact) -> Output:
    return Output(
        path=uri(fact.path),
        size=fact.size,
        digest=digest(fact.sha256),
        basis=fact.basis,
        previous=digest(fact.previous),
        changed=fact.changed,
        stored=fact.stored,
        name=fact.name,
        mode=fact.mode,
        place=None if fact.place is None else uri(fact.place),
    )


def _logs(run: RunDirectory, outcome: Outcome | None) -> dict[str, Log]:
    names = {"stdout": run.stdout.name, "stderr": run.stderr.name}
    sealed = {} if outcome is None else outcome.logs
    return {name: Log(names.get(name, name), log.size, Digest(log.sha256)) for name, log in sealed.items()}


def _result(facts: Evidence) -> Result:
    outcome = facts.outcome
    ambiguous = tuple(dict.fromkeys((*facts.inputs.ambiguous, *facts.outputs.ambiguous)))
    if outcome is None:
        return Result(ambiguous=ambiguous)
    return Result(
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        reason=outcome.reason,
        timed_out=outcome.reason == "timeout",
        error=outcome.error,
        usage=outcome.usage,
        left_behind=outcome.left_behind,
        ambiguous=ambiguous,
    )


def _pinned(facts: Evidence) -> RunSpec:
    return facts.spec if facts.installed is None else facts.installed.pin(facts.spec)


def _tool(text: str) -> Tool:
    name, _, version = text.rpartition(" ")
    return Tool(name or text, version if name else "")
