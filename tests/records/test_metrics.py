"""Metrics are read from lines that any program can write; what is no metric is left out and said."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.records import metrics
from runner.records.metrics import read_metrics
from runner.records.results import Metrics, Point
from runner.worker.hashing import sha256_of


@pytest.fixture
def file(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_a_run_that_logs_nothing_has_no_metrics_and_no_gap(file):
    assert read_metrics(file) == (Metrics(), ())


def test_series_by_name_in_the_order_in_which_they_were_logged(file):
    file.write_text('{"name": "b", "value": 2, "step": 1}\n{"name": "a", "value": 0.5}\n{"name": "b", "value": 1.5}\n')
    found, gaps = read_metrics(file)
    assert gaps == ()
    assert found.digest.sha256 == sha256_of(file.read_bytes())
    assert found.size == len(file.read_bytes())
    b, a = found.series
    assert (b.name, b.count, b.last, b.minimum, b.maximum) == ("b", 2, 1.5, 1.5, 2.0)
    assert b.points == (Point(2.0, 1), Point(1.5, None))
    assert (a.name, a.points) == ("a", (Point(0.5),))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NaN", "NaN"),
        ('"nan"', "NaN"),
        ("Infinity", "Infinity"),
        ('"inf"', "Infinity"),
        ('"+Inf"', "Infinity"),
        ("-Infinity", "-Infinity"),
        ('"-inf"', "-Infinity"),
        ("1e999", "Infinity"),
        ("-0.0", -0.0),
        ("3", 3.0),
        ("12345678901234567890", 12345678901234567890.0),
    ],
)
def test_numbers_that_json_has_no_word_for_are_text(file, text, value):
    file.write_text(f'{{"name": "m", "value": {text}}}\n')
    (series,) = read_metrics(file)[0].series
    assert (series.last, series.points[0].value) == (value, value)
    assert type(series.last) is type(value)


def test_nan_hides_no_extreme(file):
    file.write_text("".join(f'{{"name": "m", "value": {value}}}\n' for value in ("NaN", 3, "NaN", 1, 2, "NaN")))
    (series,) = read_metrics(file)[0].series
    assert (series.minimum, series.maximum, series.last) == (1.0, 3.0, "NaN")


BAD = [
    b"{",
    b"[]",
    b"7",
    b"null",
    b"\xff\xfe",
    b'{"name": "m"}',
    b'{"value": 1}',
    b'{"name": 1, "value": 1}',
    b'{"name": "", "value": 1}',
    b'{"name": "m", "value": "fast"}',
    b'{"name": "m", "value": true}',
    b'{"name": "m", "value": null}',
    b'{"name": "m", "value": [1]}',
    b'{"name": "m", "value": 1, "step": "one"}',
    b'{"name": "m", "value": 1, "step": 0.5}',
    b'{"name": "m", "value": 1, "step": NaN}',
    b'{"name": "m", "value": 1, "step": Infinity}',
    b'{"name": "m", "value": ' + b"9" * 400 + b"}",
    b"[" * 50_000,
    b'{"name": "' + b"m" * 70_000 + b'", "value": 1}',
]


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_is_no_metric_is_left_out_and_said(file, line):
    file.write_bytes(b'{"name": "good", "value": 1, "step": 2.0}\n' + line + b"\n\n")
    found, (gap,) = read_metrics(file)
    assert [series.name for series in found.series] == ["good"]
    assert found.series[0].points == (Point(1.0, 2),)
    assert gap.field == "metrics"
    assert gap.reason.startswith("line 2 of metrics.jsonl is no metric")


def test_many_bad_lines_are_one_gap(file):
    file.write_bytes(b"x\n" * 1000 + b'{"name": "torn", "val')
    _, (gap,) = read_metrics(file)
    assert gap.reason.startswith("1001 lines of metrics.jsonl are no metric")
    assert gap.reason.endswith("the first is line 1")


def test_a_long_series_keeps_its_digest_and_extremes_and_leaves_its_points(file, monkeypatch):
    monkeypatch.setattr(metrics, "MOST_POINTS", 3)
    lines = [json.dumps({"name": "long", "value": value, "step": value}) for value in range(4)]
    file.write_text("\n".join([*lines, '{"name": "short", "value": 7}']))
    found, (gap,) = read_metrics(file)
    long, short = found.series
    assert (long.points, long.count, long.minimum, long.maximum, long.last) == ((), 4, 0.0, 3.0, 3.0)
    assert long.digest.sha256 == sha256_of(b"0 0.0\n1 1.0\n2 2.0\n3 3.0\n")
    assert len(short.points) == 1
    assert "the values of long are too many" in gap.reason


def test_many_series_together_have_a_limit_too(file, monkeypatch):
    monkeypatch.setattr(metrics, "MOST_POINTS_ALTOGETHER", 5)
    file.write_text("".join(f'{{"name": "m{number // 2}", "value": 1}}\n' for number in range(20)))
    found, gaps = read_metrics(file)
    assert [len(series.points) for series in found.series] == [2, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert "and others" in gaps[0].reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=30))
def test_the_digest_tells_series_apart_exactly(file, values):
    def digest(numbers: list[float]) -> str:
        file.write_text("".join(json.dumps({"name": "m", "value": value}) + "\n" for value in numbers))
        return read_metrics(file)[0].series[0].digest.sha256

    assert digest(values) == digest(list(values))
    other = [*values[:-1], math.nextafter(values[-1], 1e300) if math.isfinite(values[-1]) else 0.0]
    assert digest(values) != digest(other)


_ODD = st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.none(), st.booleans(), st.lists(st.integers()))
_METRIC = {"name": st.sampled_from(["a", "b"]) | _ODD, "value": st.floats() | _ODD}
_LINES = st.lists(st.fixed_dictionaries(_METRIC, optional={"step": _ODD}) | _ODD, min_size=1, max_size=6)


@given(values=_LINES)
def test_columns_say_what_the_lines_say_one_by_one(values):
    lines = [json.dumps(value).encode() for value in values]
    columns = metrics._plain(lines)
    found = [metrics.read_line(line) for line in lines]
    if columns is not None:  # else they are read one by one
        expected = {}
        for each in found:
            expected.setdefault(each.name, []).append((each.value, each.step))
        assert repr({name: list(zip(*pair, strict=True)) for name, pair in columns.items()}) == repr(expected)


def test_lines_of_plain_numbers_are_read_in_columns():
    lines = [b'{"name": "a", "value": 1, "step": 2}', b'{"name": "b", "value": 0.5}', b'{"name": "a", "value": 3.5}']
    assert metrics._plain(lines) == {"a": ([1.0, 3.5], [2, None]), "b": ([0.5], [None])}
