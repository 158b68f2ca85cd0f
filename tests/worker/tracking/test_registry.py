"""The registry of a run, asked as MLflow's REST client asks: what it keeps, and what it refuses in MLflow's words."""

import os

import pytest

from tests.worker.tracking.conftest import launch


def register(served, name="m", path="made", **fields):
    """Make the next version of a model, and the model where it is not there; return the version."""
    served.ask("POST", "registered-models/create", {"name": name})
    source = f"{served.data()['info']['artifact_uri']}/{path}"
    asked = {"name": name, "source": source, "run_id": served.id, **fields}
    return served.post("model-versions/create", **asked)["model_version"]


def versions(served, text=""):
    found = served.get("model-versions/search", filter=text)["model_versions"]
    return [(each["name"], each["version"]) for each in found]


def names(served, text=""):
    return [each["name"] for each in served.get("registered-models/search", filter=text)["registered_models"]]


def test_versions_are_counted_and_lie_among_the_artifacts(served):
    first = register(served, path="a b", tags=[{"key": "k", "value": "v"}], description="text")
    assert (first["version"], first["status"], first["current_stage"]) == ("1", "READY", "None")
    assert first["tags"] == [{"key": "k", "value": "v"}]
    assert register(served)["version"] == "2"
    uri = served.get("model-versions/get-download-uri", name="m", version="1")["artifact_uri"]
    assert uri == (served.run.artifacts / "a b").as_uri()
    served.post("model-versions/delete", "DELETE", name="m", version="2")
    assert register(served)["version"] == "3"  # a number is given once
    assert versions(served, "name = 'm'") == [("m", "3"), ("m", "1")]
    assert versions(served, f"run_id = '{served.id}' and version_number < 2 and tags.k = 'v'") == [("m", "1")]
    assert versions(served, "name = 'other'") == []


def test_a_version_is_made_of_a_logged_model_of_a_runs_uri_and_of_another_version(served):
    model = served.post("logged-models", name="ridge", source_run_id=served.id)["model"]["info"]
    served.post("registered-models/create", name="m")
    made = []
    for source in (f"models:/{model['model_id']}", f"runs:/{served.id}/ridge", "models:/m/1", "models:/m/latest"):
        made.append(served.post("model-versions/create", name="m", source=source)["model_version"])
        assert made[-1]["source"] == source
    assert [each["run_id"] for each in made] == [served.id] * 4
    assert [each["model_id"] for each in made] == [model["model_id"], "", model["model_id"], model["model_id"]]
    places = [served.get("model-versions/get-download-uri", name="m", version=str(n)) for n in (1, 2, 3, 4)]
    logged, other = model["artifact_uri"], f"{served.run.artifacts.as_uri()}/ridge"
    assert [place["artifact_uri"] for place in places] == [logged, other, logged, logged]


@pytest.mark.parametrize(
    "source", ["/tmp", "file:///tmp", "{root}/../start.json", "{root}/out", "relative", "models:/m/1", "runs:/x/y"]
)
def test_what_is_no_artifact_of_the_run_is_no_version(served, source):
    served.run.artifacts.mkdir(exist_ok=True)
    (served.run.artifacts / "out").symlink_to("/")
    served.post("registered-models/create", name="m")
    source = source.format(root=served.run.artifacts)
    status, code, _ = served.refusal("model-versions/create", name="m", source=source, run_id=served.id)
    assert (status, code) in ((400, "INVALID_PARAMETER_VALUE"), (404, "RESOURCE_DOES_NOT_EXIST"))
    assert served.get("model-versions/search")["model_versions"] == []


def test_aliases_name_versions(served):
    register(served)
    register(served)
    for alias in ("champion", "old"):
        served.post("registered-models/alias", name="m", alias=alias, version="1")
    served.post("registered-models/alias", name="m", alias="champion", version="2")
    served.post("registered-models/alias", "DELETE", name="m", alias="never")
    found = served.get("registered-models/alias", name="m", alias="champion")["model_version"]
    assert (found["version"], found["aliases"]) == ("2", ["champion"])
    assert served.get("registered-models/alias", name="m", alias="latest")["model_version"]["version"] == "2"
    served.post("model-versions/delete", "DELETE", name="m", version="2")
    assert served.get("registered-models/get", name="m")["registered_model"]["aliases"] == [
        {"alias": "old", "version": "1"}
    ]
    assert served.refusal("registered-models/alias", "GET", name="m", alias="champion")[1] == "INVALID_PARAMETER_VALUE"
    for alias in ("latest", "V3", "a b", "", "x" * 256):
        refused = served.refusal("registered-models/alias", name="m", alias=alias, version="1")
        assert refused[1] == "INVALID_PARAMETER_VALUE"


def test_a_version_that_moves_to_a_stage_archives_the_one_before_it(served):
    for _ in range(3):
        register(served)

    def move(number, stage, **fields):
        served.post("model-versions/transition-stage", name="m", version=number, stage=stage, **fields)

    move("1", "production")
    move("2", "Production", archive_existing_versions=True)
    latest = served.post("registered-models/get-latest-versions", name="m")["model_versions"]
    assert {each["current_stage"]: each["version"] for each in latest} == {
        "Archived": "1", "Production": "2", "None": "3",
    }  # fmt: skip
    [found] = served.post("registered-models/get-latest-versions", name="m", stages=["production"])["model_versions"]
    assert found["version"] == "2"
    for stage, archive in (("best", False), ("None", True)):
        asked = {"name": "m", "version": "3", "stage": stage, "archive_existing_versions": archive}
        assert served.refusal("model-versions/transition-stage", **asked)[1] == "INVALID_PARAMETER_VALUE"


def test_models_are_described_renamed_tagged_and_deleted(served):
    register(served, "b")
    register(served, "a")
    served.post("registered-models/update", "PATCH", name="a", description="text")
    served.post("registered-models/set-tag", name="a", key="team", value="x")
    served.post("registered-models/set-tag", name="a", key="gone", value="x")
    served.post("registered-models/delete-tag", "DELETE", name="a", key="gone")
    served.post("model-versions/set-tag", name="a", version="1", key="k", value="v")
    served.post("model-versions/update", "PATCH", name="a", version="1", description="first")
    assert names(served) == ["a", "b"]
    assert names(served, "tags.`mlflow.prompt.is_prompt` != 'true'") == ["a", "b"]  # so clients ask for all
    assert names(served, "tags.team = 'x'") == names(served, "name like 'a%'") == ["a"]
    renamed = served.post("registered-models/rename", name="a", new_name="ü 2")["registered_model"]
    assert (renamed["name"], renamed["description"]) == ("ü 2", "text")
    assert renamed["tags"] == [{"key": "team", "value": "x"}]
    [version] = renamed["latest_versions"]
    assert (version["name"], version["description"]) == ("ü 2", "first")
    served.post("registered-models/delete", "DELETE", name="b")
    assert names(served) == ["ü 2"]
    assert served.refusal("registered-models/get", "GET", name="a")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("method", "path", "fields", "code"),
    [
        ("POST", "registered-models/create", {"name": "m"}, "RESOURCE_ALREADY_EXISTS"),
        ("POST", "registered-models/rename", {"name": "m", "new_name": "m"}, "RESOURCE_ALREADY_EXISTS"),
        ("POST", "registered-models/create", {"name": "a/b"}, "INVALID_PARAMETER_VALUE"),
        ("POST", "registered-models/create", {"name": " "}, "INVALID_PARAMETER_VALUE"),
        ("POST", "registered-models/create", {"name": "x" * 256}, "INVALID_PARAMETER_VALUE"),
        ("POST", "registered-models/create", {}, "INVALID_PARAMETER_VALUE"),
        ("PATCH", "registered-models/update", {"name": "no"}, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "model-versions/create", {"name": "no", "source": "x"}, "RESOURCE_DOES_NOT_EXIST"),
        ("POST", "model-versions/create", {"name": "m"}, "INVALID_PARAMETER_VALUE"),
        ("GET", "model-versions/get", {"name": "m", "version": "7"}, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "model-versions/get", {"name": "m", "version": "one"}, "INVALID_PARAMETER_VALUE"),
        ("GET", "registered-models/search", {"filter": "name ~ 1"}, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_mistakes_are_refused_as_mlflow_does(served, method, path, fields, code):
    served.post("registered-models/create", name="m")
    assert served.refusal(path, method, **fields)[1] == code


def test_prompts_are_not_registered(served):
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    status, code, message = served.refusal("registered-models/create", name="p", tags=tags)
    assert (status, code) == (501, "FEATURE_DISABLED")
    assert "prompts" in message


def test_what_was_registered_survives_the_death_of_the_server(served, run):
    register(served, tags=[{"key": "k", "value": "v"}])
    served.post("registered-models/alias", name="m", alias="champion", version="1")
    served.process.kill()
    served.process.wait()
    other = launch(run)
    try:
        found = other.get("model-versions/get", name="m", version="1")["model_version"]
        assert (found["aliases"], found["tags"]) == (["champion"], [{"key": "k", "value": "v"}])
        assert register(other)["version"] == "2"
    finally:
        assert other.end() == 0
        os.close(other.lifeline)
