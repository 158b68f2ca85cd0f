"""Means, spreads and intervals of groups of runs, and the conditions that hold a change back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.records.gate import parse_gate
from runner.records.statistics import Group, contrast, finite, summarise

OLD = Group("old", ("a", "b", "c"), {"rmse": (1.0, 2.0, 3.0), "once": (5.0,), "same": (2.0, 2.0)})
NEW = Group("new", ("d", "e", "f"), {"rmse": (2.0, 3.0, 4.0), "same": (2.0, 2.0)})


def test_a_sample_of_a_textbook():
    sample = summarise(OLD, "rmse", 0.95)
    assert (sample.count, sample.mean, sample.deviation, sample.minimum, sample.maximum) == (3, 2.0, 1.0, 1.0, 3.0)
    # Student's t for two degrees of freedom is 4.303; times 1 / sqrt(3).
    assert sample.interval == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4)


def test_a_single_run_has_no_spread():
    sample = summarise(OLD, "once", 0.95)
    assert (sample.mean, sample.deviation, sample.interval) == (5.0, None, None)
    assert summarise(OLD, "none", 0.95) is None


def test_groups_side_by_side():
    found = contrast(NEW, OLD, "rmse")
    assert (found.difference, found.relative) == (1.0, 0.5)
    assert found.p_value == pytest.approx(0.2879, abs=1e-3)  # Welch, t = 1.2247, four degrees of freedom
    assert contrast(NEW, OLD, "same").p_value == 1.0
    assert contrast(NEW, OLD, "once") is None


@pytest.mark.parametrize(("value", "expected"), [(1.5, 1.5), ("NaN", None), ("Infinity", None)])
def test_what_is_no_number_is_missing(value, expected):
    assert finite(value) == expected


MEANS = {("rmse", None): 2.0, ("rmse", "base"): 1.0, ("val/acc", None): 0.9, ("r2", None): 0.5, ("r2", "a b"): 0.4}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("rmse > 1.05 * @base", True),
        ("rmse > 2.5 * @base", False),
        ("rmse - @base >= 1", True),
        ("rmse / 2 = @base and `val/acc` < 0.95", True),
        ("not rmse > 5 and r2 > 0.9", False),
        ("not rmse > 5 or r2 > 0.9", True),
        ('r2 > @"a b"', True),
        ("-rmse < 0", True),
        ("rmse * (1 + 0.5) != 3", False),
        ("rmse<=2e0", True),
        ("2 + 3 * 4 = 14 - (1 - 1)", True),
    ],
)
def test_a_gate(text, holds):
    assert parse_gate(text).holds(lambda metric, group: MEANS[metric, group]) is holds


@pytest.mark.parametrize(
    "text",
    [
        *("", "rmse", "rmse >", "> 1", "rmse > @", "@base > 1", "rmse > 1 1", "rmse > (1", "rmse >> 1", "rmse ; 1"),
        *("__import__('os')", "rmse > 1 and", "and > 1", "rmse > " + "(" * 60 + "1" + ")" * 60),
    ],
)
def test_what_is_no_gate_is_told_with_its_place(text):
    with pytest.raises(UsageError, match=r"in the condition, at character \d+"):
        parse_gate(text)


def test_a_division_by_zero_is_told():
    with pytest.raises(UsageError, match="division by zero"):
        parse_gate("rmse / 0 > 1").holds(lambda *_: 1.0)


def test_groups_that_are_named_are_known():
    assert parse_gate('rmse > @base and rmse > @"a b" + @base').groups == ("base", "a b")


@given(st.text(max_size=40))
def test_any_text_is_a_gate_or_refused(text):
    try:
        gate = parse_gate(text)
    except UsageError:
        return
    assert isinstance(gate.groups, tuple)
