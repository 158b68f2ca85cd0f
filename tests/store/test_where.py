"""Conditions on runs: read from text, and answered by the index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.store.expression import Comparison, Junction, Negation, parse
from runner.store.index import Filter
from runner.store.store import Store
from runner.store.where import conditions
from tests.store.test_index import put

LONG = "x" * 500


@pytest.fixture
def store() -> Store:
    store = Store.open()
    put(
        store, name="one", project="iris", params={"alpha": "0.5", "data": "/data/a_b.csv", "long": LONG + "end"},
        tags={"team": "Red"}, metrics={"rmse": 0.25, "val/loss x": 1.0, "bad": "NaN", "big": "Infinity"}, exit_code=0,
        duration=2.0, why="a first try",
    )  # fmt: skip
    put(
        store, name="two", project="wine", params={"alpha": "0.50"}, metrics={"rmse": 0.75}, status="failed",
        exit_code=3,
    )  # fmt: skip
    put(store, name="bare", project="wine", created="2026-11-20T10:00:00.000+00:00", host="höst")
    return store


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("metrics.rmse < 0.8", "one two"),
        ("metrics.rmse<0.5", "one"),
        ("metric.rmse >= 0.75 or attributes.name = 'bare'", "bare two"),
        ('metrics.rmse < 0.8 and params.alpha = "0.5"', "one"),
        ("params.alpha = 0.5", "one two"),  # without quotes: the number, however it is written
        ("params.alpha != '0.5'", "two"),
        ("params.alpha > .4 AND NOT status = 'failed'", "one"),
        ("not metrics.rmse < 0.5", "bare two"),  # also the run that has no such metric
        ("metrics.rmse != 0.25", "two"),
        ("metrics.`val/loss x` = 1", "one"),
        ('metrics."val/loss x" = 1e0', "one"),
        ("metrics.bad = nan", "one"),
        ("metrics.bad < 5 or metrics.bad > 5", ""),
        ("metrics.big > 1e300", "one"),
        ("metrics.rmse in (0.25, 7)", "one"),
        ("params.alpha not in ('0.5', 'x')", "bare two"),
        ("params.data like '%a\\_b%'", ""),  # no escapes: a backslash is one
        ("params.data like '/DATA/%'", ""),
        ("params.data ilike '/DATA/%'", "one"),
        ("params.data like '/data/a_b.csv'", "one"),
        ("params.long like '%xend'", "one"),
        ("params.long not like '%xend'", "bare two"),
        (f"params.long = '{LONG}end'", "one"),
        ("tags.team = 'Red'", "one"),
        ("tags.team is null", "bare two"),
        ("metrics.rmse is not null", "one two"),
        ("exit_code != 0", "two"),
        ("exit_code is null", "bare"),
        ("duration >= 2", "one"),
        ("not duration >= 2", "bare two"),
        ("project in ('wine', 'beer') and name != 'two'", "bare"),
        ("why like '%first%'", "one"),
        ("host = 'höst'", "bare"),
        ("created < '2026-11-21'", "bare"),
        ("start_time > 0 or created >= 1763942400000", "bare one two"),
        ("((name = 'one')) or (name = 'two' and (project = 'wine'))", "one two"),
    ],
)
def test_conditions(store, condition, names):
    wanted = Filter(where=parse(condition))
    for limit in (None, 10):  # the newest one by one, or all by their values
        assert " ".join(sorted(run.name for run in store.index.query(wanted, limit=limit))) == names


def test_a_limit_that_the_newest_cannot_fill_is_filled_from_the_others(store, monkeypatch):
    monkeypatch.setattr("runner.store.tables._NEAR", 2)
    wanted = Filter(where=parse("status = 'succeeded'"))
    assert [run.name for run in store.index.query(wanted, limit=1)] == ["one"]
    assert [run.name for run in store.index.query(Filter(where=parse("host = 'höst'")), limit=1)] == ["bare"]


def test_and_binds_closer_than_or_and_not_closest():
    tree = parse("not a = 1 and b = 2 or c = 3").condition
    assert isinstance(tree, Junction)
    assert tree.word == "or"
    first, second = tree.parts
    assert isinstance(first, Junction)
    assert isinstance(first.parts[0], Negation)
    assert second == Comparison("", "c", "=", (3.0,), 23)


@pytest.mark.parametrize(
    ("condition", "place", "message"),
    [
        ("", 1, "a name such as metrics.rmse"),
        ("metrics.rmse < ", 16, "a number, or a text in quotes, is expected, not the end"),
        ("metrics.rmse < low", 16, 'not low; write "low" if that is meant'),
        ("metrics.rmse 5", 14, "is expected, not 5"),
        ("metrics.rmse < 1 metrics.mae < 2", 18, "`and`, `or` or the end is expected"),
        ("status = 'failed", 10, "no closing quote"),
        ("a & b", 3, "'&' is not understood"),
        ("(name = 'a'", 12, "`)`, `and` or `or` is expected"),
        ("name in ()", 10, "a number, or a text"),
        ("name is 5", 9, "`null` or `not null`"),
        ("name not < 'a'", 10, "like, ilike or in is expected"),
        ("metric.a < 1 and colour.b = 2", 18, "'colour' is expected to be metrics, params, tags or attributes"),
        ("colour = 'red'", 1, "runs have no 'colour'"),
        ("metrics.rmse = 'a'", 1, "a metric is a number"),
        ("metrics.rmse like 'a'", 1, "a metric is a number"),
        ("metrics.rmse < nan", 1, "NaN is compared with = and != alone"),
        ("params.a < '5'", 1, "a text has no order"),
        ("params.a in (1, 'a')", 1, "numbers and texts stand in one list"),
        ("name = 5", 1, "name is a text"),
        ("duration = 'long'", 1, "duration is a number"),
        ("created > 'soon'", 1, "'soon' is no time"),
        ("created > 1e300", 1, "is no time in ms"),
        ("(" * 60 + "name = 'a'" + ")" * 60, 51, "more than 50"),
        (" or ".join(["name = 'a'"] * 201), 2801, "more than 200 comparisons"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(condition, place, message):
    with pytest.raises(UsageError) as caught:
        conditions(parse(condition))
    assert message in caught.value.message
    assert f"at character {place}:" in caught.value.message
    assert caught.value.hint


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(UsageError, match="10,001 characters"):
        parse("x" * 10_001)


@given(st.text("ab .'\"`()<>=!,0159-%andornotlikeisnull\n", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        sql, values = conditions(parse(text))
    except UsageError:
        return
    assert sql.count("?") == len(values)


@given(st.text(max_size=30), st.text(max_size=30).filter(lambda name: name and "`" not in name))
def test_texts_reach_the_statement_as_values_alone(value, name):
    quoted = value.replace("'", "''")
    sql, values = conditions(parse(f"params.`{name}` = '{quoted}'"))
    assert sql.count("?") == 3
    assert values[:2] == ["param", name.encode("utf-8", "surrogatepass")]
