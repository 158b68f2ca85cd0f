"""The schemas of what travels say what the dataclasses say, and describe what is really written."""

import dataclasses
import json

import pytest
from jsonschema import Draft202012Validator

from runner.flow.share import export_bundle, import_bundle
from runner.records import schemas
from runner.records.exports.listing import Content, File, Listing
from runner.records.origin import Origin
from runner.store.store import Store
from tests.store.runs import a_run, end

KINDS = [
    ("bundle", None, Listing),
    ("bundle", "File", File),
    ("bundle", "Content", Content),
    ("imported", None, Origin),
]


@pytest.mark.parametrize(("name", "part", "kind"), KINDS)
def test_every_field_is_described_and_no_other(name, part, kind):
    schema = schemas.load(name)
    Draft202012Validator.check_schema(schema)
    here = schema if part is None else schema["$defs"][part]
    fields = dataclasses.fields(kind)
    assert list(here["properties"]) == [field.name for field in fields]
    assert here["additionalProperties"] is False
    empty = {dataclasses.MISSING}
    assert here["required"] == [each.name for each in fields if {each.default, each.default_factory} == empty]


def test_what_is_written_fits(tmp_path):
    origin = Store.open(tmp_path / "store", tmp_path / "cache")
    run = end(a_run(origin))
    gathered = export_bundle(run, origin, tmp_path / "x.tar.gz", logs=False, observed=False)
    Draft202012Validator(schemas.load("bundle")).validate(json.loads(gathered.listing.to_bytes()))
    taken = import_bundle(tmp_path / "x.tar.gz", Store.open()).run
    Draft202012Validator(schemas.load("imported")).validate(json.loads(taken.imported.read_bytes()))
