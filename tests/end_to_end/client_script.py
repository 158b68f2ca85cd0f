"""What scripts do with MLflow's client, each thing by itself; prints what came of it. Run by clients old and new."""

import json
import math
import os
import sys
import time

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

NAME = sys.argv[1]
client = MlflowClient()
results = {}


def attempt(call):
    """Keep what a call returned, or how it failed and within how many seconds."""
    started = time.monotonic()
    try:
        results[call.__name__] = call()
    except Exception as error:
        code = getattr(error, "error_code", type(error).__name__)
        results[call.__name__] = [code, time.monotonic() - started < 30, "set_tracking_uri" in str(error)]


def sub_run():
    with mlflow.start_run(nested=True, run_name="kid") as kid:
        mlflow.log_metric("k", 1)
        mlflow.log_text("kid", "kid.txt")
    return kid.info.run_id


def log_figure():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 2])
    mlflow.log_figure(figure, "figure.png")


def log_image():
    import numpy

    mlflow.log_image(numpy.zeros((8, 8, 3), dtype=numpy.uint8), "image.png")


def log_image_by_key():
    import numpy

    mlflow.log_image(numpy.zeros((8, 8, 3), dtype=numpy.uint8), key="dogs", step=2)


def log_table():
    mlflow.log_table({"q": ["a", "b"]}, "table.json")
    mlflow.log_table({"q": ["c"]}, "table.json")
    return list(mlflow.load_table("table.json", run_ids=[ID])["q"])


def log_input():
    import pandas

    mlflow.log_input(mlflow.data.from_pandas(pandas.DataFrame({"a": [1.0]}), name="frame"), context="training")
    return [each.dataset.name for each in client.get_run(ID).inputs.dataset_inputs]


def search_runs():
    return list(mlflow.search_runs(filter_string="metrics.k = 1")["tags.mlflow.runName"])


def find_runs():
    found = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{ID}' and metrics.k >= 1")
    return [run.data.tags["mlflow.runName"] for run in found]


def list_artifacts():
    return [each.path for each in client.list_artifacts(ID, "d")]


def download_artifacts():
    with open(mlflow.artifacts.download_artifacts(f"runs:/{ID}/d/x.json")) as stream:
        return json.load(stream)


def download_by_client():
    with open(client.download_artifacts(ID, "t.txt")) as stream:
        return stream.read()


def scikit_learn():
    import numpy
    from sklearn.linear_model import Ridge

    points = numpy.array([[0.0], [1.0], [2.0]])
    mlflow.sklearn.autolog(log_models=False)
    model = Ridge(alpha=0.0).fit(points, points[:, 0])
    mlflow.sklearn.autolog(disable=True)
    mlflow.sklearn.log_model(model, "ridge", pip_requirements=["scikit-learn"])
    loaded = mlflow.pyfunc.load_model(f"runs:/{ID}/ridge")
    data = client.get_run(ID).data
    assert "training_r2_score" in data.metrics, data.metrics
    return [data.params["fit_intercept"], round(float(loaded.predict(points)[2]), 6)]


def pyfunc():
    import pandas
    from mlflow.pyfunc import PythonModel

    class Doubled(PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

    requirements = {"pip_requirements": ["mlflow"]}
    mlflow.pyfunc.log_model("doubled", python_model=Doubled(), registered_model_name="two x", **requirements)
    frame = pandas.DataFrame({"a": [2]})
    return int(mlflow.pyfunc.load_model("models:/two x/1").predict(frame)["a"][0])


def asynchronous():
    mlflow.log_metric("later", 1, synchronous=False)
    mlflow.log_params({"later": 1}, synchronous=False).wait()
    mlflow.flush_async_logging()
    data = client.get_run(ID).data
    return [data.metrics["later"], data.params["later"]]


def system_metrics():
    mlflow.set_system_metrics_sampling_interval(0.1)
    mlflow.set_system_metrics_samples_before_logging(1)
    with mlflow.start_run(nested=True, run_name="machine", log_system_metrics=True) as run:
        for _ in range(200):
            time.sleep(0.05)
            found = client.get_run(run.info.run_id).data.metrics
            if "system/cpu_utilization_percentage" in found:
                return True
    return sorted(found)


def project():
    submitted = mlflow.projects.run(".", "step", parameters={"x": 3}, env_manager="local")
    return [submitted.get_status(), client.get_run(submitted.run_id).data.metrics]


def other_value_of_a_parameter():
    mlflow.log_param("given", 9)


def registry():
    client.create_registered_model("m", {"a": "1"}, "of the script")
    source = f"{run.info.artifact_uri}/d"
    first, second = (client.create_model_version("m", source, ID, {"n": n}) for n in "12")
    client.set_model_version_tag("m", second.version, "mine", "yes")
    client.transition_model_version_stage("m", second.version, "production", archive_existing_versions=True)
    client.update_model_version("m", first.version, "the first")
    client.create_registered_model("gone")
    client.delete_registered_model("gone")
    return [
        [[each.name, int(each.version), each.current_stage] for each in client.search_model_versions("name = 'm'")],
        [int(each.version) for each in client.get_latest_versions("m")],
        {model.name: model.description for model in client.search_registered_models()}["m"],
        client.get_model_version("m", 2).tags,
        client.get_model_version_download_uri("m", 1) == source,
    ]


def register_a_model():
    mlflow.log_text("{}", "by hand/MLmodel")
    return int(mlflow.register_model(f"runs:/{ID}/by hand", "m").version)


def aliases():
    client.set_registered_model_alias("m", "champion", 1)
    client.set_registered_model_alias("m", "gone", 1)
    client.delete_registered_model_alias("m", "gone")
    return [int(client.get_model_version_by_alias("m", "champion").version), client.get_registered_model("m").aliases]


def model_of_a_taken_name():
    client.create_registered_model("m")


def version_of_nobody():
    client.get_model_version("m", 99)


def version_from_elsewhere():
    client.create_model_version("m", "/tmp", ID)


def traces():
    mlflow.search_traces()


def artifact_above():
    mlflow.log_text("x", "../../outside.txt")


def artifact_elsewhere():
    mlflow.log_text("x", "/tmp/outside.txt")


def run_of_nobody():
    client.get_run("0" * 32)


preset = os.environ["MLFLOW_RUN_ID"]
mlflow.set_experiment("x")
with mlflow.start_run() as run:
    ID = run.info.run_id
    mlflow.log_param("given", 0.5)
    mlflow.log_params({"größe/tiefe": 3})
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "val/größe µ": 2})
    mlflow.set_tags({"a/b": 1, "gone": 1})
    client.delete_tag(ID, "gone")
    mlflow.log_dict({"a": [1]}, "d/x.json")
    mlflow.log_text("hi", "t.txt")
    mlflow.log_artifact(__file__, "code")
    mlflow.log_artifacts("folder", "folder")
    client.log_batch(ID, [Metric("b", 1.0, 1, 0)], [Param("b", "1")], [RunTag("b", "1")])
    for call in (
        *(sub_run, log_figure, log_image, log_image_by_key, log_table, log_input, search_runs, find_runs),
        *(list_artifacts, download_artifacts, download_by_client, scikit_learn, pyfunc, asynchronous, system_metrics),
        *(project, registry, register_a_model, aliases, other_value_of_a_parameter, model_of_a_taken_name),
        *(version_of_nobody, version_from_elsewhere, traces, artifact_above, artifact_elsewhere, run_of_nobody),
    ):
        attempt(call)
    got = client.get_run(ID)
with mlflow.start_run(run_id=ID):
    mlflow.log_metric("again", 1)
with mlflow.start_run(run_name="without the id") as other:
    mlflow.log_metric("other", 1)
results["preset"] = [preset == ID, run.info.experiment_id, other.info.run_id != ID]
results["read"] = {
    "params": {key: value for key, value in got.data.params.items() if key in ("given", "größe/tiefe", "b")},
    "tags": {key: value for key, value in got.data.tags.items() if key in ("a/b", "b", "gone")},
    "nan": math.isnan(got.data.metrics["nan"]),
    "history": [[each.step, each.value] for each in client.get_metric_history(ID, "loss")],
}
with open(NAME, "w") as stream:
    json.dump(results, stream)
