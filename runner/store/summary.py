"""A run in one line, for lists and searches: read off its sealed record, or off its files where it has none yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, fields, replace
from typing import Any

from runner.errors import MlrunError
from runner.worker.clock import stamp
from runner.worker.codec import decode
from runner.worker.facts import Claim, Request, Start
from runner.worker.files import Json, read_json
from runner.worker.results import Outcome
from runner.worker.rundir import RunDirectory
from runner.worker.spec import RunSpec
from runner.worker.state import PLANNED, PREPARING, RUNNING, SUBMITTED
from runner.worker.values import dataclass

DAMAGED = "damaged"  # its files cannot be read: it is listed, so that it can be looked at and removed
STATUSES = (
    *("planned", "submitted", "preparing", "running", "orphaned", "unreachable"),
    *("succeeded", "failed", "killed", "lost", DAMAGED),
)
FileRow = tuple[str, str]  # sha256, path
_SUB_RUNS = 10  # of a run that lists are told of


@dataclass(frozen=True)
class Summary:
    """What lists show and searches ask of a run. ``status`` is as of the last look at its files."""

    id: str
    status: str
    created: str
    name: str = ""
    project: str = ""
    entry_point: str = ""
    reason: str | None = None
    exit_code: int | None = None
    started: str | None = None
    ended: str | None = None
    duration: float | None = None  # seconds
    host: str = ""
    params: Mapping[str, str] = field(default_factory=dict)  # raw
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | str] = field(default_factory=dict)  # last value; NaN and infinities as text
    why: str = ""
    spec_digest: str = ""
    rerun_of: str | None = None
    parent: str | None = None
    sealed: bool = False
    sub_runs: tuple[Mapping[str, Any], ...] = ()  # the first that a client made: id, name, status, params, metrics
    sub_run_count: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(item.name for item in fields(Summary))


@dataclass(frozen=True)
class Row:
    """What the index holds of a run: its summary, and the files it wrote and read, directories among them."""

    summary: Summary
    outputs: tuple[FileRow, ...] = ()
    inputs: tuple[FileRow, ...] = ()
    sub_runs: tuple[str, ...] = ()  # ids of all that a client made


def read(run: RunDirectory) -> Row:
    """Return a run's row, whatever state its files are in."""
    try:
        row = row_of_record(read_json(run.record)) if run.record.exists() else Row(of_files(run))
        if row.summary.id == run.id:
            return row
        return Row(_damaged(run, ValueError(f"its files are of the run {row.summary.id}")))
    except (MlrunError, OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        return Row(_damaged(run, error))


def row_of_record(record: Json) -> Row:
    """Return the row of a sealed record; KeyError, TypeError or FormatError where it is not one."""
    data: Any = record
    outputs = _files(data["outputs"])
    sub_runs = tuple(str(child["id"]) for child in _children(data))
    return Row(of_record(record), (*outputs, *_directories(data["outputs"])), _files(data["inputs"]), sub_runs)


def of_record(record: Json) -> Summary:
    """Return the summary of a sealed record; KeyError, TypeError or FormatError where it is not one."""
    data: Any = record
    run, result, relations = data["run"], data["result"], data["relations"]
    fields = {
        "id": run["id"],
        "status": run["status"],
        "created": run["created"],
        "name": run["name"],
        "project": data["entry_point"]["project"],
        "entry_point": data["entry_point"]["name"],
        "reason": result["reason"],
        "exit_code": result["exit_code"],
        "started": run["started"],
        "ended": run["ended"],
        "duration": run["duration"],
        "host": data["execution"]["host"],
        "params": {item["name"]: item["raw"] for item in data["parameters"]},
        "tags": data["why"]["tags"],
        "metrics": {item["name"]: item["last"] for item in data["metrics"]["series"]},
        "why": data["why"]["text"],
        "spec_digest": data["spec_digest"]["sha256"],
        "rerun_of": relations["rerun_of"],
        "parent": relations["parent"],
        "sealed": True,
    }
    children = _children(data)
    few = tuple(_sub_run(child) for child in children[:_SUB_RUNS])
    return replace(decode(Summary, fields, "record.json"), sub_runs=few, sub_run_count=len(children))


def _children(record: Any) -> Any:
    return (record.get("tracking") or {}).get("children", [])


def _sub_run(child: Any) -> Mapping[str, Any]:
    metrics = {item["name"]: item["last"] for item in child["metrics"]["series"]}
    return {**{name: child[name] for name in ("id", "name", "status", "params")}, "metrics": metrics}


def _files(items: Any) -> tuple[FileRow, ...]:
    """Return the files of a group that have a digest."""
    digests = ((item["digest"], item["path"]) for item in items)
    return tuple((str(digest["sha256"]), str(path)) for digest, path in digests if digest is not None)


def _directories(items: Any) -> Iterable[FileRow]:
    """Return the directories that were declared as outputs, so that a run which reads one whole finds who made it."""
    from runner.worker.hashing import digest_of_directory  # a plain list needs none of it

    members: dict[str, list[FileRow]] = {}
    for item in items:
        name, digest = (item["name"] or "").rstrip("/"), item["digest"]
        if name and digest is not None and item["path"].startswith(f"{name}/"):
            members.setdefault(name, []).append((item["path"][len(name) + 1 :], digest["sha256"]))
    return tuple((digest_of_directory(pairs), name) for name, pairs in members.items())


def of_files(run: RunDirectory) -> Summary:
    """Return the summary of a run without a record; no process is looked at."""
    start, outcome = run.find(Start), run.find(Outcome)
    summary = replace(of_plan(run.read(Request), run.read(RunSpec)), status=_status(run, start, outcome))
    if start is not None:
        summary = replace(summary, started=start.at, host=start.host.hostname)
    if outcome is not None:
        summary = replace(summary, ended=outcome.at, reason=outcome.reason, exit_code=outcome.exit_code)
    return summary


def _status(run: RunDirectory, start: Start | None, outcome: Outcome | None) -> str:
    if outcome is not None:
        return outcome.status
    if start is not None:
        return RUNNING
    if run.has(Claim):
        return PREPARING
    return SUBMITTED if run.ticket.exists() else PLANNED


def of_plan(request: Request, spec: RunSpec) -> Summary:
    """Return the summary of a run that is about to be made."""
    return Summary(
        id=request.id,
        status=PLANNED,
        created=request.created,
        name=request.name,
        project=spec.project,
        entry_point=spec.entry_point,
        host=request.submitted_from,
        params={parameter.name: parameter.raw for parameter in spec.parameters},
        tags=dict(request.tags),
        why=request.why,
        spec_digest=spec.digest,
        rerun_of=request.rerun_of,
        parent=request.parent,
    )


def _damaged(run: RunDirectory, error: Exception) -> Summary:
    try:
        created = stamp(run.path.stat().st_mtime)
    except OSError:
        created = stamp(0)
    return Summary(id=run.id, status=DAMAGED, created=created, reason=str(error))
