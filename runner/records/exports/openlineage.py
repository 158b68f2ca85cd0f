"""OpenLineage run events: one that the run began, one that it ended, as lines of JSON for any OpenLineage backend."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from runner.records.model import Record
from runner.records.results import Input, Output
from runner.worker.files import Json

_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"
_PRODUCER = "urn:mlrun:tool:"
_TYPES = {"succeeded": "COMPLETE", "failed": "FAIL", "killed": "ABORT", "lost": "ABORT"}


def export_openlineage(record: Record) -> list[Json]:
    """Return the events of an ended run, the first one first; of one whose command never began only the last."""
    end = record.run.ended or record.run.created
    last = _event(record, _TYPES.get(record.run.status, "OTHER"), end)
    return [last] if record.run.started is None else [_event(record, "START", record.run.started), last]


def _event(record: Record, kind: str, moment: str) -> Json:
    began = kind == "START"
    outputs: list[Json] = [] if began else [_dataset(record, item) for item in record.outputs]
    return {
        "eventType": kind,
        "eventTime": moment,
        "run": {"runId": record.run.id, "facets": _run_facets(record, failed=kind == "FAIL")},
        "job": {"namespace": _namespace(record), "name": _job(record), "facets": _job_facets(record)},
        "inputs": [_dataset(record, item) for item in record.inputs],
        "outputs": outputs,
        "producer": _producer(record),
        "schemaURL": _SCHEMA,
    }


def _run_facets(record: Record, *, failed: bool) -> Json:
    facets: dict[str, Json] = {
        "nominalTime": _facet(record, "1-0-1/NominalTimeRunFacet", {"nominalStartTime": record.run.created}),
        "processing_engine": _facet(
            record, "1-1-1/ProcessingEngineRunFacet", {"version": record.tool.version, "name": record.tool.name}
        ),
        "mlrun_parameters": {
            "_producer": _producer(record),
            "_schemaURL": "urn:mlrun:openlineage:parameters:1",
            "parameters": {_text(each.name): _text(each.raw) for each in record.parameters},
        },
    }
    error = record.result.error
    if failed and error is not None:
        said = {"message": _text(error.message), "programmingLanguage": "unknown"}
        facets["errorMessage"] = _facet(record, "1-0-1/ErrorMessageRunFacet", said)
    if record.relations.parent is not None:
        job: Json = {"namespace": _namespace(record), "name": _job(record)}
        parent: dict[str, Json] = {"run": {"runId": record.relations.parent}, "job": job}
        facets["parent"] = _facet(record, "1-1-0/ParentRunFacet", parent)
    return facets


def _job_facets(record: Record) -> Json:
    code = record.code
    facets: dict[str, Json] = {
        "jobType": _facet(
            record, "2-0-3/JobTypeJobFacet", {"processingType": "BATCH", "integration": "MLRUN", "jobType": "RUN"}
        )
    }
    if record.why.text:
        said: dict[str, Json] = {"description": _text(record.why.text)}
        facets["documentation"] = _facet(record, "1-0-1/DocumentationJobFacet", said)
    if code.url is not None and code.commit is not None:
        known = {
            "type": "git",
            "url": code.url,
            "version": code.commit,
            "branch": code.branch,
            "path": code.subdirectory,
        }
        facets["sourceCodeLocation"] = _facet(
            record, "1-0-1/SourceCodeLocationJobFacet", {name: value for name, value in known.items() if value}
        )
    return facets


def _dataset(record: Record, item: Input | Output) -> Json:
    """Return a file as a dataset: by its URI where it lies outside of the project, else by the project and its path."""
    facets: dict[str, Json] = {}
    if item.digest is not None:
        facets["version"] = _facet(record, "1-0-1/DatasetVersionDatasetFacet", {"datasetVersion": item.digest.sha256})
    scheme, colon, path = item.path.partition("://")
    namespace, name = (scheme, path) if colon else (_namespace(record), f"{record.entry_point.project}/{item.path}")
    return {"namespace": namespace, "name": _text(name), "facets": facets}


def _facet(record: Record, name: str, content: Iterable[tuple[str, Json]] | dict[str, Json] | dict[str, str]) -> Json:
    version, _, facet = name.partition("/")
    url = f"{_FACETS}/{version}/{facet}.json#/$defs/{facet}"
    return {"_producer": _producer(record), "_schemaURL": url, **dict(content)}


def _namespace(record: Record) -> str:
    return "mlrun" if record.code.url is None else record.code.url


def _job(record: Record) -> str:
    return f"{_text(record.entry_point.project) or 'project'}.{_text(record.entry_point.name)}"


def _producer(record: Record) -> str:
    return f"{_PRODUCER}{quote(record.tool.name)}:{quote(record.tool.version)}"


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
