"""What a run directory holds, read for its record: what the plan does not need may be missing or damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.errors import FormatError, ProjectError
from runner.records.gaps import placed
from runner.worker.execution.opened import inputs_of
from runner.worker.facts import Gap, InstalledEnvironment, Launched, Placement, Request, SourceFacts, Start
from runner.worker.files import read_json
from runner.worker.results import REUSED, Files, Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.values import dataclass


@dataclass(frozen=True)
class Evidence:
    """What a run directory holds."""

    request: Request
    spec: RunSpec
    source: SourceFacts
    installed: InstalledEnvironment | None
    start: Start | None
    launched: Launched | None
    outcome: Outcome | None
    inputs: Files
    outputs: Files
    ticket: Mapping[str, str]
    command: str | None = None  # as it was run; of a run that took over results, as it would have been


def gather(run: RunDirectory, outcome: Outcome | None) -> tuple[Evidence, list[Gap]]:
    """Return the facts, with the outcome that was seen, and gaps for files that cannot be read.

    FormatError where the plan itself is damaged.
    """
    gaps: list[Gap] = []

    def attempt(field: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except FormatError as error:
            gaps.append(Gap(field, f"the file cannot be read: {error.message}"))
            return None

    def files(read: Callable[[], Files | None], field: str) -> Files:
        found = attempt(field, read)
        if found is None and not any(gap.field == field for gap in gaps):
            looked = "they were not looked at: the run did not get so far"
            gaps.append(Gap(field, looked if outcome is not None else "they are not known while the run goes on"))
        return found or Files()

    spec, start = run.read(RunSpec), attempt("run.started", lambda: run.find(Start))
    facts = Evidence(
        request=run.read(Request),
        spec=spec,
        source=run.read(SourceFacts),
        installed=attempt("environment", lambda: run.find(InstalledEnvironment)),
        start=start,
        launched=attempt("execution", lambda: run.find(Launched)),
        outcome=outcome,
        inputs=files(lambda: inputs_of(run), "inputs"),
        outputs=files(lambda: run.read_files(run.outputs), "outputs"),
        ticket=attempt("execution", lambda: _ticket(run)) or {},
        command=_would_be(run, spec, outcome) if start is None else start.command,
    )
    return facts, gaps


def _would_be(run: RunDirectory, spec: RunSpec, outcome: Outcome | None) -> str | None:
    """Return the command whose results a run took over."""
    if outcome is None or outcome.reason != REUSED:
        return None
    placement = run.find(Placement)
    if placement is None:  # an older mlrun left none
        return None
    from runner.worker.command import render
    from runner.worker.execution.workplace import place_of

    project = (run.work if placement.root is None else Path(placement.root)) / spec.snapshot.subdirectory
    places = {each.name: place_of(each, project, placement) for each in spec.inputs}
    try:
        return render(spec.command, spec.parameters, places)
    except ProjectError:
        return None


def _ticket(run: RunDirectory) -> Mapping[str, str]:
    """Return what the backend noted of a launch, in its own words; `launcher` and `job` mean the same for all."""
    if not run.ticket.exists():
        return {}
    data = read_json(run.ticket)
    noted = data.get("data") if isinstance(data, dict) else None
    return {key: str(value) for key, value in noted.items()} if isinstance(noted, dict) else {}


def said(facts: Evidence) -> Iterable[Gap]:
    """Return the gaps that were noted while the run went on, by the record's group."""
    yield from placed("run", facts.request.gaps)
    yield from placed("code", facts.source.gaps)
    if facts.source.not_stored:
        large = len(facts.source.not_stored)
        which = f"{large} file{'s are' if large > 1 else ' is'}"
        reason = f"{which} above the size cap: known by digest, the bytes are not kept"
        yield Gap("code.not_stored", reason)
    yield from placed("inputs", facts.inputs.gaps)
    yield from placed("outputs", facts.outputs.gaps)
    if facts.installed is not None:
        yield from placed("environment", facts.installed.gaps)
    if facts.start is not None:
        yield from placed("platform", facts.start.host.gaps)
    if facts.outcome is not None:
        yield from placed("result", facts.outcome.gaps)
