"""Asks the validators of others about files, in the environment that has them; prints what they say as JSON."""

import contextlib
import importlib.util
import io
import json
import sys
import tempfile
from pathlib import Path


def ro_crate(*paths):
    """Validate crates as Process Run Crates at level `recommended`, offline: the context is in the cache already."""
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings

    found = {}
    with tempfile.TemporaryDirectory() as name:
        cache = f"{name}/cache"
        seed(cache)
        for path in paths:
            settings = ValidationSettings(
                rocrate_uri=path,
                profile_identifier="process-run-crate-0.5",
                requirement_severity=Severity.RECOMMENDED,
                cache_path=cache,
                offline=True,
            )
            with contextlib.redirect_stdout(io.StringIO()):
                result = services.validate(settings)
            checks = [check.identifier for check in result.executed_checks]
            found[path] = {"issues": sorted({issue.message for issue in result.get_issues()}), "checks": len(checks)}
    return found


def seed(cache):
    from requests import Request, Response
    from requests_cache import CachedSession
    from urllib3 import HTTPResponse

    body = (Path(importlib.util.find_spec("rocrate").origin).parent / "data/ro-crate.jsonld").read_bytes()
    headers = {"Content-Type": "application/ld+json"}
    answer = Response()
    answer.status_code, answer._content, answer.url = 200, body, "https://w3id.org/ro/crate/1.1/context"
    answer.headers.update(headers)
    answer.request = Request("GET", answer.url).prepare()
    answer.raw = HTTPResponse(body=io.BytesIO(body), status=200, headers=headers, preload_content=False)
    CachedSession(cache_name=cache, backend="sqlite", allowable_methods=("GET",)).cache.save_response(answer)


def prov(*paths):
    """Load PROV-JSON; return how often each kind of record comes, and the references to nothing."""
    from prov.model import PROV_ATTRIBUTES, ProvDocument, QualifiedName

    found = {}
    for path in paths:
        document = ProvDocument.deserialize(path, format="json")
        elements = {str(record.identifier) for record in document.records if record.is_element()}
        kinds, dangling = {}, []
        for record in document.records:
            kinds[record.get_type().localpart] = kinds.get(record.get_type().localpart, 0) + 1
            if record.is_relation():
                values = [value for name, value in record.formal_attributes if name in PROV_ATTRIBUTES]
                dangling += [str(one) for one in values if isinstance(one, QualifiedName) and str(one) not in elements]
        times = [
            [record.get_startTime().isoformat(), record.get_endTime().isoformat()]
            for record in document.records
            if record.get_type().localpart == "Activity" and record.get_startTime()
        ]
        found[path] = {"kinds": kinds, "dangling": dangling, "times": times}
        document.unified()
    return found


def slsa(*paths):
    """Parse statements strictly, unknown fields refused, and let in-toto validate them."""
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    found = {}
    for path in paths:
        data = json.loads(Path(path).read_text())
        Statement.copy_from_pb(json_format.ParseDict(data, statement_pb2.Statement())).validate()
        provenance = json_format.ParseDict(data["predicate"], provenance_pb2.Provenance())
        for each in provenance.build_definition.resolved_dependencies:
            ResourceDescriptor.copy_from_pb(each).validate()
        found[path] = len(provenance.build_definition.resolved_dependencies)
    return found


def openlineage(*paths):
    """Make OpenLineage's own values of events, its facets included: they refuse what they do not know."""
    from openlineage.client import event_v2

    found = {}
    for path in paths:
        events = [json.loads(line) for line in Path(path).read_text().splitlines()]
        for event in events:
            assert event["schemaURL"].endswith("/OpenLineage.json#/$defs/RunEvent")
            facets_of(event["run"]["facets"])
            facets_of(event["job"]["facets"])
            event_v2.RunEvent(
                eventType=event_v2.RunState[event["eventType"]],
                eventTime=event["eventTime"],
                run=event_v2.Run(event["run"]["runId"], {}),
                job=event_v2.Job(event["job"]["namespace"], event["job"]["name"], {}),
                producer=event["producer"],
            )
            for item in event["inputs"] + event["outputs"]:
                facets_of(item["facets"])
                event_v2.Dataset(item["namespace"], item["name"])
        found[path] = [event["eventType"] for event in events]
    return found


def facets_of(facets):
    from openlineage.client.generated import base

    for facet in facets.values():
        content = {key: value for key, value in facet.items() if key[0] != "_"}
        base.BaseFacet(producer=facet["_producer"])
        if facet["_schemaURL"].startswith("https://openlineage.io/"):
            name = facet["_schemaURL"].rpartition("/")[2]
            kind = next(kind for kind in kinds() if kind.__name__ == name)
            for key in ("run", "job"):
                if isinstance(content.get(key), dict):
                    content[key] = getattr(sys.modules[kind.__module__], key.title())(**content[key])
            kind(**content)


def kinds():
    import pkgutil

    from openlineage.client import generated

    for item in pkgutil.iter_modules(generated.__path__):
        module = importlib.import_module(f"{generated.__name__}.{item.name}")
        yield from (value for value in vars(module).values() if isinstance(value, type))


if __name__ == "__main__":
    function = {"ro-crate": ro_crate, "prov": prov, "slsa": slsa, "openlineage": openlineage}[sys.argv[1]]
    sys.stdout.write(json.dumps(function(*sys.argv[2:])))
