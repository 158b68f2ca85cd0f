"""Series that are too long for a record are compared all the same."""

import json

import pytest

from runner.flow.judge import judge
from runner.records.finish import finish
from runner.records.verdict import parse_tolerance
from runner.store.store import Store
from tests.store.runs import a_run, end, wrote

NUMBER = 12_000  # values: more than a record holds of one series


@pytest.fixture
def store() -> Store:
    return Store.open()


def ended(store, change=lambda value: value, **request):
    run = a_run(store, **request)
    with run.metrics.open("w") as stream:
        for step in range(NUMBER):
            stream.write(json.dumps({"name": "loss", "value": change(step / 1000), "step": step}) + "\n")
    wrote(run, store, {})
    finish(end(run), store)
    return run


def verdict(store, change, *tolerances):
    before = ended(store)
    after = ended(store, change, rerun_of=before.id)
    return judge(after, store, dict(map(parse_tolerance, tolerances))).verdict


def test_the_same_values_are_the_same(store):
    assert verdict(store, lambda value: value).kind == "identical"


def test_values_within_a_tolerance_are_near_enough(store):
    found = verdict(store, lambda value: value + 1e-9, "loss=0.001")
    assert found.kind == "within-tolerance", found
    assert found.compared == NUMBER


@pytest.mark.parametrize("tolerances", [(), ("loss=0.001",)])
def test_the_first_value_that_differs_is_named(store, tolerances):
    found = verdict(store, lambda value: 99.0 if value == 11.5 else value, *tolerances)
    assert found.kind == "different"
    assert [(d.name, d.before, d.after, d.note) for d in found.differences] == [("loss", "11.5", "99.0", "step 11500")]
