"""What the endpoint keeps and answers, asked as MLflow's REST client asks."""

import json
import math

import pytest

from tests.worker.tracking.conftest import launch, lines


def metrics(run):
    return {each["key"]: each["value"] for each in run["data"].get("metrics", ())}


def pairs(values):
    return {each["key"]: each["value"] for each in values}


def test_a_run_is_what_the_request_says_before_anything_is_logged(served):
    run = served.data()
    assert run["info"]["run_id"] == run["info"]["run_uuid"] == served.id
    assert run["info"]["experiment_id"] == "0"
    assert run["info"]["user_id"] == "ada"
    assert run["info"]["artifact_uri"] == f"file://{served.run.path}/artifacts"
    assert pairs(run["data"]["tags"])["mlflow.project.entryPoint"] == "main"


def test_metrics_are_lines_of_the_file_that_the_record_reads(served):
    for value, step in ((1.5, 0), ("NaN", 1), ("-Infinity", 2), (7, 3)):
        served.post("runs/log-metric", run_id=served.id, key="größe/a b", value=value, timestamp=5, step=step)
    found = lines(served.run.metrics)
    assert [(each["name"], each["value"], each["step"], each["timestamp"]) for each in found] == [
        ("größe/a b", 1.5, 0, 5), ("größe/a b", "NaN", 1, 5), ("größe/a b", "-Infinity", 2, 5), ("größe/a b", 7.0, 3, 5)
    ]  # fmt: skip
    from runner.records.metrics import read_metrics

    read, gaps = read_metrics(served.run.metrics)
    assert not gaps
    assert [point.value for point in read.series[0].points] == [1.5, "NaN", "-Infinity", 7.0]
    assert metrics(served.data()) == {"größe/a b": 7.0}


NAMES = [
    "größe/a b", "../../x", "/etc/passwd", "a\nb", "tab\t", "quote\"'`", "\\", "😀/🎉", "שלום", "e\u0301", "\u2028",
    "\ud800", "\x00", " ", "null", "n" * 250, "%s%n{}", "a.b:c@d=e",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script_and_with_slashes_come_back(served, name):
    served.post("runs/log-metric", run_id=served.id, key=name, value=1)
    served.post("runs/log-parameter", run_id=served.id, key=name, value=name)
    served.post("runs/set-tag", run_id=served.id, key=name, value=name)
    run = served.data()
    assert metrics(run) == {name: 1.0}
    assert pairs(run["data"]["params"]) == {name: name}
    assert pairs(run["data"]["tags"])[name] == name
    from runner.records.metrics import read_metrics
    from runner.records.tracking import read_tracking

    assert [series.name for series in read_metrics(served.run.metrics)[0].series] == [name]
    tracking, gaps = read_tracking(served.run)
    assert (tracking.params, tracking.tags[name], gaps) == ({name: name}, name, ())
    assert {path.name for path in served.run.path.iterdir()} >= {"metrics.jsonl", "tracking.jsonl"}


def test_the_last_value_is_that_of_the_highest_step_and_history_has_all(served):
    for value, step in ((1, 5), (2, 9), (3, 7)):
        served.post("runs/log-metric", run_id=served.id, key="m", value=value, timestamp=1, step=step)
    assert metrics(served.data()) == {"m": 2.0}
    found = served.get("metrics/get-history", run_id=served.id, metric_key="m")["metrics"]
    assert [(each["value"], each["step"]) for each in found] == [(1, 5), (2, 9), (3, 7)]
    first = served.get("metrics/get-history", run_id=served.id, metric_key="m", max_results=2)
    assert len(first["metrics"]) == 2
    rest = served.get(
        "metrics/get-history", run_id=served.id, metric_key="m", max_results=2, page_token=first["next_page_token"]
    )
    assert [each["value"] for each in rest["metrics"]] == [3]
    assert "next_page_token" not in rest
    found = served.get("metrics/get-history-bulk-interval", run_ids=[served.id], metric_key="m", start_step=6)
    assert [(each["value"], each["run_id"]) for each in found["metrics"]] == [(2, served.id), (3, served.id)]


def test_lines_that_other_programs_append_are_seen(served):
    served.post("runs/log-metric", run_id=served.id, key="mine", value=1)
    with served.run.metrics.open("a") as stream:
        stream.write('{"name": "\\u0074heirs", "value": 4}\nnonsense\n{"name": "half", "val')
    assert metrics(served.data()) == {"mine": 1.0, "theirs": 4.0}
    assert len(served.get("metrics/get-history", run_id=served.id, metric_key="theirs")["metrics"]) == 1
    served.post("runs/log-metric", run_id=served.id, key="later", value=2)
    assert metrics(served.data()) == {"mine": 1.0, "theirs": 4.0, "later": 2.0}


def test_a_parameter_is_logged_once_and_for_all(served):
    served.post("runs/log-parameter", run_id=served.id, key="a", value="1")
    served.post("runs/log-parameter", run_id=served.id, key="a", value="1")
    status, code, message = served.refusal("runs/log-parameter", run_id=served.id, key="a", value="2")
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert "Changing param values is not allowed. Param with key='a' was already logged with value='1'" in message
    batch = {"params": [{"key": "b", "value": "1"}, {"key": "b", "value": "2"}], "metrics": [{"key": "m", "value": 1}]}
    assert served.refusal("runs/log-batch", run_id=served.id, **batch)[1] == "INVALID_PARAMETER_VALUE"
    run = served.data()
    assert pairs(run["data"]["params"]) == {"a": "1"}
    assert metrics(run) == {}


def test_tags_are_set_and_removed(served):
    served.post("runs/set-tag", run_id=served.id, key="t", value="1")
    served.post("runs/set-tag", run_id=served.id, key="t", value="2")
    assert pairs(served.data()["data"]["tags"])["t"] == "2"
    served.post("runs/delete-tag", run_id=served.id, key="t")
    assert "t" not in pairs(served.data()["data"]["tags"])
    assert served.refusal("runs/delete-tag", run_id=served.id, key="t")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_any_experiment_is_the_one_of_the_run(served):
    for name in ("x", "Ü/y"):
        found = served.get("experiments/get-by-name", experiment_name=name)["experiment"]
        assert (found["experiment_id"], found["name"]) == ("0", name)
    assert served.post("experiments/create", name="z") == {"experiment_id": "0"}
    assert served.get("experiments/get", experiment_id="77")["experiment"]["experiment_id"] == "0"
    served.post("experiments/create", name="z", tags=[{"key": "a", "value": "1"}, {"key": "gone", "value": "1"}])
    served.post("experiments/set-experiment-tag", experiment_id="0", key="b", value="2")
    served.post("experiments/delete-experiment-tag", experiment_id="0", key="gone")
    [experiment] = served.post("experiments/search")["experiments"]
    assert pairs(experiment["tags"]) == {"a": "1", "b": "2"}


def test_a_sub_run_is_a_directory_under_the_run(served):
    tags = [{"key": "mlflow.parentRunId", "value": served.id}]
    made = served.post("runs/create", experiment_id="0", user_id="ada", start_time=7, run_name="kid", tags=tags)["run"]
    child = made["info"]["run_id"]
    served.post("runs/log-metric", run_id=child, key="k", value=1)
    served.post("runs/update", run_id=child, status="FINISHED", end_time=9)
    root = served.run.children / child
    assert lines(root / "metrics.jsonl")[0]["name"] == "k"
    info = served.data(child)["info"]
    assert (info["run_name"], info["status"], info["start_time"], info["end_time"]) == ("kid", "FINISHED", 7, 9)
    assert info["artifact_uri"] == f"file://{root}/artifacts"
    assert metrics(served.data()) == {}
    served.post("runs/delete", run_id=child)
    assert [r["info"]["run_id"] for r in served.post("runs/search", experiment_ids=["0"])["runs"]] == [served.id]
    served.post("runs/restore", run_id=child)
    assert served.refusal("runs/delete", run_id=served.id)[1] == "INVALID_STATE"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {"a", "b"}),
        ("metrics.rmse < 0.8", {"a"}),
        ('metrics.rmse >= 0.5 and params.alpha = "0.5"', {"a"}),
        ("metrics.`r m/s` = 2", {"b"}),
        ("params.alpha LIKE '0.%'", {"a"}),
        ("params.alpha ILIKE 'X_'", {"b"}),
        ("tags.`mlflow.runName` IN ('a', 'c')", {"a"}),
        ("tags.mlflow.runName NOT IN ('a')", {"b"}),
        ("attributes.run_name = 'b'", {"b"}),
        ("run_name != 'b' AND status = 'RUNNING'", {"a"}),
        ("params.quote = 'it''s and'", {"b"}),
        ("params.quote IS NULL", {"a"}),
        ("metrics.missing > 0", set()),
        ("metrics.nan > 0", set()),
        ("dataset.name = 'd' and datasets.digest LIKE '1%'", {"a"}),
        ("dataset.context IN ('training')", {"a"}),
        ("dataset.name != 'd'", {"b"}),
    ],
)  # fmt: skip
def test_filters(served, text, found):
    made = {}
    for name, numbers, params in (
        ("a", {"rmse": 0.5}, {"alpha": "0.5"}),
        ("b", {"rmse": 1.5, "r m/s": 2, "nan": "NaN"}, {"alpha": "xy", "quote": "it's and"}),
    ):
        made[name] = served.post("runs/create", run_name=name)["run"]["info"]["run_id"]
        served.post(
            "runs/log-batch",
            run_id=made[name],
            metrics=[{"key": key, "value": value} for key, value in numbers.items()],
            params=[{"key": key, "value": value} for key, value in params.items()],
        )
    for name, dataset, context in (("a", "d", "training"), ("b", "e", "test")):
        tags = [{"key": "mlflow.data.context", "value": context}]
        said = {"dataset": {"name": dataset, "digest": "12"}, "tags": tags}
        served.post("runs/log-inputs", run_id=made[name], datasets=[said])
    runs = served.post("runs/search", filter=text)["runs"]
    names = {run["info"]["run_name"] for run in runs if run["info"]["run_id"] != served.id}
    assert names == found


@pytest.mark.parametrize(
    "text", ["metrics.a <", "metrics.a > 'x'", "params.a = 1 and", "or", "metrics.a ~ 2", "x.y = 1"]
)
def test_a_filter_that_is_none_is_refused(served, text):
    served.post("runs/log-metric", run_id=served.id, key="a", value=1)
    served.post("runs/log-parameter", run_id=served.id, key="a", value="1")
    assert served.refusal("runs/search", filter=text)[:2] == (400, "INVALID_PARAMETER_VALUE")


def test_runs_are_ordered_and_come_in_pages(served):
    for name, value in (("one", 1), ("nan", "NaN"), ("three", 3), ("none", None)):
        run_id = served.post("runs/create", run_name=name, tags=[{"key": "mine", "value": "y"}])["run"]["info"][
            "run_id"
        ]
        if value is not None:
            served.post("runs/log-metric", run_id=run_id, key="m", value=value)
    asked = {"filter": "tags.mine = 'y'", "order_by": ["metrics.m DESC"], "max_results": 3}
    first = served.post("runs/search", **asked)
    assert [run["info"]["run_name"] for run in first["runs"]] == ["three", "one", "nan"]
    rest = served.post("runs/search", **asked, page_token=first["next_page_token"])
    assert [run["info"]["run_name"] for run in rest["runs"]] == ["none"]


def test_models_lie_where_the_next_run_puts_its_own(served):
    made = [served.post("logged-models", name="model", source_run_id=served.id)["model"]["info"] for _ in range(2)]
    assert made[0]["artifact_uri"] == f"file://{served.run.path}/artifacts/models/model"
    assert made[1]["artifact_uri"] == f"file://{served.run.path}/artifacts/models/model.2"
    model = made[0]["model_id"]
    served.post(f"logged-models/{model}", "PATCH", status="LOGGED_MODEL_READY")
    served.post(f"logged-models/{model}/tags", "PATCH", tags=[{"key": "a/b", "value": "1"}])
    served.post(f"logged-models/{model}/params", params=[{"key": "p", "value": "1"}])
    found = served.get(f"logged-models/{model}")["model"]
    assert found["info"]["status"] == "LOGGED_MODEL_READY"
    assert (pairs(found["info"]["tags"]), pairs(found["data"]["params"])) == ({"a/b": "1"}, {"p": "1"})
    served.post(f"logged-models/{model}/tags/a/b", "DELETE")
    assert served.get(f"logged-models/{model}")["model"]["info"]["tags"] == []
    found = served.post("logged-models/search", filter=f"source_run_id = '{served.id}'")["models"]
    assert [each["info"]["model_id"] for each in found] == [made[1]["model_id"], model]
    served.post("runs/outputs", run_id=served.id, models=[{"model_id": model, "step": 3}])
    assert served.data()["outputs"] == {"model_outputs": [{"model_id": model, "step": 3}]}
    served.post(f"logged-models/{model}", "DELETE")
    assert served.refusal(f"logged-models/{model}", "GET")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    for name in ("a/b", "..", "a:b"):
        assert served.refusal("logged-models", name=name)[1] == "INVALID_PARAMETER_VALUE"


def test_a_point_that_is_sent_again_for_a_model_is_one_point_of_the_run(served):
    model = served.post("logged-models", name="model")["model"]["info"]["model_id"]
    points = [{"key": "loss", "value": value, "timestamp": 10 + value, "step": value} for value in range(3)]
    served.post("runs/log-batch", run_id=served.id, metrics=points)
    served.post("runs/log-batch", run_id=served.id, metrics=[{**point, "model_id": model} for point in points])
    new = {"key": "loss", "value": 9, "timestamp": 99, "step": 9, "model_id": model}
    served.post("runs/log-metric", run_id=served.id, **new)
    assert [each["value"] for each in lines(served.run.metrics)] == [0, 1, 2, 9]
    tied = served.get(f"logged-models/{model}")["model"]["data"]["metrics"]
    assert [(each["key"], each["value"]) for each in tied] == [("loss", 9.0)]


def test_models_are_measured_by_any_run_and_found_by_what_on(served):
    one, other = (served.post("logged-models", name=name)["model"]["info"]["model_id"] for name in ("one", "other"))
    kid = served.post("runs/create", run_name="kid")["run"]["info"]["run_id"]
    for run, model, value, dataset in (
        (served.id, one, 0.1, "train"), (kid, one, 0.9, "test"), (kid, other, 0.2, "test"),
    ):  # fmt: skip
        point = {"key": "rmse", "value": value, "model_id": model, "dataset_name": dataset, "dataset_digest": "1"}
        served.post("runs/log-metric", run_id=run, **point)
    found = served.get(f"logged-models/{one}")["model"]["data"]["metrics"]
    assert [(each["value"], each["run_id"]) for each in found] == [(0.1, served.id), (0.9, kid)]

    def search(**asked):
        return [each["info"]["name"] for each in served.post("logged-models/search", **asked)["models"]]

    assert search(filter="metrics.rmse < 0.5") == ["other", "one"]
    assert search(filter="metrics.rmse < 0.5", datasets=[{"dataset_name": "test"}]) == ["other"]
    assert search(filter="metrics.rmse < 0.5", datasets=[{"dataset_name": "test", "dataset_digest": "2"}]) == []
    order = {"field_name": "metrics.rmse", "ascending": False}
    assert search(order_by=[order]) == ["other", "one"]
    assert search(order_by=[{**order, "dataset_name": "test"}]) == ["one", "other"]


def test_datasets_and_models_that_were_read(served):
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}
    for _ in range(2):
        served.post("runs/log-inputs", run_id=served.id, datasets=[{"dataset": dataset, "tags": []}])
    assert served.data()["inputs"]["dataset_inputs"] == [{"dataset": dataset, "tags": []}]
    assert served.refusal("runs/log-inputs", run_id=served.id, datasets=[{}])[1] == "INVALID_PARAMETER_VALUE"


def test_old_clients_note_models_in_a_tag(served):
    for name in ("m", "n"):
        served.post("runs/log-model", run_id=served.id, model_json=json.dumps({"artifact_path": name}))
    history = json.loads(pairs(served.data()["data"]["tags"])["mlflow.log-model.history"])
    assert [each["artifact_path"] for each in history] == ["m", "n"]


def test_artifacts_are_listed_and_nothing_beside_them(served):
    (served.run.artifacts / "d").mkdir(parents=True)
    (served.run.artifacts / "d" / "x").write_bytes(b"123")
    (served.run.artifacts / "out").symlink_to("/")
    assert served.get("artifacts/list", run_id=served.id)["files"][0] == {"path": "d", "is_dir": True}
    found = served.get("artifacts/list", run_id=served.id, path="d")["files"]
    assert found == [{"path": "d/x", "is_dir": False, "file_size": 3}]
    for path in ("..", "d/../..", "/etc", "out/etc", "a\0b"):
        assert served.refusal("artifacts/list", "GET", run_id=served.id, path=path)[0] == 400
    assert served.get("artifacts/list", run_id=served.id, path="nowhere")["files"] == []


@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("POST", "/api/3.0/mlflow/traces", "traces"),
        ("GET", "model-versions/nothing", "model-versions/nothing"),
        ("POST", "nothing/of/the/kind", "nothing/of/the/kind"),
        ("POST", "experiments/delete", "experiments"),
    ],
)
def test_what_is_not_there_names_the_way_out(served, method, path, word):
    status, code, message = served.refusal(path, method)
    assert (status, code) == (501, "FEATURE_DISABLED")
    assert word in message
    assert "set_tracking_uri" in message


def test_addresses_that_are_no_api(served):
    assert served.refusal("/", "GET")[:2] == (404, "ENDPOINT_NOT_FOUND")
    assert served.refusal("/version", "GET")[:2] == (404, "ENDPOINT_NOT_FOUND")
    assert served.get("/api/3.0/mlflow/server-info")["workspaces_enabled"] is False


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"key": ""}, {"key": "k"},
        {"key": "k", "value": "x"}, {"key": "k", "value": True}, {"key": "k", "value": []},
        {"key": "k" * 251, "value": 1},
        {"key": "k", "value": 1, "step": 1.5}, {"key": "k", "value": 1, "step": 1 << 63},
        {"key": {}, "value": 1}, {"key": "k", "value": 1, "timestamp": "now"}, {"key": "k", "value": 10**400},
    ],
)  # fmt: skip
def test_metrics_that_are_none_are_refused(served, fields):
    assert served.refusal("runs/log-metric", run_id=served.id, **fields)[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert not served.run.metrics.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"run_id": {}}', b'{"metrics": 3}'])
def test_bodies_that_say_nothing_are_refused(served, body):
    status, data = served.ask("POST", "runs/log-batch", body)
    assert status == 400
    assert data["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")


def test_a_run_of_somebody_else_does_not_exist(served):
    assert served.refusal("runs/get", "GET", run_id="0" * 32)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_all_that_was_acknowledged_survives_the_death_of_the_server(served, run):
    child = served.post("runs/create", run_name="kid")["run"]["info"]["run_id"]
    model = served.post("logged-models", name="model")["model"]["info"]["model_id"]
    served.post("runs/log-batch", run_id=served.id, params=[{"key": "a", "value": "1"}],
                metrics=[{"key": "m", "value": math.pi}], tags=[{"key": "t", "value": "v"}])  # fmt: skip
    served.post("runs/log-metric", run_id=child, key="k", value=2)
    before = [served.data(), served.data(child)]
    served.process.kill()
    served.process.wait()
    with run.tracking.open("ab") as stream:
        stream.write(b'{"do":"param","name":"half')
    again = launch(run)
    assert [again.data(), again.data(child)] == before
    assert again.get(f"logged-models/{model}")["model"]["info"]["name"] == "model"
    again.post("runs/log-parameter", run_id=again.id, key="b", value="2")
    assert pairs(again.data()["data"]["params"]) == {"a": "1", "b": "2"}
    assert again.end() == 0
