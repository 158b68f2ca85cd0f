"""Every example project, run as its README says; the broken ones show the messages they are there to show."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun
from tests.needs import need

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
    assert {m["name"] for m in record["metrics"]["series"]} == {"rmse", "mae", "r2"}
    assert {f["path"] for f in record["outputs"]} == {"model/coefficients.csv", "model/intercept.json"}
    packages = {p["name"]: p for p in record["environment"]["packages"]}
    assert packages["scikit-learn"]["digests"]
    assert mlrun("rerun", "latest", "--check", "--json").ok().json["verdict"]["kind"] == "identical"
    refused = mlrun("run", project, "-P", "alpha=-1")
    assert refused.code == 125
    assert "minimum" in refused.err or "0" in refused.err


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
