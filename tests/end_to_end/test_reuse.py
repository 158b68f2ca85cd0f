"""`mlrun run --reuse`: where nothing has changed since a past run, nothing is executed; and pipelines made of runs."""

import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project

LOCAL = ("--env-manager", "local")
MAIN = """\
name: demo
entry_points:
  main:
    parameters: {table: path, word: {default: x}}
    outputs: [out]
    command: >-
      echo ran >> ../ran.txt; mkdir -p out; cat {table} > out/copy.txt; echo {word} >> out/copy.txt; echo to-stdout;
      echo to-stderr >&2; echo '{{"name":"m","value":1}}' >> "$MLRUN_METRICS"
"""


@pytest.fixture
def once(mlrun: Mlrun, project: Project, tmp_path: Path) -> Project:
    """A project that has run once."""
    project.write("MLproject", MAIN)
    (tmp_path / "table.txt").write_text("table\n")
    project.commit()
    again(mlrun, project, tmp_path, "--run-name", "first")
    return project


def again(mlrun: Mlrun, project: Project, tmp_path: Path, *words: str):
    return mlrun("run", project.path, *LOCAL, "--reuse", "-P", f"table={tmp_path / 'table.txt'}", *words).ok()


def times(tmp_path: Path) -> int:
    return len((tmp_path / "ran.txt").read_text().splitlines())


def test_nothing_is_executed_where_nothing_has_changed(mlrun: Mlrun, once: Project, tmp_path: Path):
    first = mlrun.show()["run"]["id"]
    said = again(mlrun, once, tmp_path)
    assert times(tmp_path) == 1
    assert f"reused {first[-8:]}: nothing has changed since" in said.err
    assert said.out == "to-stdout\n"
    assert "to-stderr" in said.err
    record = mlrun.show()
    assert record["run"]["id"] != first
    assert record["run"]["status"] == "succeeded"
    assert record["relations"]["reused"] == first
    assert [item["path"] for item in record["outputs"]] == ["out/copy.txt"]
    assert [series["name"] for series in record["metrics"]["series"]] == ["m"]
    gaps = {gap["field"]: gap["reason"] for gap in record["gaps"]}
    assert "nothing was executed" in gaps["run.started"]
    assert record["entry_point"]["command"] == mlrun.show(first)["entry_point"]["command"]
    again(mlrun, once, tmp_path)
    assert mlrun.show()["relations"]["reused"] == first  # the source, not a copy of it


def test_what_is_reused_is_not_launched(mlrun: Mlrun, once: Project, tmp_path: Path):
    said = again(mlrun, once, tmp_path, "--detach")
    assert "nothing has changed since" in said.err
    assert "cancel" not in said.err
    assert mlrun("list", "--json").json["runs"][0]["id"] == said.out.strip()


def test_a_run_that_took_over_is_of_use_when_its_source_is_gone(mlrun: Mlrun, once: Project, tmp_path: Path):
    again(mlrun, once, tmp_path)
    second = mlrun.show()["run"]["id"]
    mlrun("rm", "--yes", "first").ok()
    mlrun("gc").ok()
    shutil.rmtree(once.path / "out")
    assert f"reused {second[-8:]}" in again(mlrun, once, tmp_path).err
    assert (once.path / "out/copy.txt").read_text() == "table\nx\n"
    assert mlrun.show()["relations"]["reused"] == second
    shutil.rmtree(once.path)
    assert "identical" in mlrun("rerun", second, "--check").ok().err
    assert mlrun("verify", "--all").ok()


def test_outputs_are_put_in_place(mlrun: Mlrun, once: Project, tmp_path: Path):
    before = (once.path / "out/copy.txt").read_text()
    shutil.rmtree(once.path / "out")
    again(mlrun, once, tmp_path)
    assert (once.path / "out/copy.txt").read_text() == before
    (once.path / "out/copy.txt").write_text("edited")
    again(mlrun, once, tmp_path)
    assert (once.path / "out/copy.txt").read_text() == before
    assert times(tmp_path) == 1


@pytest.mark.parametrize("what", ["code", "parameter", "input", "a lost output", "not asked for", "a failed run"])
def test_it_is_executed_where_something_has(mlrun: Mlrun, once: Project, tmp_path: Path, what: str):
    words = ["-P", "word=y"] if what == "parameter" else []
    if what == "code":
        once.write("train.py", "1")
    elif what == "input":
        (tmp_path / "table.txt").write_text("other\n")
    elif what == "a lost output":
        shutil.rmtree(once.path / "out")
        for path in (mlrun.directory().parents[1] / "objects").rglob("*"):
            if path.is_file() and path.read_bytes() == b"table\nx\n":
                path.unlink()
    elif what == "a failed run":
        once.write("MLproject", MAIN.replace("echo ran", "test ! -e ../ran.txt || exit 3; echo ran"))
        table = f"table={tmp_path / 'table.txt'}"
        assert mlrun("run", once.path, *LOCAL, "--reuse", "-P", table).code == 3
        assert mlrun("run", once.path, *LOCAL, "--reuse", "-P", table).code == 3
        return
    if what == "not asked for":
        mlrun("run", once.path, *LOCAL, "-P", f"table={tmp_path / 'table.txt'}").ok()
    else:
        again(mlrun, once, tmp_path, *words)
    assert times(tmp_path) == 2


def test_a_flipped_bit_in_an_output_is_not_reused(mlrun: Mlrun, once: Project, tmp_path: Path):
    shutil.rmtree(once.path / "out")
    [kept] = [
        path
        for path in (mlrun.directory().parents[1] / "objects").rglob("*")
        if path.is_file() and path.read_bytes() == b"table\nx\n"
    ]
    kept.chmod(0o600)
    kept.write_bytes(b"tablf\nx\n")
    again(mlrun, once, tmp_path)
    assert times(tmp_path) == 2


DOUBTS = """\
name: doubts
entry_points:
  lazy: {outputs: [lazy.txt], command: "[ -f lazy.txt ] || echo x > lazy.txt; cat lazy.txt"}
  part:
    parameters: {n: int}
    outputs: [part]
    command: "mkdir -p part; [ -f part/base ] || echo base > part/base; echo {n} > part/n"
  glob: {outputs: [total.txt], command: "cat extra/*.csv > total.txt"}
  mode: {outputs: [mode.txt], command: "cat local.cfg > mode.txt || echo default > mode.txt"}
  count: {outputs: [c], parameters: {n: int}, command: "rm -rf c; mkdir c; for i in $(seq {n}); do touch c/$i; done"}
  slow: {inputs: [in.txt], outputs: [res.txt], command: "echo B > in.txt; cat in.txt > res.txt"}
  secret: {secrets: [TOKEN], outputs: [s.txt], command: "echo ${{#TOKEN}} > s.txt"}
  link: {outputs: [models], command: "mkdir -p models; echo 1 > models/m1; ln -sfn m1 models/latest"}
  outer: {outputs: [o.txt], command: "mlrun run -q . --env-manager local -e inner -P d=../data.csv; cat o2.txt > o.txt"}
  inner: {parameters: {d: path}, outputs: [o2.txt], command: "cat {d} > o2.txt"}
"""


@pytest.fixture
def doubts(mlrun: Mlrun, project: Project, tmp_path: Path):
    """A function that runs an entry point with --reuse, and says whether it was executed."""
    project.write("MLproject", DOUBTS)
    project.write(".gitignore", "*.txt\n*.csv\n*.cfg\npart\nc\nmodels\n")
    project.write("extra/a.csv", "1\n")
    project.write("in.txt", "A\n")
    (tmp_path / "data.csv").write_text("ONE\n")
    project.commit()

    def run(entry: str, *words: str, **environ: str) -> bool:
        mlrun("run", project.path, *LOCAL, "--reuse", "-e", entry, *words, cwd=project.path, **environ).ok()
        newest = next(run for run in mlrun("list", "--json").json["runs"] if run["entry_point"] == entry)
        return newest["reason"] != "reused"

    return run


def test_outputs_that_were_there_before_are_not_vouched_for(doubts, project: Project):
    assert doubts("lazy")
    assert doubts("part", "-P", "n=1")
    assert doubts("part", "-P", "n=2")
    shutil.rmtree(project.path / "part")
    assert doubts("part", "-P", "n=2")
    assert (project.path / "part" / "base").exists()


def test_a_run_that_wrote_nothing_has_nothing_to_give(mlrun: Mlrun, doubts, project: Project):
    assert doubts("lazy")
    mlrun("run", project.path, *LOCAL, "-e", "lazy").ok()  # finds its output there
    mlrun("rm", "--yes", mlrun("list", "--json", "--reverse").json["runs"][0]["id"]).ok()
    (project.path / "lazy.txt").unlink()
    assert doubts("lazy")
    assert (project.path / "lazy.txt").exists()


def test_what_has_come_since_may_be_read(doubts, project: Project):
    assert doubts("glob")
    assert not doubts("glob")
    project.write("extra/b.csv", "2\n")
    assert doubts("glob")
    assert (project.path / "total.txt").read_text() == "1\n2\n"


def test_a_fresh_directory_and_the_projects_own_are_two_things(doubts, project: Project):
    assert doubts("mode", "--isolated")
    project.write("local.cfg", "mine\n")
    assert doubts("mode")
    assert (project.path / "mode.txt").read_text() == "mine\n"
    assert not doubts("mode", "--isolated")


def test_what_stands_in_an_output_directory_and_is_not_of_it(doubts, project: Project):
    assert doubts("count", "-P", "n=3")
    assert doubts("count", "-P", "n=2")
    assert not doubts("count", "-P", "n=3")
    assert doubts("count", "-P", "n=2")  # the third file is not of its result
    assert sorted(path.name for path in (project.path / "c").iterdir()) == ["1", "2"]


def test_an_input_that_changed_under_the_run(doubts, project: Project):
    assert doubts("slow")
    project.write("in.txt", "A\n")
    assert doubts("slow")


def test_secrets_and_links_and_steps_are_not_guessed(doubts, project: Project, tmp_path: Path):
    assert doubts("secret", TOKEN="abc")
    assert doubts("secret", TOKEN="abcdef")
    assert doubts("link")
    assert doubts("link")
    assert (project.path / "models" / "latest").is_symlink()
    assert doubts("outer")
    (tmp_path / "data.csv").write_text("TWO\n")
    assert doubts("outer")
    assert (project.path / "o.txt").read_text() == "TWO\n"


def test_a_past_run_that_was_tampered_with_is_not_reused(mlrun: Mlrun, doubts, project: Project):
    assert doubts("glob")
    log = mlrun.directory() / "stdout.log"
    log.chmod(0o600)
    log.write_text("TAMPERED\n")
    assert doubts("glob")


def test_what_cannot_be_put_in_place_is_executed(mlrun: Mlrun, doubts, project: Project):
    assert doubts("glob")
    (project.path / "total.txt").unlink()
    (project.path / "total.txt").mkdir()
    said = mlrun("run", project.path, *LOCAL, "--reuse", "-e", "glob")
    assert said.code == 1
    assert "Is a directory" in said.err


def test_a_link_among_outputs_is_brought_out_as_one(mlrun: Mlrun, doubts, tmp_path: Path):
    doubts("link")
    mlrun("artifacts", "latest", "-o", tmp_path / "out").ok()
    assert (tmp_path / "out/models/latest").readlink() == Path("m1")


def test_a_pipeline_of_runs(mlrun: Mlrun, tmp_path: Path):
    project = shutil.copytree(Path("example_projects/pipeline").resolve(), tmp_path / "pipeline")
    mlrun("run", project, "--reuse").ok()
    runs = mlrun("list", "--json", "--reverse").json["runs"]
    parent = runs[0]["id"]
    assert [(run["entry_point"], run["parent"]) for run in runs[1:]] == [
        ("fetch", parent),
        ("prepare", parent),
        ("train", parent),
    ]
    said = mlrun("run", project, "--reuse", "-P", "degree=5").ok()
    assert said.err.count("nothing has changed since") == 2  # fetch and prepare; main and train have another degree
    [old, new] = [run for run in mlrun("list", "--json", "--reverse").json["runs"] if run["entry_point"] == "train"]
    assert new["metrics"]["rmse"] < old["metrics"]["rmse"]
    assert mlrun("diff", old["id"], new["id"]).out.splitlines()[:2] == ["parameter", "  degree: 2 -> 5"]
    found = mlrun("lineage", project / "model/coefficients.json", "--json").json["lineage"]
    assert {step["entry_point"] for step in found["steps"].values()} == {"train", "prepare", "fetch"}
    tree = mlrun("show", parent).out
    assert all(f"{run['id'][-8:]}  {run['entry_point']}" in tree for run in runs[1:])
    mlrun("export", old["id"], "--format", "bundle", "-o", tmp_path / "train.tar.zst").ok()
    elsewhere = {"MLRUN_HOME": str(tmp_path / "elsewhere")}
    shutil.rmtree(project)
    mlrun("import", tmp_path / "train.tar.zst", **elsewhere).ok()
    said = mlrun("rerun", old["id"], "--check", "--json", **elsewhere).ok()
    assert json.loads(said.out)["verdict"]["kind"] == "identical"


def test_the_pattern_of_a_driver_script(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject",
        "entry_points:\n  main: {command: python drive.py}\n  step:\n    parameters: {n: int}\n    command: echo {n}\n",
    )
    project.write(
        "drive.py",
        "import runner\n"
        "for n in (1, 2):\n"
        "    submitted = runner.run('.', 'step', parameters={'n': n}, env_manager='local')\n"
        "    print(submitted.get_status())\n",
    )
    said = mlrun("run", project.path, *LOCAL).ok()
    assert said.out == "succeeded\nsucceeded\n"
    runs = mlrun("list", "--json", "--reverse").json["runs"]
    assert [run["parent"] for run in runs] == [None, runs[0]["id"], runs[0]["id"]]
    assert mlrun("run", project.path, *LOCAL, "--reuse", "-P", "extra=1").ok().out == "succeeded\nsucceeded\n"
    assert mlrun("run", project.path, *LOCAL, "--reuse", "-P", "extra=1").ok().out == "succeeded\nsucceeded\n"
    assert [bool(mlrun.show(run["id"])["relations"]["reused"]) for run in mlrun("list", "--json").json["runs"][:3]] == [
        True,
        True,
        False,
    ]
