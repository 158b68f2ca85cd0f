"""The dataclasses and the schemas of stored formats accept and refuse the same JSON."""

import dataclasses
import functools
import json
import operator
import types
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner.errors import FormatError
from runner.publishing.published import Published
from runner.records import schemas
from runner.records.model import Record
from runner.records.notes import Note
from runner.records.results import Input, Metrics, Point, Series
from runner.worker.codec import decode, encode
from runner.worker.environment.conda.lockfile import CondaLock
from runner.worker.facts import Launched, Launching
from runner.worker.spec import RunSpec
from tests.records.samples import a_digest, a_gap, a_record, an_output
from tests.records.strategies import damaged, values

KINDS = {
    "conda-lock": CondaLock,
    "launch": Launched,
    "launching": Launching,
    "note": Note,
    "published": Published,
    "record": Record,
    "run-spec": RunSpec,
}
VALIDATORS = {name: Draft202012Validator(schemas.load(name)) for name in KINDS}
QUICK = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def is_decoded(kind: type, data: Any) -> bool:
    try:
        decode(kind, data)
    except FormatError:
        return False
    return True


@pytest.mark.parametrize("name", KINDS)
def test_a_schema_is_one(name):
    Draft202012Validator.check_schema(schemas.load(name))
    assert schemas.load(name)["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("name", KINDS)
@QUICK
@given(data=st.data())
def test_every_value_fits_its_schema_and_comes_back(name, data):
    value = data.draw(values(KINDS[name]))
    written = json.loads(json.dumps(encode(value), allow_nan=False))
    assert list(VALIDATORS[name].iter_errors(written)) == []
    assert decode(KINDS[name], written) == value


@pytest.mark.parametrize("name", KINDS)
@QUICK
@given(data=st.data())
def test_what_one_refuses_the_other_refuses(name, data):
    sound = encode(data.draw(values(KINDS[name])))
    for _ in range(5):
        broken = data.draw(damaged(sound))
        assert is_decoded(KINDS[name], broken) == VALIDATORS[name].is_valid(broken), broken


RULES = [
    ("run.id", "01900000-0000-7000-8000-00000000000G"),
    ("run.status", "finished"),
    ("run.created", "2026-11-23T10:00:00.000Z"),
    ("run.created", "2026-11-23 10:00:00.000+00:00"),
    ("run.started", "2026-11-23T10:00:00+00:00"),
    ("run.started", "2026-11-23T10:00:00.000+00:00\n"),
    ("run.id", "01900000-0000-7000-8000-000000000001\n"),
    ("run.ended", ""),
    ("spec_digest.sha256", "0" * 63),
    ("spec_digest.sha256", "A" * 64),
    ("code.snapshot.sha256", "0" * 64 + "\n"),
    ("inputs.0.basis", "parameter"),
    ("inputs.0.size", -1),
    ("outputs.0.basis", ""),
    ("outputs.0.size", -1),
    ("metrics.series.0.count", 0),
    ("metrics.series.0.last", "nan"),
    ("metrics.series.0.minimum", "inf"),
    ("metrics.series.0.maximum", ""),
    ("metrics.series.0.points.0.value", "1"),
    ("metrics.series.0.points.0.step", 0.5),
    ("gaps.0.reason", None),
    ("version", 2),
    ("version", True),
]


@pytest.mark.parametrize(("place", "value"), RULES)
def test_each_rule_is_kept_by_both(place, value):
    metrics = Metrics((Series("m", 1, 1.0, 1.0, 1.0, a_digest("m"), (Point(1.0, 1),)),))
    inputs = (Input("in", 1, a_digest("in"), "declared"),)
    record = encode(a_record(inputs=inputs, outputs=(an_output("out"),), metrics=metrics, gaps=a_gap("logs")))
    assert VALIDATORS["record"].is_valid(record)
    *path, last = (int(step) if step.isdigit() else step for step in place.split("."))
    functools.reduce(operator.getitem, path, record)[last] = value
    assert not VALIDATORS["record"].is_valid(record)
    assert not is_decoded(Record, record)


def dataclasses_in(kind: Any) -> Iterator[type]:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from dataclasses_in(hint)
    for argument in get_args(kind):
        yield from dataclasses_in(argument)


@pytest.mark.parametrize("name", KINDS)
def test_every_field_of_every_group_is_described_and_no_other(name):
    schema = schemas.load(name)
    described = {KINDS[name].__name__: schema, **schema["$defs"]}
    described.pop("number", None)
    kinds = {kind.__name__: kind for kind in dataclasses_in(KINDS[name])}
    assert described.keys() == kinds.keys()
    for kind in kinds.values():
        fields = dataclasses.fields(kind)
        here = described[kind.__name__]
        assert list(here["properties"]) == [field.name for field in fields]
        assert here["additionalProperties"] is False
        empty = {dataclasses.MISSING}
        required = [field.name for field in fields if {field.default, field.default_factory} == empty]
        assert here["required"] == required


MUST_BE_EXPLAINED = [
    ("code", "commit"),
    ("environment", "lock"),
    ("environment", "interpreter"),
    ("environment", "installed"),
    ("run", "started"),
    ("result", "usage"),
    ("platform", None),
]


@pytest.mark.parametrize(("group", "field"), MUST_BE_EXPLAINED)
@pytest.mark.parametrize("absent", ["null", "left out"])
@settings(QUICK, max_examples=5)
@given(data=st.data())
def test_a_missing_fact_without_a_gap_is_refused_by_both(group, field, absent, data):
    record = encode(data.draw(values(Record)))
    if field is None:
        record[group] = None
    elif absent == "null":
        record[group][field] = None
    else:
        record[group].pop(field, None)
    name = group if field is None else f"{group}.{field}"
    record["gaps"] = [gap for gap in record["gaps"] if gap["field"] != name]
    assert not VALIDATORS["record"].is_valid(record)
    with pytest.raises(FormatError, match=f"{name} is missing, and no gap says why"):
        decode(Record, record)
    record["gaps"].append({"field": name, "reason": "why"})
    assert VALIDATORS["record"].is_valid(record)
    assert is_decoded(Record, record)


def test_a_refusal_is_explained_line_by_line():
    lines = schemas.explain("record", {"version": 1, "run": {}})
    assert any("'id' is a required property" in line for line in lines)
    assert len(lines) <= 20
    assert schemas.explain("run-spec", types.SimpleNamespace()) != ()


def test_an_unknown_schema_is_not_found():
    with pytest.raises(FileNotFoundError):
        schemas.load("nothing")
