"""`mlrun compare`: groups of runs side by side, and a gate for CI."""

import pytest

from tests.end_to_end.conftest import Mlrun, Project

LOCAL = ("--env-manager", "local")
MAIN = """\
name: trial
entry_points:
  main:
    parameters: {model: string, rmse: float}
    command: test {rmse} != 99 && echo '{{"name":"rmse","value":'{rmse}'}}' >> "$MLRUN_METRICS"
"""


@pytest.fixture
def trials(mlrun: Mlrun, project: Project) -> Project:
    project.write("MLproject", MAIN)
    for model, values in (("old", ("1.0", "2.0", "3.0")), ("new", ("2.0", "3.0", "4.0", "99"))):
        for value in values:
            mlrun("run", project.path, *LOCAL, "-P", f"model={model}", "-P", f"rmse={value}", "--tag", f"on={model}")
    return project


def test_groups_by_a_parameter(mlrun: Mlrun, trials: Project):
    said = mlrun("compare", "--by", "params.model", "--baseline", "model=old", "--json").ok()
    found = said.json["compare"]
    groups = {group["name"]: group for group in found["groups"]}
    assert set(groups) == {"model=old", "model=new"}
    assert groups["model=old"]["metrics"][0]["mean"] == 2.0
    assert groups["model=new"]["contrasts"][0]["relative"] == 0.5
    assert len(groups["model=new"]["runs"]) == 3
    assert "left out: 1 run that did not succeed" in said.err
    table = mlrun("compare", "--by", "params.model", "--baseline", "model=old").ok().out
    assert "+50.00 %  p=0.29" in table


def test_a_gate_holds_a_change_back(mlrun: Mlrun, trials: Project):
    words = ["compare", "-g", 'baseline=tags.on = "old"', "-g", 'mine=tags.on = "new"', "--fail-if"]
    said = mlrun(*words, "rmse > 1.05 * @baseline")
    assert said.code == 1
    assert "mine: rmse > 1.05 * @baseline" in said.err
    assert mlrun(*words, "rmse > 2 * @baseline").code == 0


def test_runs_one_by_one(mlrun: Mlrun, trials: Project):
    runs = [run["id"] for run in mlrun("list", "--status", "succeeded", "--json").json["runs"]][:2]
    found = mlrun("compare", *runs, "--json").ok().json["compare"]
    assert [group["runs"] for group in found["groups"]] == [[run] for run in runs]
    assert found["groups"][0]["metrics"][0]["deviation"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--by", "colour"), 2, "runs cannot be put together by 'colour'"),
        ((), 125, "there are no runs to compare"),
        (("--by", "params.none"), 125, "no run has params.none"),
        (("-g", "x"), 2, "a group is given as NAME=CONDITION"),
        (("-g", 'x=params.model = "none"'), 125, "no run that succeeded is in x"),
        (("--by", "params.model", "--baseline", "none"), 2, "there is no group 'none'"),
        (("--by", "params.model", "--fail-if", "rmse > @none"), 2, "there is no group 'none'"),
        (("--by", "params.model", "--fail-if", "mae > 1"), 125, "no run of model=new has the metric 'mae'"),
        (("--by", "params.model", "--fail-if", "rmse >"), 2, "a number, a metric or @GROUP is expected"),
    ],
)
def test_words_that_mean_nothing(mlrun: Mlrun, trials: Project, words: tuple[str, ...], code: int, message: str):
    said = mlrun("compare", *words)
    assert said.code == code
    assert message in said.err
    assert "hint: " in said.err
