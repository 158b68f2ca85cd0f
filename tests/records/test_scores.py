"""Declared files of metrics: what is a number in them, under which name and at which step."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.records import scores
from runner.records.metrics import read_metrics
from runner.records.scores import parse, read_scores
from runner.store.store import Store
from runner.worker.results import FileFact


def one(value, step=None):
    return [(value, step)]


@pytest.mark.parametrize(
    ("path", "text", "values"),
    [
        ("s.json", '{"rmse": 0.5, "test": {"mae": 1, "deep": {"r2": -2e-3}}}',
         {"rmse": one(0.5), "test.mae": one(1.0), "test.deep.r2": one(-0.002)}),
        ("s.json", '{"a": true, "b": null, "c": "0.5", "d": [], "e": {}, "f": "NaN"}', {}),
        ("s.json", '{"inf": Infinity, "größe µ/x": 1}', {"inf": one(float("inf")), "größe µ/x": one(1.0)}),
        ("s.json", '\ufeff{"bom": 1}', {"bom": one(1.0)}),
        ("history.json", '{"loss": [0.5, 0.25], "odd": [1, "x"], "nested": [[1]]}', {"loss": [(0.5, 0), (0.25, 1)]}),
        ("s.json", '[{"epoch": 3, "loss": 1, "val": {"loss": 2}}, {"epoch": 4, "loss": 0.5, "other": [1]}]',
         {"loss": [(1.0, 3), (0.5, 4)], "val.loss": [(2.0, 3)]}),
        ("s.json", '[{"loss": 1}, {"loss": 2}]', {"loss": [(1.0, 0), (2.0, 1)]}),
        ("s.json", '{"folds": [{"step": 0.5, "r": 1}]}', {"folds.step": one(0.5), "folds.r": one(1.0)}),
        ("out/accuracy.json", "0.93", {"accuracy": one(0.93)}),
        ("s.json", '{"huge": 1' + "0" * 400 + ', "": 5}', {}),
        ("s.yaml", "rmse: 0.5\ntest: {mae: 1, note: good}\n1: 2\n",
         {"rmse": one(0.5), "test.mae": one(1.0), "1": one(2.0)}),
        ("s.YML", "a: .nan\n", None),
        ("s.yaml", "", {}),
        ("s.csv", "epoch,loss,val loss\n1,0.5,0.6\n2,0.25,\n", {"loss": [(0.5, 1), (0.25, 2)], "val loss": [(0.6, 1)]}),
        ("s.csv", "rmse,r2,model\n0.5,0.9,forest\n", {"rmse": one(0.5), "r2": one(0.9)}),
        ("s.csv", "a,b\n1,2\n3,4,5\n\n6\n", {"a": [(1.0, 0), (3.0, 1), (6.0, 2)], "b": [(2.0, 0), (4.0, 1)]}),
        ("s.csv", "name,value\nrmse,0.5\nmae,1\nnote,good\n", {"rmse": one(0.5), "mae": one(1.0)}),
        ("s.csv", 'Metric,Step,Value\n"a,b",1,0.5\n"a,b",2,0.6\n', {"a,b": [(0.5, 1), (0.6, 2)]}),
        ("s.tsv", "a\tb\n1\t2\n", {"a": one(1.0), "b": one(2.0)}),
        ("s.csv", "", {}),
    ],
)  # fmt: skip
def test_numbers_become_metrics(path, text, values):
    found = parse(path, text.encode())
    if values is None:
        assert str(found) == "{'a': [(nan, None)]}"
    else:
        assert found == values


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("s.json", b"{", "no JSON: Expecting property name"),
        ("s.json", b"\xff", "can't decode byte"),
        ("s.yaml", b"a: [", "no YAML: while parsing"),
        ("s.yaml", b"!!python/object/apply:os.system [ls]", "no YAML: could not determine a constructor"),
        ("s.yaml", b"a: &x [1]\nb: &b {b: *b}\n", "nested deeper"),
        ("s.csv", b"1,2\n3,4\n", "its first line has to name the columns"),
        ("s.json", b"[" * 3000, "no JSON|recursion"),
        ("s.json", b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 30"),
        ("s.json", json.dumps({"a": [0.5] * 100_001}).encode(), "more than 100,000 numbers"),
    ],
)
def test_what_cannot_be_read_says_why(path, data, reason):
    with pytest.raises((ValueError, RecursionError), match=reason):
        parse(path, data)


def test_aliases_that_stand_for_billions_are_not_followed():
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{b}: &{b} {{x: *{a}, y: *{a}, z: *{a}, u: *{a}, v: *{a}, w: *{a}, s: *{a}}}\n"
        for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)
    )
    with pytest.raises(ValueError, match=r"more than|too much"):
        parse("s.yaml", bomb.encode())


@given(st.sampled_from(["s.json", "s.yaml", "s.csv"]), st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(path, data):
    try:
        found = parse(path, data)
    except (ValueError, RecursionError):
        return
    assert all(name and points for name, points in found.items())


def test_declared_files_are_read_from_the_object_store(monkeypatch):
    monkeypatch.setattr(scores, "LARGEST", 40)
    store = Store.open()

    def fact(path, data, basis="measured", **changes):
        return FileFact(path, len(data), store.objects.add(data), basis, **{"stored": True, **changes})

    facts = [
        fact("eval/a.json", b'{"x": 1}'),
        fact("eval/b.json", b'{"x": 2, "y": 3}', "declared"),
        fact("eval/large.json", b'{"z": ' + b" " * 50 + b"1}"),
        fact("eval/gone.json", b'{"g": 1}', stored=False),
        fact("other.json", b'{"o": 1}', "observed"),
    ]
    read, gaps = read_scores(facts, ["eval/*.json"], store.objects)
    assert list(read) == ["eval/a.json", "eval/b.json"]
    assert [gap.reason for gap in gaps] == [
        "eval/large.json cannot be read: it has 58 bytes, and 40 are read",
        "eval/gone.json cannot be read: it was not stored",
    ]


def test_of_a_name_that_is_taken_the_first_value_stands(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"name": "rmse", "value": 0.5}\n{"name": "same", "value": 1}\n')
    read = {"a.json": {"rmse": one(0.7), "same": one(1.0), "x": one(1.0)}, "b.json": {"x": one(2.0), "y": one(3.0)}}
    metrics, gaps = read_metrics(path, read)
    assert [(s.name, s.last, s.file) for s in metrics.series] == [
        ("rmse", 0.5, None), ("same", 1.0, None), ("x", 1.0, "a.json"), ("y", 3.0, "b.json")
    ]  # fmt: skip
    assert [gap.reason for gap in gaps] == [
        "rmse is 0.7 in a.json, and 0.5 as it was logged, which counts",
        "x is 2.0 in b.json, and 1.0 in a.json, which counts",
    ]
