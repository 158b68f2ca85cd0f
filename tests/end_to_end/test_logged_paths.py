"""`runs:/ID/PATH` as the value of a `path` parameter: what earlier runs logged or wrote, by its bytes."""

import os
import shutil
from pathlib import Path

import pytest

SUB_RUN = "c" * 32
MAKE = f"""
D=$MLRUN_RUN_DIR/artifacts
C=$MLRUN_RUN_DIR/children/{SUB_RUN}/artifacts
mkdir -p $D/m/sub $D/models/named $C
printf one >$D/m/a; printf two >$D/m/sub/b; printf n >$D/models/named/f; printf kid >$C/k; printf own >own.txt
"""
MLPROJECT = """\
name: logged
entry_points:
  make: {command: sh make.sh}
  use:
    parameters: {data: path}
    command: echo {data}; find {data} -type f | sort | xargs cat
"""


@pytest.fixture
def made(mlrun, project):
    project.write("MLproject", MLPROJECT)
    project.write("make.sh", MAKE)
    mlrun("run", project.path, "-e", "make", "--isolated", "--run-name", "maker").ok()
    return mlrun.show()["run"]["id"]


def used(mlrun, project, uri):
    out = mlrun("run", project.path, "-e", "use", "-P", f"data={uri}").ok().out
    place, _, content = out.partition("\n")
    return Path(place), content


def test_a_directory_a_file_a_model_a_sub_run_and_an_output(mlrun, project, made):
    place, content = used(mlrun, project, f"runs:/{made.replace('-', '')}/m")
    assert (place.name, content) == ("m", "onetwo")
    assert Path(os.environ["MLRUN_CACHE"]) in place.parents
    parameter = mlrun.show()["parameters"][0]
    assert (parameter["given"], parameter["raw"]) == (f"runs:/{made.replace('-', '')}/m", str(place))
    for uri, expected in {
        "runs:/maker/m/a": "one",
        f"runs:/{made}/named": "n",
        f"runs:/{SUB_RUN}/k": "kid",
        "runs:/maker/own.txt": "own",
        f"runs:/{made[-8:]}/m/../m/sub/": "two",
    }.items():
        assert used(mlrun, project, uri)[1] == expected
    assert mlrun("show", made.replace("-", "")).ok()


def test_equal_bytes_are_an_equal_run_and_their_maker_is_named(mlrun, project, made):
    used(mlrun, project, "runs:/maker/m/a")
    first = mlrun.show()
    assert first["inputs"][0]["produced_by"] == [made]
    mlrun("run", project.path, "-e", "make", "--isolated").ok()
    used(mlrun, project, "runs:/latest/m/a")
    assert mlrun.show()["spec_digest"] == first["spec_digest"]


def test_the_bytes_are_those_of_the_run_whatever_became_of_its_directory(mlrun, project, made):
    directory = Path(os.environ["MLRUN_HOME"]) / "runs" / made / "artifacts"
    (directory / "m" / "a").unlink()
    (directory / "m" / "a").write_text("another")
    shutil.rmtree(directory / "m" / "sub")
    assert used(mlrun, project, "runs:/maker/m")[1] == "onetwo"


@pytest.mark.parametrize("path", ["nothing", "../record.json", "m/../../record.json", "/etc/passwd", ".."])
def test_what_is_not_there_is_said_before_there_is_a_run(mlrun, project, made, path):
    said = mlrun("run", project.path, "-e", "use", "-P", f"data=runs:/maker/{path}")
    assert said.code == 125
    assert said.err.startswith(f"error: data: runs:/maker/{path}: the run {made} has no artifact ")
    assert f"hint: `mlrun artifacts {made}`" in said.err
    assert mlrun.show()["run"]["id"] == made


def test_a_run_that_is_not_there(mlrun, project, made):
    said = mlrun("run", project.path, "-e", "use", "-P", f"data=runs:/{'0' * 32}/m")
    assert said.code == 125
    assert "no run answers to" in said.err
