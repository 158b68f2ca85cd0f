"""An in-toto Statement v1 with SLSA provenance v1: what was built, from what, by what.

From one's own machine this is SLSA Build L1: it says how an artifact was made, and nobody else vouches for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from runner.records.model import Record
from runner.records.setting import Package
from runner.worker.files import Json

STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
_BUILD_TYPE = "urn:mlrun:build-type:run:1"


def export_slsa(record: Record, record_sha256: str) -> Json:
    """Return the statement of a record; a run without outputs has its sealed record as the subject."""
    subjects: list[Json] = [
        {"name": _text(item.path), "digest": {"sha256": item.digest.sha256}}
        for item in record.outputs
        if item.digest is not None
    ]
    own: Json = {"name": "record.json", "digest": {"sha256": record_sha256}}
    return {
        "_type": STATEMENT,
        "subject": subjects or [own],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": _external(record),
                "internalParameters": _internal(record),
                "resolvedDependencies": list(_dependencies(record)),
            },
            "runDetails": {
                "builder": {
                    "id": f"urn:mlrun:builder:{quote(record.execution.backend, safe='')}",
                    "version": {record.tool.name: record.tool.version},
                },
                "metadata": _metadata(record),
                "byproducts": [own] if subjects else [],
            },
        },
    }


def _external(record: Record) -> Json:
    """Return what the user decided: all that is needed to ask for the same again."""
    return {
        "source": record.code.url or record.code.root,
        "entryPoint": record.entry_point.name,
        "parameters": {_text(each.name): _text(each.raw) for each in record.parameters},
        "command": _text(record.entry_point.template),
    }


def _internal(record: Record) -> Json:
    interpreter, platform = record.environment.interpreter, record.platform
    return {
        "specDigest": record.spec_digest.sha256,
        "pinnedDigest": record.pinned_digest.sha256,
        "environment": record.environment.kind,
        "interpreter": None if interpreter is None else f"{interpreter.implementation} {interpreter.version}",
        "platform": None if platform is None else f"{platform.os} {platform.machine}",
        "exitCode": record.result.exit_code,
        "status": record.run.status,
    }


def _dependencies(record: Record) -> Iterator[Json]:
    code, environment = record.code, record.environment
    if code.commit is not None:
        url = code.url or code.root
        yield {"uri": f"git+{url}@{code.commit}", "digest": {"gitCommit": code.commit}, "name": "commit"}
    yield {"uri": f"urn:sha256:{code.snapshot.sha256}", "digest": {"sha256": code.snapshot.sha256}, "name": "snapshot"}
    if environment.lock is not None:
        sha256 = environment.lock.sha256
        yield {"uri": f"urn:sha256:{sha256}", "digest": {"sha256": sha256}, "name": "lock"}
    for item in record.inputs:
        if item.digest is not None:
            path = item.path if "://" in item.path else quote(item.path, errors="surrogateescape")
            yield {"uri": path, "digest": {"sha256": item.digest.sha256}, "name": f"input {_text(item.path)}"}
    if environment.container is not None:
        digest: Json = {"sha256": environment.container.id.sha256}
        yield {"uri": f"urn:sha256:{environment.container.id.sha256}", "digest": digest, "name": "container image"}
    for package in environment.packages:
        digest = {"sha256": package.digests[0].sha256} if len(package.digests) == 1 else {}
        yield {"uri": _purl(package), "digest": digest}


def _purl(package: Package) -> str:
    """Return a package's URL: of a conda package, which its archive's name tells, or of one from a Python index."""
    kind = "conda" if (package.url or "").endswith((".conda", ".tar.bz2")) else "pypi"
    name = package.name if kind == "conda" else re.sub(r"[-_.]+", "-", package.name).lower()
    return f"pkg:{kind}/{quote(name)}@{quote(package.version)}"


def _metadata(record: Record) -> Json:
    times = {"startedOn": record.run.started, "finishedOn": record.run.ended}
    return {"invocationId": f"urn:uuid:{record.run.id}", **{name: at for name, at in times.items() if at is not None}}


def _text(text: str) -> str:
    """Return text that any JSON parser takes: bytes of names that are no UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
