"""Every example project, run as its README says; the broken ones show the messages they are there to show."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun
from tests.needs import need

HEAVY = os.environ.get("MLRUN_HEAVY")
WHY_NOT = "it installs a gigabyte of packages; MLRUN_HEAVY=1 asks for it"
EXAMPLES = Path(__file__).parents[2] / "example_projects"


@pytest.fixture
def example(tmp_path: Path):
    """Copy an example, for a test must not write into the repository."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("model", "data")))

    return copy


@pytest.fixture
def nested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the command on PATH, as an installation does."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def test_diabetes(mlrun: Mlrun, example):
    need("index", not os.environ.get("UV_OFFLINE"), "the package index is out of reach")
    project = example("diabetes")
    said = mlrun("run", project, "-P", "alpha=0.5").ok()
    assert said.out.startswith("alpha=0.5 l1_ratio=0.1 ")
    record = mlrun.show()
    metrics = {m["name"]: m["last"] for m in record["metrics"]["series"]}
    assert {"rmse", "mae", "r2", "training_root_mean_squared_error"} <= metrics.keys()
    assert metrics["rmse"] == pytest.approx(53.33, abs=0.5)
    assert record["tracking"]["params"]["elasticnet__alpha"] == "0.5"  # what scikit-learn was told, by autologging
    assert {"model/coefficients.csv", "model/intercept.json"} <= {f["path"] for f in record["outputs"]}
    packages = {p["name"]: p for p in record["environment"]["packages"]}
    assert packages["scikit-learn"]["digests"]
    assert mlrun("rerun", "latest", "--check", "--json").ok().json["verdict"]["kind"] == "identical"
    refused = mlrun("run", project, "-P", "alpha=-1")
    assert refused.code == 125
    assert "minimum" in refused.err or "0" in refused.err


@pytest.mark.heavy
@pytest.mark.timeout(1500)
def test_pycaret(mlrun: Mlrun, example, monkeypatch):
    need("heavy", HEAVY, WHY_NOT)
    project = at_leisure(example("pycaret"), monkeypatch)
    mlrun("run", project, "-P", "models=lr", "-P", "models=nb").ok()
    record = mlrun.show()
    scores = {m["name"]: m["last"] for m in record["metrics"]["series"] if m["file"] == "scores.json"}
    assert scores["test.Accuracy"] > 0.9
    children = record["tracking"]["children"]  # each model that was compared, and the one that was tuned
    assert [child["name"] for child in children].count("Logistic Regression") == 2
    assert {child["status"] for child in children} == {"finished"}
    assert all(0.8 < last(child, "Accuracy") <= 1 for child in children)
    assert any(f["path"].endswith("artifacts/model/MLmodel") for f in record["outputs"])
    assert record["tracking"]["params"]["Fold Number"] == "3"
    again = mlrun("rerun", "latest", "--check", "--json", "--tolerance", "*TT=1000000").json["verdict"]
    assert again["kind"] in ("within-tolerance", "identical"), again  # the times that fitting takes are chance
    assert again["compared"] > 20


@pytest.mark.heavy
@pytest.mark.timeout(1500)
def test_flaml(mlrun: Mlrun, example, monkeypatch):
    need("heavy", HEAVY, WHY_NOT)
    project = at_leisure(example("flaml"), monkeypatch)
    mlrun("run", project, "-P", "tries=8").ok()
    record = mlrun.show()
    scores = {m["name"]: m["last"] for m in record["metrics"]["series"] if m["file"] == "scores.json"}
    assert 0.2 < scores["test.r2"] < 1
    children = record["tracking"]["children"]
    assert len(children) == 8
    best = min(last(child, "validation_loss") for child in children)
    assert best == pytest.approx(scores["best.loss"])
    assert [model["status"] for model in record["tracking"]["models"]] in ([], ["ready"])
    assert any(f["path"] == "artifacts/model/MLmodel" for f in record["outputs"])
    condition = f"metrics.`best.loss` < {best + 1} and params.tries = 8"
    assert len(mlrun("list", "--where", condition, "--json").ok().json["runs"]) == 1
    again = mlrun("rerun", "latest", "--json", "--tolerance", "*_time=1000000").json["verdict"]
    assert {d["name"] for d in again["differences"] if d["what"] == "metric"} == set(), again


def last(child, name):
    return next(series["last"] for series in child["metrics"]["series"] if series["name"] == name)


def at_leisure(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project hundreds of megabytes to install the time that this takes, and a cache that other tests keep."""
    monkeypatch.setattr("tests.end_to_end.conftest.PATIENCE", 900)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return project


@pytest.mark.usefixtures("nested")
def test_two_steps(mlrun: Mlrun, example):
    project = example("two_steps")
    mlrun("run", project, "-P", "rows=50").ok()
    assert json.loads((project / "line.json").read_text())["slope"] == pytest.approx(3, abs=0.1)
    train, prepare, main = mlrun("list", "--json").json["runs"]
    assert [run["entry_point"] for run in (main, prepare, train)] == ["main", "prepare", "train"]
    assert {prepare["parent"], train["parent"]} == {main["id"]}
    [points] = mlrun.show(train["id"])["inputs"]
    assert points["produced_by"] == [prepare["id"]]


def test_shell_only(mlrun: Mlrun, example):
    project = example("shell_only")
    assert mlrun("run", project).ok().out == "hello, world\n"
    said = mlrun("run", project, "-P", "names=you all", "-P", "names=$HOME", "-P", "shout=true").ok()
    assert said.out == "HELLO, you all\nHELLO, $HOME\n"
    assert mlrun("run", project, "-e", "greet.sh", "--env-manager", "local").code == 0


def test_word_counts(mlrun: Mlrun, example):
    project = example("word_counts")
    mlrun("run", project, "-P", "top=3").ok()
    record = mlrun.show()
    assert {f["path"] for f in record["inputs"]} == {"texts/rhyme.txt", "texts/sonnet.txt"}
    assert [f["path"] for f in record["outputs"]] == ["counts.csv"]
    assert mlrun("rerun", "latest", "--check").code == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("undeclared_placeholder", ["MLproject", "run_id", "{{"]),
        ("missing_file", ["MLproject", "3", "envs/python_env.yml"]),
        ("duplicate_key", ["MLproject", "8", "main"]),
        ("wrong_type", ["MLproject", "entry_points", "mapping"]),
    ],
)
def test_the_broken_ones(mlrun: Mlrun, example, name: str, words: list[str]):
    project = example("broken") / name
    said = mlrun("check", project)
    assert said.code == 1
    for word in words:
        assert word in said.out
    refused = mlrun("run", project)
    assert refused.code == 125
    assert "hint: " in refused.err
    assert mlrun("list", "--json").json["runs"] == []


def test_surprises_are_warned_of(mlrun: Mlrun, example):
    said = mlrun("check", example("broken") / "surprises").ok()
    for word in ("rate", "fast", "010", "750", "type:int", "{when}"):
        assert word in said.out
    assert said.out.count("MLflow: ") >= 3
