"""PROV-JSON (W3C member submission of 2013): the run as an activity, its files as entities, its people as agents.

An output is `urn:uuid:<run>#<path>`, a specialization of the entity of its bytes: bytes that two runs wrote would
otherwise have two generations.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from runner.records.model import Record
from runner.records.results import Input, Output
from runner.worker.files import Json

_Group = dict[str, dict[str, Json]]


def export_prov(record: Record) -> Json:
    """Return the PROV-JSON document of a record."""
    document = _Document(record)
    document.people()
    document.plan()
    for read in record.inputs:
        document.input(read)
    for written in record.outputs:
        document.output(written)
    document.other_runs()
    prefixes = {
        "run": f"urn:uuid:{record.run.id}#",
        "input": f"urn:uuid:{record.run.id}:input#",
        "who": f"urn:uuid:{record.run.id}:agent#",
        "uuid": "urn:uuid:",
        "sha256": "urn:sha256:",
        "mlrun": "urn:mlrun:prov:1#",
    }
    return {"prefix": dict(prefixes), **{name: dict(group) for name, group in document.groups.items() if group}}


class _Document:
    """The groups of a document as they fill."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._run = f"uuid:{record.run.id}"
        self.groups: dict[str, _Group] = {}
        run, entry = record.run, record.entry_point
        self._add(
            "activity",
            self._run,
            _known(
                {
                    "prov:startTime": run.started,
                    "prov:endTime": run.ended if run.started else None,
                    "prov:label": f"{entry.project} {entry.name}".strip(),
                    "prov:type": _name("mlrun:Run"),
                    "mlrun:status": run.status,
                    "mlrun:command": entry.command,
                    "mlrun:why": record.why.text or None,
                    "mlrun:exitCode": record.result.exit_code,
                    "mlrun:specDigest": record.spec_digest.sha256,
                    "mlrun:host": record.execution.host or None,
                    **{f"mlrun:parameter.{quote(each.name, safe='')}": each.raw for each in record.parameters},
                }
            ),
        )

    def people(self) -> None:
        """Say who asked for the run, and with what tool."""
        actor, tool = self._record.actor, self._record.tool
        person = {"prov:type": _name("prov:Person"), "prov:label": actor.name or actor.user, "mlrun:email": actor.email}
        self._add("agent", "who:user", _known(person))
        software = {"prov:type": _name("prov:SoftwareAgent"), "prov:label": f"{tool.name} {tool.version}"}
        self._add("agent", "who:tool", _known(software))
        self._relate("actedOnBehalfOf", {"prov:delegate": "who:tool", "prov:responsible": "who:user"})
        self._relate("wasAssociatedWith", {"prov:activity": self._run, "prov:agent": "who:tool"})

    def plan(self) -> None:
        """Say what source, and what environment, the run followed."""
        code, lock = self._record.code, self._record.environment.lock
        source = {
            "prov:type": _name("prov:Plan"),
            "prov:label": code.url or code.root,
            "mlrun:commit": code.commit,
            "mlrun:dirty": code.dirty,
        }
        plan = self._bytes(code.snapshot.sha256, source)
        link = {"prov:activity": self._run, "prov:agent": "who:user", "prov:plan": plan}
        self._relate("wasAssociatedWith", link)
        self._relate("used", {"prov:activity": self._run, "prov:entity": plan})
        if lock is not None and lock.sha256 != code.snapshot.sha256:
            entity = self._bytes(lock.sha256, {"prov:label": "lock of the environment"})
            self._relate("used", {"prov:activity": self._run, "prov:entity": entity})

    def input(self, item: Input) -> None:
        """Say what was read, and which runs made it."""
        entity = self._file("input", item)
        used = {"prov:activity": self._run, "prov:entity": entity, "mlrun:basis": item.basis}
        self._relate("used", _known({**used, "prov:time": self._record.run.started}))
        for other in item.produced_by:
            self._other_run(other)
            self._relate("wasInformedBy", {"prov:informed": self._run, "prov:informant": f"uuid:{other}"})

    def output(self, item: Output) -> None:
        """Say what was written."""
        entity = self._file("run", item)
        made = {"prov:entity": entity, "prov:activity": self._run, "mlrun:basis": item.basis}
        self._relate("wasGeneratedBy", _known({**made, "prov:time": self._record.run.ended}))
        if item.previous is not None:
            before = self._bytes(item.previous.sha256, {})
            self._relate("wasDerivedFrom", {"prov:generatedEntity": entity, "prov:usedEntity": before})

    def other_runs(self) -> None:
        """Say of which run this is a part, and which one it repeats."""
        relations = self._record.relations
        for other, role in ((relations.parent, "parent"), (relations.rerun_of, "rerun_of")):
            if other is not None:
                self._other_run(other)
                link = {
                    "prov:informed": self._run,
                    "prov:informant": f"uuid:{other}",
                    "prov:type": _name(f"mlrun:{role}"),
                }
                self._relate("wasInformedBy", link)

    def _file(self, role: str, item: Input | Output) -> str:
        """Add a file as this run saw it; where its digest is known, as a specialization of its bytes."""
        # A path can be an input and an output: two states of one place are two entities.
        identity = f"{role}:{quote(item.path, safe='/', errors='surrogateescape')}"
        self._add(
            "entity",
            identity,
            _known(
                {
                    "prov:label": item.path.encode("utf-8", "backslashreplace").decode(),
                    "mlrun:size": item.size,
                    "mlrun:sha256": None if item.digest is None else item.digest.sha256,
                }
            ),
        )
        if item.digest is not None:
            general = self._bytes(item.digest.sha256, {})
            self._relate("specializationOf", {"prov:specificEntity": identity, "prov:generalEntity": general})
        return identity

    def _bytes(self, sha256: str, attributes: Mapping[str, Json]) -> str:
        identity = f"sha256:{sha256}"
        self.groups.setdefault("entity", {}).setdefault(identity, {}).update(_known(attributes))
        return identity

    def _other_run(self, identity: str) -> None:
        self.groups["activity"].setdefault(f"uuid:{identity}", {"prov:type": _name("mlrun:Run")})

    def _add(self, kind: str, identity: str, attributes: dict[str, Json]) -> None:
        self.groups.setdefault(kind, {})[identity] = attributes

    def _relate(self, kind: str, attributes: Mapping[str, Json]) -> None:
        group = self.groups.setdefault(kind, {})
        group[f"_:{kind}{len(group) + 1}"] = dict(attributes)


def _name(text: str) -> Json:
    return {"$": text, "type": "prov:QUALIFIED_NAME"}


def _known(attributes: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in attributes.items() if value is not None}
