"""Process Run Crate 0.5 on RO-Crate 1.1: what `ro-crate-metadata.json` says of a run and of the files beside it.

https://w3id.org/ro/wfrun/process/0.5
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Collection, Mapping
from urllib.parse import quote

from runner.errors import UsageError
from runner.records.model import Record
from runner.records.results import Input, Output
from runner.store.settings import Identity
from runner.worker.files import Json
from runner.worker.values import dataclass

SOURCE = "source/"  # of the crate: the snapshot
METADATA = "ro-crate-metadata.json"
CRATE, PROFILE = "https://w3id.org/ro/crate/1.1", "https://w3id.org/ro/wfrun/process/0.5"
_TERMS = "https://w3id.org/ro/terms/workflow-run#"
_LICENSES = "https://spdx.org/licenses/"
_LICENSE = re.compile(r"[\w.+()-]+( (AND|OR|WITH) [\w.+()-]+)*|[a-z]+://\S+")

_SHA1 = 40  # hex digits

Entity = dict[str, Json]
Role = tuple[type[Input] | type[Output], str]  # what a file was to the run, and its path


@dataclass(frozen=True)
class Enclosed:
    """A file of the crate."""

    place: str  # POSIX, relative to the crate
    size: int
    sha256: str


def describe(record: Record, files: Mapping[Role, Enclosed], others: Collection[Enclosed], identity: Identity) -> Json:
    """Return the metadata of a crate; UsageError without a licence, which a crate must have.

    ``files`` are the run's inputs and outputs, as far as the crate holds them; ``others`` the crate's other files.
    """
    if not identity.license:
        message = "an RO-Crate needs a licence, and none is set"
        raise UsageError(
            message, hint="name one with --license CC-BY-4.0, or as `license` under [identity] in config.toml"
        )
    if not _LICENSE.fullmatch(identity.license):
        message = f"{identity.license!r} is no name of a licence"
        raise UsageError(message, hint="write it as SPDX does (https://spdx.org/licenses: CC-BY-4.0, MIT), or a URL")
    return _Crate(record, files, others, identity).document()


class _Crate:
    """The entities of a crate, as they come."""

    def __init__(
        self, record: Record, files: Mapping[Role, Enclosed], others: Collection[Enclosed], identity: Identity
    ) -> None:
        self._record, self._files, self._others, self._identity = record, files, others, identity
        self._entities: dict[str, Entity] = {}
        self._parts: list[Json] = []

    def document(self) -> Json:
        """Return the whole."""
        author = self._author()
        action = self._action(author)
        for file in self._others:
            self._file(file.place, file)
        self._source()
        graph: list[Json] = [self._descriptor(), self._root(author, action), *self._entities.values()]
        terms = {name: _TERMS + name for name in ("sha256", "environment")}
        return {"@context": [f"{CRATE}/context", {**terms}], "@graph": graph}

    def _descriptor(self) -> Json:
        return {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": {"@id": CRATE},
            "about": {"@id": "./"},
        }

    def _root(self, author: str, action: str) -> Json:
        run, entry = self._record.run, self._record.entry_point
        profile: Entity = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
        organisation = self._organisation()
        publisher = author if organisation is None else organisation
        return {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Run {run.name or run.id[-8:]} of {entry.project} ({entry.name})",
            "description": _text(self._record.why.text) or f"What `{_text(entry.template)}` read and wrote.",
            "datePublished": run.ended or run.created,
            "license": self._link(self._license(), self._described_license()),
            "author": {"@id": author},
            "publisher": {"@id": publisher},
            "conformsTo": self._link(PROFILE, profile),
            "mentions": {"@id": action},
            "hasPart": list(self._parts),
        }

    def _action(self, author: str) -> str:
        run, result = self._record.run, self._record.result
        action: Entity = {
            "@type": "CreateAction",
            "name": f"Run {run.id}",
            "description": _text(self._record.entry_point.command or self._record.entry_point.template),
            "agent": {"@id": author},
            "instrument": {"@id": self._instrument()},
            "object": [*(self._enclosed_or_named(item) for item in self._record.inputs), *self._parameters()],
            "result": self._results(),
            "environment": self._environment(),
            "actionStatus": f"http://schema.org/{'Completed' if run.status == 'succeeded' else 'Failed'}ActionStatus",
        }
        action = {name: value for name, value in action.items() if value != []}
        if run.started is not None:
            action["startTime"] = run.started
        if run.ended is not None:
            action["endTime"] = run.ended
        if result.error is not None and run.status != "succeeded":
            action["error"] = _text(result.error.message)
        identity = f"urn:uuid:{run.id}"
        self._entities[identity] = {"@id": identity, **{name: _single(value) for name, value in action.items()}}
        return identity

    def _instrument(self) -> str:
        code, entry = self._record.code, self._record.entry_point
        identity = f"{self._source_page()}#{quote(entry.name, errors='surrogateescape')}"
        version = code.describe or code.commit or code.snapshot.sha256
        self._entities[identity] = {
            "@id": identity,
            "@type": "SoftwareApplication",
            "name": _text(f"{entry.project} {entry.name}"),
            "description": _text(entry.template),
            "url": code.url or code.root,
            "softwareVersion": version,
            "softwareRequirements": {"@id": self._tool()},
            "identifier": f"urn:sha256:{code.snapshot.sha256}",
        }
        return identity

    def _source_page(self) -> str:
        """Return an http address that names the source by what it is: profiles want one of every application."""
        code = self._record.code
        if code.commit is not None and len(code.commit) == _SHA1:
            return f"https://archive.softwareheritage.org/swh:1:rev:{code.commit}"
        return f"https://pypi.org/project/{quote(self._record.tool.name)}/#{code.snapshot.sha256}"

    def _source(self) -> None:
        described: Entity = {"@type": "Dataset", "name": "source", "description": "The source files that ran"}
        self._parts.append(self._link(SOURCE, described))

    def _tool(self) -> str:
        tool = self._record.tool
        identity = f"https://pypi.org/project/{quote(tool.name)}/"
        self._entities[identity] = {
            "@id": identity,
            "@type": "SoftwareApplication",
            "name": tool.name,
            "url": identity,
            "softwareVersion": tool.version,
        }
        return identity

    def _author(self) -> str:
        actor, orcid = self._record.actor, self._identity.orcid.rpartition("/")[2]
        identity = f"https://orcid.org/{orcid}" if orcid else f"#{quote(actor.user)}"
        person: Entity = {"@id": identity, "@type": "Person", "name": _text(actor.name or actor.user)}
        organisation = self._organisation()
        if organisation is not None:
            person["affiliation"] = {"@id": organisation}
        self._entities[identity] = person
        return identity

    def _organisation(self) -> str | None:
        name, url = self._identity.organisation, self._identity.organisation_url
        if not name and not url:
            return None
        identity = url or "#organisation"
        described: Entity = {"@id": identity, "@type": "Organization", "name": name or url}
        if url:
            described["url"] = url
        self._entities[identity] = described
        return identity

    def _license(self) -> str:
        named = self._identity.license
        return named if "://" in named else f"{_LICENSES}{quote(named)}"

    def _described_license(self) -> Entity:
        named = self._identity.license
        return {"@type": "CreativeWork", "name": named, "description": f"The terms of {named}"}

    def _link(self, identity: str, described: Entity) -> Json:
        self._entities.setdefault(identity, {"@id": identity, **described})
        return {"@id": identity}

    def _enclosed_or_named(self, item: Input | Output) -> Json:
        """Return a link to a file of the crate; to one that it does not hold, as a thing that is only named."""
        enclosed = self._files.get((type(item), item.path))
        if enclosed is not None:
            return self._file(item.path, enclosed)
        identity = "#" + quote(item.path, errors="surrogateescape")
        described: Entity = {"@type": "CreativeWork", "name": _text(item.path)}
        if item.digest is not None:
            described["identifier"] = f"urn:sha256:{item.digest.sha256}"
        return self._link(identity, described)

    def _file(self, name: str, file: Enclosed) -> Json:
        identity = quote(file.place, errors="surrogateescape")
        if identity not in self._entities:
            self._parts.append({"@id": identity})
        described: Entity = {
            "@type": "File",
            "name": _text(name),
            "contentSize": str(file.size),
            "sha256": file.sha256,
            "encodingFormat": mimetypes.guess_type(file.place)[0] or "application/octet-stream",
        }
        return self._link(identity, described)

    def _results(self) -> list[Json]:
        """Return what came out: outputs and metrics; where there are none, the record alone."""
        outputs = [self._enclosed_or_named(item) for item in self._record.outputs]
        return [*outputs, *self._metrics()] or [{"@id": "record.json"}]

    def _parameters(self) -> list[Json]:
        return [self._value("parameter", each.name, each.raw) for each in self._record.parameters]

    def _metrics(self) -> list[Json]:
        return [self._value("metric", each.name, each.last) for each in self._record.metrics.series]

    def _environment(self) -> list[Json]:
        environ = self._record.execution.environ
        return [self._value("environment", name, value) for name, value in environ.items()]

    def _value(self, kind: str, name: str, value: Json) -> Json:
        shown = _text(value) if isinstance(value, str) else value
        described: Entity = {"@type": "PropertyValue", "name": _text(name), "value": shown}
        return self._link(f"#{kind}-{quote(name, safe='', errors='surrogateescape')}", described)


def _single(value: Json) -> Json:
    """Return the one value of a list of one, as RO-Crate's JSON-LD has it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
