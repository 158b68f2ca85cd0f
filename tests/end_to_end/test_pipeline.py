"""The example of three steps, from its runs to its lineage, its differences, and its runs on another machine."""

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun
from tests.end_to_end.test_share import elsewhere

EXAMPLE = Path(__file__).parents[2] / "example_projects" / "pipeline"
LOCAL = ("--env-manager", "local")


@pytest.fixture
def steps(mlrun: Mlrun, tmp_path: Path) -> dict[str, str]:
    """The ids of the three steps' runs, and of `train` with another degree; the project is where it ran."""
    project = shutil.copytree(EXAMPLE, tmp_path / "pipeline")
    for words in (["fetch"], ["prepare"], ["train"], ["train", "-P", "degree=3"]):
        mlrun("run", project, *LOCAL, "-e", *words).ok()
    runs = mlrun("list", "--json", "--reverse").ok().json["runs"]
    names = ("fetch", "prepare", "train", "other")
    return dict(zip(names, (run["id"] for run in runs), strict=True))


def test_a_pipeline_is_explained_compared_handed_over_and_run_again(
    mlrun: Mlrun, steps: dict[str, str], tmp_path: Path
):
    model = next(path for path in sorted((tmp_path / "pipeline/model").iterdir()) if path.is_file())
    found = mlrun("lineage", model, "--json").ok().json["lineage"]
    assert found["begins"] == [steps["other"]]
    assert set(found["steps"]) == {steps[name] for name in ("fetch", "prepare", "other")}
    differ = mlrun("diff", steps["train"], steps["other"])
    assert differ.code == 1
    assert "degree" in differ.out
    mlrun("push", tmp_path / "depot", "--all").ok()
    bundle = tmp_path / "train.mlrun.tar.gz"
    mlrun("export", steps["train"], "-o", bundle).ok()
    shutil.rmtree(tmp_path / "pipeline")
    with elsewhere(tmp_path) as there:
        mlrun("import", bundle, **there).ok()
        assert "3 new runs, 1 here already" in mlrun("pull", tmp_path / "depot", **there).ok().err
        for identity in steps.values():
            verdict = mlrun("rerun", identity, "--check", "--json", **there).ok().json["verdict"]
            assert verdict["kind"] == "identical", (identity, verdict)
            assert verdict["compared"] > 0
        again = mlrun("lineage", steps["other"], "--json", **there).ok().json["lineage"]
        assert {steps["fetch"], steps["prepare"], steps["other"]} <= set(again["steps"])
        mlrun("verify", "--all", **there).ok()
