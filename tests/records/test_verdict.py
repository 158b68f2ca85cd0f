"""The verdict: the same, near enough, different and in what, or not to be told."""

import io
import json
import math
import pickle
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.records import metrics
from runner.records.basics import Digest
from runner.records.tracking import SubRun, Tracking
from runner.records.verdict import Difference, Tolerance, compare, parse_tolerance
from runner.worker.codec import encode
from runner.worker.objects import Objects
from tests.records.samples import a_digest, a_gap, a_record, an_output, metrics_of


def logged(tmp_path, *lines):
    return a_record(metrics=metrics_of(tmp_path, *lines))


def test_the_same_outputs_are_identical_whether_given_as_records_or_json():
    record = a_record(outputs=(an_output("a"), an_output("b", "other")))
    for first, second in ((record, record), (encode(record), record), (encode(record), encode(record))):
        verdict = compare(first, second)
        assert (verdict.kind, verdict.compared, verdict.exit_code, verdict.differences) == ("identical", 2, 0, ())


def test_another_output_is_different_and_named():
    verdict = compare(
        a_record(outputs=(an_output("a"), an_output("b", "one"), an_output("gone"))),
        a_record(outputs=(an_output("a"), an_output("b", "second"), an_output("new"))),
    )
    assert (verdict.kind, verdict.exit_code, verdict.compared) == ("different", 1, 4)
    assert [(each.what, each.name, each.note) for each in verdict.differences] == [
        ("output", "b", "3 bytes, then 6"),
        ("output", "gone", "only the first run made it"),
        ("output", "new", "only the second run made it"),
    ]
    assert verdict.differences[0].before == f"sha256 {a_digest('one').sha256[:12]}"


def test_where_outputs_are_declared_observed_ones_do_not_count():
    first = a_record(outputs=(an_output("a"), an_output("log", "1", basis="observed")))
    second = a_record(outputs=(an_output("a"), an_output("log", "2", basis="observed")))
    assert compare(first, second).kind == "identical"


def test_where_none_is_declared_observed_ones_count():
    first = a_record(outputs=(an_output("log", "1", basis="observed"),))
    second = a_record(outputs=(an_output("log", "2", basis="observed"),))
    assert compare(first, first).kind == "identical"
    assert compare(first, second).kind == "different"


def test_what_was_logged_always_counts():
    first, second = (
        a_record(outputs=(an_output("artifacts/a", text, basis="logged"), an_output("log", text, basis="observed")))
        for text in ("1", "2")
    )
    assert [each.name for each in compare(first, second).differences] == ["artifacts/a", "log"]
    declared = (an_output("d"),)
    first, second = (replace(each, outputs=(*each.outputs, *declared)) for each in (first, second))
    assert [each.name for each in compare(first, second).differences] == ["artifacts/a"]


def with_sub_runs(tmp_path, ids, scores=("1", "2"), artifact="x", status="finished"):
    children = tuple(
        SubRun(
            identity, f"name-{identity}", status, metrics=metrics_of(tmp_path, f'{{"name": "score", "value": {score}}}')
        )
        for identity, score in zip(ids, scores, strict=False)
    )
    outputs = tuple(an_output(f"children/{child.id}/artifacts/a", artifact, basis="logged") for child in children)
    return a_record(tracking=Tracking(children=children), outputs=outputs)


def test_sub_runs_are_compared_in_their_order_whatever_their_ids(tmp_path):
    first = with_sub_runs(tmp_path, "ab")
    same = compare(first, with_sub_runs(tmp_path, "cd"))
    assert (same.kind, same.compared, same.differences) == ("identical", 4, ())
    other = compare(first, with_sub_runs(tmp_path, "cd", scores=("1", "3"), artifact="y"))
    assert [(each.what, each.name, each.before, each.after) for each in other.differences if each.what == "metric"] == [
        ("metric", "sub-run 2: score", "2.0", "3.0")
    ]
    assert [each.name for each in other.differences if each.what == "output"] == [
        "children/1/artifacts/a",
        "children/2/artifacts/a",
    ]
    tolerances = {"score": Tolerance(1)}
    assert compare(first, with_sub_runs(tmp_path, "cd", scores=("1", "3")), tolerances).kind == "within-tolerance"
    fewer = compare(first, with_sub_runs(tmp_path, "c"))
    assert ("sub-runs", "number", "2", "1") in [
        (each.what, each.name, each.before, each.after) for each in fewer.differences
    ]
    failed = compare(first, with_sub_runs(tmp_path, "cd", status="failed"))
    assert {each.name for each in failed.differences} == {"sub-run 1: status", "sub-run 2: status"}


def test_images_that_mlflow_names_by_their_time_are_compared_in_their_order():
    def record(*names):
        return a_record(outputs=tuple(an_output(f"artifacts/{n}.png", n[0], basis="logged") for n in names))

    one, two = "a%step%1%timestamp%17%va64c130-5da3-43cc-9562-eeeb6b1731c6", "a%step%1%timestamp%19%b" + "0" * 7
    two += "-0000-0000-0000-000000000000"
    assert compare(record(one, two), record(one.replace("17", "18"), two)).kind == "identical"
    assert compare(record(one, two), record(one)).kind == "different"


def test_a_declared_output_that_one_run_did_not_make_is_different():
    first = a_record(outputs=(an_output("model"), an_output("log", basis="observed")))
    second = a_record(outputs=(an_output("log", basis="observed"),))
    assert [each.name for each in compare(first, second).differences] == ["model"]
    assert [each.name for each in compare(second, first).differences] == ["model"]


def test_nothing_to_compare_is_unverifiable():
    verdict = compare(a_record(), a_record())
    assert (verdict.kind, verdict.exit_code) == ("unverifiable", 3)
    assert verdict.reasons == ("neither run has outputs or metrics that could be compared",)


def test_an_output_without_a_digest_makes_it_unverifiable_unless_something_differs():
    big = an_output("big", digest=None, size=10)
    first = a_record(outputs=(big, an_output("a")))
    assert compare(first, first).kind == "unverifiable"
    assert compare(first, first).reasons == ("big was not hashed",)
    assert compare(first, a_record(outputs=(big, an_output("a", "y")))).kind == "different"
    larger = an_output("big", digest=None, size=11)
    assert compare(first, a_record(outputs=(larger, an_output("a")))).kind == "different"


def test_observed_outputs_that_are_not_all_known_are_not_called_identical():
    whole = a_record(outputs=(an_output("a", basis="observed"),))
    cut = a_record(outputs=(an_output("a", basis="observed"),), gaps=a_gap("outputs"))
    assert compare(whole, cut).kind == "unverifiable"
    assert compare(cut, whole).reasons == ("the outputs of the first run are not all known: cut short",)
    declared = a_record(outputs=(an_output("a"),), gaps=a_gap("outputs"))
    assert compare(declared, declared).kind == "identical"


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"run__status": "failed", "result__exit_code": 3}, "failed (exit code 3)"),
        ({"run__status": "failed", "result__signal": 9, "result__exit_code": None}, "failed (signal 9)"),
    ],
)
def test_another_end_is_different_whatever_was_written(result, shown):
    first, second = a_record(outputs=(an_output("a"),)), a_record(outputs=(an_output("a"),), **result)
    verdict = compare(first, second)
    assert verdict.kind == "different"
    assert verdict.differences[0] == Difference("result", "status", "succeeded", shown)
    assert compare(second, second).kind == "identical"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"run__status": "killed", "result__exit_code": None}, "the first run was killed before its end"),
        ({"run__status": "lost", "result__exit_code": None}, "the first run was lost before its end"),
        ({"run__status": "failed", "result__reason": "prepare"}, "the first run failed before its command could end"),
    ],
)
def test_a_run_cut_short_has_no_result_to_compare(result, reason):
    cut, whole = a_record(outputs=(an_output("a"),), **result), a_record(outputs=(an_output("a"),))
    assert (compare(cut, whole).kind, compare(cut, whole).reasons) == ("unverifiable", (reason,))
    assert compare(whole, cut).reasons == (reason.replace("first", "second"),)
    assert len(compare(cut, cut).reasons) == 2


def test_metrics_are_compared_by_name_step_and_value(tmp_path):
    lines = ['{"name": "rmse", "value": 0.5, "step": 1}', '{"name": "rmse", "value": 0.25, "step": 2}']
    first = logged(tmp_path, *lines)
    assert (compare(first, first).kind, compare(first, first).compared) == ("identical", 2)
    other_value = logged(tmp_path, lines[0], '{"name": "rmse", "value": 0.26, "step": 2}')
    (found,) = compare(first, other_value).differences
    assert (found.what, found.name, found.before, found.after, found.note) == (
        "metric",
        "rmse",
        "0.25",
        "0.26",
        "step 2",
    )
    other_step = logged(tmp_path, lines[0], '{"name": "rmse", "value": 0.25, "step": 3}')
    assert compare(first, other_step).differences[0].note == "step 2, then 3"
    assert compare(first, logged(tmp_path, lines[0])).differences[0].note == "2 values, then 1"
    other_name = compare(first, logged(tmp_path, '{"name": "mae", "value": 1}'))
    assert [(each.name, each.note) for each in other_name.differences] == [
        ("mae", "only the second run logged it"),
        ("rmse", "only the first run logged it"),
    ]


def test_metrics_of_the_machine_do_not_count(tmp_path):
    first = logged(tmp_path, '{"name": "system/cpu", "value": 1}', '{"name": "rmse", "value": 1}')
    second = logged(tmp_path, '{"name": "system/cpu", "value": 2}', '{"name": "rmse", "value": 1}')
    assert compare(first, second).kind == "identical"
    only = logged(tmp_path, '{"name": "system/cpu", "value": 1}')
    assert compare(only, only).kind == "unverifiable"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_nan_equals_nan_here(tmp_path, value):
    record = logged(tmp_path, f'{{"name": "m", "value": {value}}}')
    assert compare(record, record).kind == "identical"
    near = compare(record, logged(tmp_path, '{"name": "m", "value": 1}'), {"m": Tolerance(1e300)})
    assert near.kind == "different"


def test_zero_is_zero_whatever_its_sign(tmp_path):
    verdict = compare(logged(tmp_path, '{"name": "m", "value": 0.0}'), logged(tmp_path, '{"name": "m", "value": -0.0}'))
    assert verdict.kind == "identical"


@pytest.mark.parametrize(
    ("before", "after", "tolerances", "kind"),
    [
        (1.0, 1.009, {"m": Tolerance(0.01)}, "within-tolerance"),
        (1.0, 1.02, {"m": Tolerance(0.01)}, "different"),
        (200.0, 201.9, {"m": Tolerance(0.01, relative=True)}, "within-tolerance"),
        (200.0, 202.1, {"m": Tolerance(0.01, relative=True)}, "different"),
        (-200.0, -198.1, {"m": Tolerance(0.01, relative=True)}, "within-tolerance"),
        (0.0, 1e-9, {"m": Tolerance(0.01, relative=True)}, "different"),
        (1.0, 1.009, {"other": Tolerance(0.01)}, "different"),
        (1.0, 1.009, {"*": Tolerance(0.01)}, "within-tolerance"),
        (1.0, 1.009, {"*": Tolerance(0.01), "m": Tolerance(0.001)}, "different"),
        (1.0, 1.0, {"m": Tolerance(0.01)}, "identical"),
    ],
)
def test_tolerances(tmp_path, before, after, tolerances, kind):
    first, second = (logged(tmp_path, f'{{"name": "m", "value": {value}}}') for value in (before, after))
    verdict = compare(first, second, tolerances)
    assert (verdict.kind, verdict.exit_code) == (kind, 1 if kind == "different" else 0)
    assert len(verdict.within) == (kind == "within-tolerance")


def test_one_value_beyond_the_tolerance_is_named_though_others_are_within(tmp_path):
    first = logged(tmp_path, *(f'{{"name": "m", "value": 1, "step": {step}}}' for step in range(3)))
    second = logged(tmp_path, *(f'{{"name": "m", "value": {v}, "step": {s}}}' for s, v in enumerate((1.1, 9, 1.1))))
    (found,) = compare(first, second, {"m": Tolerance(0.2)}).differences
    assert (found.after, found.note) == ("9.0", "step 1")


def test_a_tolerance_does_not_excuse_an_output(tmp_path):
    first = a_record(outputs=(an_output("a", "1"),), metrics=metrics_of(tmp_path, '{"name": "m", "value": 1}'))
    second = a_record(outputs=(an_output("a", "2"),), metrics=metrics_of(tmp_path, '{"name": "m", "value": 1.1}'))
    verdict = compare(first, second, {"m": Tolerance(1)})
    assert (verdict.kind, len(verdict.within), len(verdict.differences)) == ("different", 1, 1)


def test_series_too_long_for_the_record_are_compared_by_their_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "MOST_POINTS", 1)
    first, second = (
        logged(tmp_path, '{"name": "m", "value": 1}', f'{{"name": "m", "value": {value}}}') for value in (2, 3)
    )
    assert compare(first, first).kind == "identical"
    assert compare(first, second).kind == "different"
    assert compare(first, second, {"m": Tolerance(5)}).kind == "unverifiable"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rmse=0.01", ("rmse", Tolerance(0.01))),
        ("rmse=1%", ("rmse", Tolerance(0.01, relative=True))),
        (" val_* = 1e-3 ", ("val_*", Tolerance(0.001))),
        ("a=b=2", ("a=b", Tolerance(2.0))),
        ("m=0", ("m", Tolerance(0.0))),
    ],
)
def test_a_tolerance_is_read(text, expected):
    name, tolerance = parse_tolerance(text)
    assert (name, tolerance.relative) == (expected[0], expected[1].relative)
    assert math.isclose(tolerance.amount, expected[1].amount)


@pytest.mark.parametrize("text", ["", "rmse", "=1", "rmse=", "rmse=much", "rmse=-1", "rmse=nan", "rmse=inf", "m=%"])
def test_what_is_no_tolerance_is_a_usage_error(text):
    with pytest.raises(UsageError, match="is no tolerance"):
        parse_tolerance(text)


@given(st.floats(allow_nan=False), st.floats(0, 1e6))
def test_a_value_is_always_within_any_tolerance_of_itself(value, amount):
    assert Tolerance(amount).allows(value, value)
    assert Tolerance(amount, relative=True).allows(value, value)


MODEL = (
    "flavors: {{sklearn: {{code: null}}}}\nrun_id: {run}\nmodel_uuid: {run}\nutc_time_created: '{run}'\nsize: {size}\n"
)


def test_a_model_is_compared_without_ids_times_and_paths(tmp_path):
    objects = Objects(tmp_path / "objects")
    texts = [MODEL.format(run=run, size=size) for run, size in (("a1", 1), ("b2", 1), ("b2", 2))]
    for text in texts[:2]:
        objects.add(text.encode())
    first, second, third = (a_record(outputs=(an_output("model/MLmodel", text),)) for text in texts)
    assert compare(first, second, objects=objects).kind == "identical"
    assert compare(first, second).kind == "different"
    assert compare(first, third, objects=objects).kind == "different", "its bytes are not in the store"
    objects.add(texts[2].encode())
    assert compare(first, third, objects=objects).kind == "different"
    named = [a_record(outputs=(an_output("MLmodel.txt", text),)) for text in texts[:2]]
    assert compare(*named, objects=objects).kind == "different"


@pytest.mark.parametrize("content", ["a: [", "\0", "&a [*a]", "!!python/object/apply:os.system ['true']", "[" * 5000])
def test_a_model_that_is_no_yaml_is_different(tmp_path, content):
    objects = Objects(tmp_path / "objects")
    first, second = (a_record(outputs=(an_output("MLmodel", text),)) for text in (content, content + " "))
    for text in (content, content + " "):
        objects.add(text.encode())
    assert compare(first, second, objects=objects).kind in ("different", "identical")
    assert compare(first, a_record(outputs=(an_output("MLmodel", "other"),)), objects=objects).kind == "different"


def a_skops(address, *, alpha="1.0", array=b"numbers", when=2026):
    """What skops writes: nodes and members are named by addresses of memory."""
    nodes = {
        "alpha": {"__loader__": "JsonNode", "content": alpha, "__id__": address},
        "coef_": {"__loader__": "NdArrayNode", "file": f"{address + 8}.npy", "__id__": address + 8},
        "same": {"__loader__": "CachedNode", "__id__": address + 8},
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{address + 8}.npy", (when, 1, 1, 0, 0, 0)), array)
        archive.writestr("schema.json", json.dumps({"content": nodes, "protocol": 0}))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (a_skops(9000, when=2020), "identical"),
        (a_skops(9000, alpha="2.0"), "different"),
        (a_skops(9000, array=b"others"), "different"),
        (b"no zip", "different"),
        (b"PK", "different"),
    ],
)
def test_a_model_of_skops_is_compared_without_addresses_and_times(tmp_path, other, kind):
    objects = Objects(tmp_path)
    first, second = (
        a_record(outputs=(replace(an_output("m/model.skops"), digest=Digest(objects.add(data))),))
        for data in (a_skops(1000), other)
    )
    assert compare(first, second, objects=objects).kind == kind
    assert compare(first, second).kind == "different"


def a_pickle(home, tracker, *, code=b"1", file="train.py"):
    """What cloudpickle writes of a class in a script, cut down: a random id, used twice, and the script's path."""
    return pickle.dumps([tracker, {"co_filename": f"{home}/{file}", "co_code": code}, tracker, "x" * 300], protocol=4)


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (a_pickle("/runs/2/work" * 30, "b" * 32), "identical"),
        (a_pickle("/elsewhere", "b" * 32), "different"),
        (a_pickle("/runs/2/work" * 30, "b" * 32, code=b"2"), "different"),
        (a_pickle("/runs/2/work" * 30, "b" * 32, file="other.py"), "different"),
        (b"no pickle", "different"),
        (b"", "different"),
    ],
)
def test_a_pickled_model_is_compared_without_random_ids_and_the_place_of_its_run(tmp_path, other, kind):
    objects = Objects(tmp_path)
    first, second = (
        a_record(
            outputs=(replace(an_output("m/python_model.pkl"), digest=Digest(objects.add(data))),),
            entry_point__cwd=f"file://{home}",
        )
        for data, home in ((a_pickle("/my%20project".replace("%20", " "), "a" * 32), "/my%20project"),
                           (other, "/runs/2/work" * 30))
    )  # fmt: skip
    assert compare(first, second, objects=objects).kind == kind
    assert compare(first, second).kind == "different"
