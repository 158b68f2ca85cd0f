"""A run's files on their way to a server: each thing once, whatever breaks off in between."""

import json

import pytest

from runner.errors import PublishError
from runner.flow.publish import publish
from runner.publishing.lines import Values, new_lines, said_of
from runner.publishing.live import Live, Publisher
from runner.publishing.server import Server, UnreachableError, address
from runner.records.finish import finish
from runner.store.store import Store
from runner.worker.spec import Parameter
from tests.publishing.servers import Small
from tests.store.runs import a_run, a_spec, end


@pytest.fixture
def small():
    with Small() as server:
        yield server


@pytest.fixture
def store():
    return Store.open()


@pytest.fixture
def run(store, small):
    parameters = (Parameter("alpha", "float", "0.5"), Parameter("long", "string", "x" * 7000))
    return a_run(
        store, spec=a_spec(store, parameters=parameters), name="first", why="a try", tags={"team": "red"},
        experiment="churn", tracking_uri=small.uri,
    )  # fmt: skip


def metrics(run, *rows):
    with run.metrics.open("a") as stream:
        stream.writelines(json.dumps(dict(zip(("name", "value", "step"), row, strict=False))) + "\n" for row in rows)


def track(directory, *lines):
    directory.mkdir(exist_ok=True, parents=True)
    with (directory / "tracking.jsonl").open("a") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)


def only(small):
    (found,) = small.runs.values()
    return found


def test_a_run_is_there_with_all_that_it_has(run, store, small):
    metrics(run, ("loss", 0.5, 1), ("loss", 0.25, 2), ("rate", 1), ("rate", 2), ("bad", "NaN"))
    track(run.path, {"do": "param", "name": "beta", "value": "2"}, {"do": "tag", "name": "a/b", "value": "c"})
    (run.artifacts / "d").mkdir(parents=True)
    (run.artifacts / "d" / "t.txt").write_text("hi")
    published = publish(end(run), store)
    there = only(small)
    assert small.experiments["churn"] == there["info"]["experiment_id"] == published.experiment_id
    assert there["name"] == "first"
    assert there["params"] == {"alpha": "0.5", "long": "x" * 6000, "beta": "2"}
    assert there["metrics"] == [("loss", 1, 0.5), ("loss", 2, 0.25), ("rate", 0, 1), ("rate", 1, 2), ("bad", 0, "NaN")]
    assert there["status"] == "FINISHED"
    assert there["end_time"] > 1_700_000_000_000
    wanted = {
        "mlflow.user": "ada", "mlflow.source.type": "PROJECT", "mlflow.source.name": "/gone/project",
        "mlflow.project.entryPoint": "main", "mlflow.project.env": "local", "mlflow.project.backend": "local",
        "mlflow.note.content": "a try", "team": "red", "mlrun.run_id": run.id, "a/b": "c",
    }  # fmt: skip
    assert {name: there["tags"][name] for name in wanted} == wanted
    assert small.artifacts == {"0/run0/artifacts/d/t.txt": b"hi"}
    assert published.complete


def test_publishing_twice_doubles_nothing(run, store, small):
    metrics(run, *(("m", n, n) for n in range(2500)))
    (run.artifacts).mkdir()
    (run.artifacts / "t.txt").write_text("hi")
    publish(end(run), store)
    asked = len(small.asked)
    assert publish(run, store).complete
    assert len(small.asked) - asked <= 2
    assert only(small)["metrics"] == [("m", n, n) for n in range(2500)]
    # Also where all that is known of it here is gone.
    next(run.published.rglob(f"{run.id}.json")).unlink()
    publish(run, store)
    assert len(small.runs) == 1


def test_what_broke_off_goes_on(run, store, small):
    metrics(run, *(("m", n) for n in range(1500)))
    publisher = Publisher(run, Server(address(small.uri)))
    publisher.step()
    assert len(only(small)["metrics"]) == 1000
    small.mood = "broken"
    with pytest.raises(UnreachableError):
        publisher.step()
    small.mood = "well"
    metrics(run, ("m", 1500))
    publish(end(run), store)  # as another process would: from the files alone
    assert only(small)["metrics"] == [("m", n, n) for n in range(1501)]


def test_what_the_server_does_not_want_keeps_nothing_else_away(run, store, small):
    small.unwanted = {"m3", "alpha"}
    metrics(run, *((f"m{n}", n, 0) for n in range(10)))
    published = publish(end(run), store)
    assert {key for key, _, _ in only(small)["metrics"]} == {f"m{n}" for n in range(10)} - {"m3"}
    assert [each.what for each in published.refused] == ["params alpha", "metrics m3"]
    assert "not m3" in published.refused[1].reason


def test_sub_runs_are_there_under_their_parents(run, store, small):
    mine = run.id.replace("-", "")
    track(run.path, {"do": "tag", "name": "x", "value": "y"})
    track(
        run.children / ("b" * 32), {"do": "run", "run_name": "kid", "status": "RUNNING", "version": 1},
        {"do": "tag", "name": "mlflow.parentRunId", "value": mine}, {"do": "param", "name": "rate", "value": "1"},
        {"do": "run", "status": "FINISHED", "end_time": 1_800_000_000_000},
    )  # fmt: skip
    track(
        run.children / ("a" * 32), {"do": "run", "run_name": "grandchild", "status": "RUNNING", "version": 1},
        {"do": "tag", "name": "mlflow.parentRunId", "value": "b" * 32},
    )  # fmt: skip
    publish(end(run, "failed"), store)
    by = {there["tags"]["mlrun.run_id"]: there for there in small.runs.values()}
    main, kid, grandchild = by[run.id], by["b" * 32], by["a" * 32]
    assert kid["tags"]["mlflow.parentRunId"] == main["info"]["run_id"]
    assert grandchild["tags"]["mlflow.parentRunId"] == kid["info"]["run_id"]
    assert kid["params"] == {"rate": "1"}
    assert (main["status"], kid["status"], grandchild["status"]) == ("FAILED", "FINISHED", "FAILED")
    assert kid["end_time"] == 1_800_000_000_000


def test_runs_that_a_run_started_are_there_under_it(run, store, small):
    step = end(a_run(store, name="step", parent=run.id))
    inner = end(a_run(store, name="inner", parent=step.id))
    going = a_run(store, name="going", parent=run.id)
    assert publish(end(run), store).complete
    by = {there["name"]: there for there in small.runs.values()}
    assert set(by) == {"first", "step", "inner"}
    assert by["step"]["tags"]["mlflow.parentRunId"] == by["first"]["info"]["run_id"]
    assert by["inner"]["tags"]["mlflow.parentRunId"] == by["step"]["info"]["run_id"]
    assert {there["info"]["experiment_id"] for there in by.values()} == {small.experiments["churn"]}
    end(going)
    publish(run, store)
    assert len(small.runs) == 4
    assert by["step"]["tags"]["mlrun.run_id"] == step.id
    assert publish(inner, store, small.uri).complete
    assert len(small.runs) == 4


def test_of_a_run_that_goes_on_there_is_what_there_is(run, store, small):
    metrics(run, ("loss", 0.5))
    assert not publish(run, store).complete
    assert only(small)["metrics"] == [("loss", 0, 0.5)]
    assert "status" not in only(small)
    metrics(run, ("loss", 0.25))
    assert publish(end(run), store).complete
    assert only(small)["metrics"] == [("loss", 0, 0.5), ("loss", 1, 0.25)]


def test_artifacts_that_the_server_keeps_elsewhere_are_said_to_be_missing(run, store):
    (run.artifacts).mkdir()
    (run.artifacts / "t.txt").write_text("hi")
    with Small("s3://bucket/{run}") as server:
        published = publish(end(run), store, server.uri)
        assert server.artifacts == {}
    assert published.complete
    assert "not behind its artifact proxy" in published.refused[0].reason


def test_models_are_artifacts_where_a_server_has_no_logged_models(run, store, small):
    place = run.artifacts / "models" / "m"
    place.mkdir(parents=True)
    (place / "MLmodel").write_text("{}")
    track(run.path, {"do": "model", "id": "m-1", "info": {"name": "m", "artifact_uri": place.as_uri()}})
    published = publish(end(run), store)
    assert (published.complete, published.refused) == (True, ())
    assert [path.partition("artifacts/")[2] for path in small.artifacts] == ["models/m/MLmodel"]


def test_a_server_without_a_registry_takes_the_rest(run, store, small):
    small.registry = 500
    (run.artifacts / "m").mkdir(parents=True)
    (run.artifacts / "m" / "MLmodel").write_text("{}")
    track(
        run.path, {"do": "register", "at": 1, "name": "a b"},
        {"do": "register", "at": 1, "name": "a b", "version": "1", "info": {"place": (run.artifacts / "m").as_uri()}},
    )  # fmt: skip
    with pytest.raises(UnreachableError, match="there is no registry"):
        publish(end(run), store)
    assert only(small)["status"] == "FINISHED"  # a registry that fails keeps nothing else away
    small.registry = 404
    published = publish(run, store)
    assert published.complete
    assert [each.what for each in published.refused] == ["registered model a b"]
    assert "there is no registry" in published.refused[0].reason
    assert len(small.artifacts) == 1
    assert publish(run, store).refused == published.refused  # it is tried again, and said once


def test_a_run_that_was_deleted_there_is_not_made_anew(run, store, small):
    publish(end(run), store)
    only(small)["info"]["lifecycle_stage"] = "deleted"
    with pytest.raises(PublishError, match="was deleted on"):
        publish(run, store)


def test_one_process_at_a_time_is_enough(run, store, small):
    publisher = Publisher(run, Server(address(small.uri)))
    end(run)
    with publisher.shelf.held() as held:
        assert held
        with pytest.raises(PublishError, match="by another process"):
            publish(run, store)
        live = Live(run, small.uri)
        assert live.finish(finish(run, store)) == ""
    assert small.runs == {}


@pytest.mark.parametrize("mood", ["broken", "closed", "silent", "html"])
def test_a_server_that_misbehaves_is_left_to_itself(run, store, small, mood):
    small.mood = mood
    live = Live(run, small.uri)
    metrics(run, ("loss", 0.5))
    remark = live.finish(finish(end(run), store))
    assert f"`mlrun publish {run.id[-8:]}` sends what is missing" in remark
    assert small.uri in remark
    small.mood = "well"


def test_lines_are_read_whole(tmp_path):
    path = tmp_path / "x"
    assert new_lines(path, 0) == ([], 0)
    path.write_bytes(b"one\ntwo\nthr")
    assert new_lines(path, 4) == ([b"two\n"], 8)


def test_steps_go_on_where_they_ended(tmp_path):
    path = tmp_path / "m"
    path.write_text('{"name": "a", "value": 1}\n{"name": "b", "value": 1}\nnonsense\n{"name": "a", "value": 2}\n')
    whole, end_of_all = Values(path, 0, 5).following(10)
    assert [(row["key"], row["step"], row["timestamp"]) for row in whole] == [("a", 0, 5), ("b", 0, 5), ("a", 1, 5)]
    assert end_of_all == path.stat().st_size
    first, end_of_first = Values(path, 0, 5).following(1)
    rest, _ = Values(path, end_of_first, 5).following(10)
    assert first + rest == whole


def test_the_order_of_tags_and_their_removal_is_kept():
    lines = [b'{"do": "tag", "name": "a", "value": "1"}', b'{"do": "untag", "name": "a"}', b"[1]", b'{"do": "new"}',
             b'{"do": "tag", "name": "a", "value": "2"}']  # fmt: skip
    assert [(said.tags, said.removed) for said in said_of(lines)] == [({"a": "1"}, ["a"]), ({"a": "2"}, [])]
