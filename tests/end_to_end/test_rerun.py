"""`mlrun rerun`: the same run again, from its record alone, and a verdict that says what differs."""

import os
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project

LOCAL = ("--env-manager", "local")
COPY = "entry_points:\n  main:\n    parameters: {n: {type: int, default: 1}}\n    outputs: [out.txt]\n"


@pytest.fixture
def copier(project: Project) -> Project:
    """A project whose output depends on an uncommitted, a binary and an untracked file, and on a parameter."""
    project.write("MLproject", COPY + "    command: cat part.txt raw.bin extra.txt > out.txt; echo {n} >> out.txt\n")
    project.write("part.txt", "committed\n")
    (project.path / "raw.bin").write_bytes(bytes(range(256)))
    project.write(".gitignore", "out.txt\n")
    project.commit()
    project.write("part.txt", "edited, not committed\n")
    (project.path / "raw.bin").write_bytes(bytes(range(255, -1, -1)))
    project.write("extra.txt", "untracked\n")
    return project


def test_identical_after_the_project_is_gone(mlrun: Mlrun, copier: Project):
    mlrun("run", copier.path, *LOCAL).ok()
    shutil.rmtree(copier.path)
    said = mlrun("rerun", "latest", "--check").ok()
    assert "identical" in said.err
    before, after = reversed(mlrun("list", "--json").json["runs"])
    assert after["rerun_of"] == before["id"]
    assert after["spec_digest"] == before["spec_digest"]


def test_identical_after_the_project_is_edited(mlrun: Mlrun, copier: Project):
    mlrun("run", copier.path, *LOCAL).ok()
    copier.write("part.txt", "edited again\n")
    verdict = mlrun("rerun", "latest", "--check", "--json").ok().json["verdict"]
    assert verdict["kind"] == "identical"
    assert verdict["compared"] == 1


def test_a_rerun_of_a_rerun(mlrun: Mlrun, copier: Project):
    mlrun("run", copier.path, *LOCAL).ok()
    mlrun("rerun", "latest", "--check").ok()
    mlrun("rerun", "latest", "--check").ok()


def test_another_parameter_gives_different_and_names_it(mlrun: Mlrun, copier: Project):
    mlrun("run", copier.path, *LOCAL, "-P", "n=2").ok()
    said = mlrun("rerun", "latest", "-P", "n=3", "--check", "--json")
    assert said.code == 1
    verdict = said.json["verdict"]
    assert verdict["kind"] == "different"
    assert [d["name"] for d in verdict["differences"]] == ["out.txt"]
    assert [d["name"] for d in verdict["causes"] if d["what"] == "parameter"] == ["n"]
    assert mlrun("rerun", "latest", "-P", "n=x").code == 125


def test_randomness_gives_different(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject",
        "entry_points:\n  main: {outputs: [out.txt], command: 'cat /proc/sys/kernel/random/uuid > out.txt'}\n",
    )
    mlrun("run", project.path, *LOCAL).ok()
    assert mlrun("rerun", "latest").code == 0
    assert mlrun("rerun", "latest", "--check").code == 1


def test_nothing_to_compare_is_unverifiable(mlrun: Mlrun, project: Project):
    mlrun("run", project.path, *LOCAL).ok()
    said = mlrun("rerun", "latest", "--check")
    assert said.code == 3
    assert "unverifiable" in said.err


def test_metrics_within_tolerance(mlrun: Mlrun, project: Project):
    line = '{{"name": "rmse", "value": 1.\'$(date +%N)\'}}'
    project.write("MLproject", f"entry_points:\n  main:\n    command: |\n      echo '{line}' >> $MLRUN_METRICS\n")
    mlrun("run", project.path, *LOCAL).ok()
    assert mlrun("rerun", "latest", "--check").code == 1
    said = mlrun("rerun", "latest", "--check", "--tolerance", "rmse=5").ok()
    assert "within" in said.err


def test_a_failure_again_gives_the_same_exit_code(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'exit 9'}\n")
    assert mlrun("run", project.path, *LOCAL).code == 9
    assert mlrun("rerun", "latest").code == 9


@pytest.fixture
def reader(project: Project, tmp_path: Path) -> Project:
    """A project that reads a declared input that git ignores, and a `path` parameter outside."""
    project.write(
        "MLproject",
        "entry_points:\n  main:\n    parameters: {table: path}\n    inputs: [data/in.txt]\n    outputs: [out.txt]\n"
        "    command: cat data/in.txt {table} > out.txt\n",
    )
    project.write(".gitignore", "data/\nout.txt\n")
    project.write("data/in.txt", "inside\n")
    (tmp_path / "table.csv").write_text("outside\n")
    project.commit()
    return project


def test_unchanged_inputs_go_on(mlrun: Mlrun, reader: Project):
    mlrun("run", reader.path, *LOCAL, "-P", "table=table.csv").ok()
    mlrun("rerun", "latest", "--check").ok()


def test_isolated_inputs_are_there(mlrun: Mlrun, reader: Project):
    mlrun("run", reader.path, *LOCAL, "--isolated", "-P", "table=table.csv").ok()
    mlrun("rerun", "latest", "--check").ok()


@pytest.mark.parametrize("name", ["project/data/in.txt", "table.csv"])
@pytest.mark.parametrize("change", ["edit", "remove"])
def test_changed_inputs_stop_the_rerun(mlrun: Mlrun, reader: Project, tmp_path: Path, name: str, change: str):
    mlrun("run", reader.path, *LOCAL, "-P", "table=table.csv").ok()
    path = tmp_path / name
    if change == "edit":
        path.write_text("changed\n")
    else:
        path.unlink()
    said = mlrun("rerun", "latest")
    assert said.code == 125
    assert path.name in said.err
    assert "--allow-changed-inputs" in said.err
    assert len(mlrun("list", "--json").json["runs"]) == 1
    if change == "edit":
        again = mlrun("rerun", "latest", "--allow-changed-inputs", "--json").ok().json
        assert again["verdict"]["kind"] == "different"
        assert again["verdict"]["causes"][0]["what"] == "input"


def test_dry_run_makes_no_run(mlrun: Mlrun, copier: Project):
    mlrun("run", copier.path, *LOCAL).ok()
    mlrun("rerun", "latest", "--dry-run").ok()
    assert len(mlrun("list", "--json").json["runs"]) == 1


def test_a_lost_object_is_named(mlrun: Mlrun, copier: Project):
    mlrun("run", copier.path, *LOCAL).ok()
    for path in (Path(os.environ["MLRUN_HOME"]) / "objects").rglob("*"):
        if path.is_file() and path.read_bytes() == b"untracked\n":
            path.unlink()
    said = mlrun("rerun", "latest")
    assert said.code == 125
    assert "not in the store" in said.err


def test_a_changed_glob_is_brought_where_that_is_allowed(mlrun: Mlrun, reader: Project):
    reader.write("MLproject", reader.path.joinpath("MLproject").read_text().replace("data/in.txt", "data/*.txt"))
    mlrun("run", reader.path, *LOCAL, "-P", "table=table.csv").ok()
    reader.write("data/in.txt", "changed\n")
    assert mlrun("rerun", "latest").code == 125
    again = mlrun("rerun", "latest", "--allow-changed-inputs", "--json").ok().json
    assert {"input"} <= {cause["what"] for cause in again["verdict"]["causes"]}


def test_another_value_leaves_the_other_parameters_where_they_lay(mlrun: Mlrun, project: Project):
    project.write(
        "MLproject",
        "entry_points:\n  main:\n    parameters: {table: {type: path, default: data/in.txt}, word: {default: a}}\n"
        "    outputs: [out.txt]\n    command: cat {table} > out.txt; echo {word} >> out.txt\n",
    )
    project.write(".gitignore", "data/\nout.txt\n")
    project.write("data/in.txt", "inside\n")
    project.commit()
    mlrun("run", project.path, *LOCAL).ok()
    mlrun("rerun", "latest", "-P", "word=b", "-P", "extra=c").ok()
    assert [item["raw"] for item in mlrun.show()["parameters"][1:]] == ["b", "c"]


def test_what_was_lying_there_is_there_for_a_rerun_of_a_rerun(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {outputs: [out.txt], command: cat data/seen | tee out.txt}\n")
    project.write(".gitignore", "data/\nout.txt\n")
    project.write("data/seen", "seen\n")
    project.commit()
    mlrun("run", project.path, *LOCAL).ok()
    for _ in range(2):
        again = mlrun("rerun", "latest", "--check").ok()
        assert again.out == "seen\n"
        assert [item["path"] for item in mlrun.show()["inputs"]] == ["data/seen"]


@pytest.mark.parametrize("outputs", ["", "    outputs: ['results/*']\n"])
@pytest.mark.parametrize("subdirectory", ["", "inner/"])
def test_directories_that_git_does_not_carry_are_there(mlrun: Mlrun, project: Project, outputs: str, subdirectory: str):
    command = "    command: mkdir own && echo a > results/a.txt && echo b > models/deep/b.txt\n"
    project.write(f"{subdirectory}MLproject", f"entry_points:\n  main:\n{outputs}{command}")
    project.write(".gitignore", "results/\n")
    project.commit()
    directory = project.path / subdirectory
    (directory / "results").mkdir()
    (directory / "models" / "deep").mkdir(parents=True)
    mlrun("run", directory, *LOCAL, "--isolated").ok()
    mlrun("rerun", "latest", "--check").ok()
    mlrun("run", directory, *LOCAL).ok()
    shutil.rmtree(project.path)
    mlrun("rerun", "latest", "--check").ok()
    mlrun("rerun", "latest", "--check").ok()


def test_a_worktree_does_not_lead_a_rerun_to_its_repository(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write("MLproject", "entry_points:\n  main: {command: 'ls -a'}\n")
    project.commit()
    project.git("worktree", "add", "-q", str(tmp_path / "tree"))
    assert ".git\n" in mlrun("run", tmp_path / "tree", *LOCAL).ok().out
    assert mlrun.show()["inputs"] == []
    assert ".git\n" not in mlrun("rerun", "latest").ok().out


def test_a_rerun_that_never_began_blames_nothing(mlrun: Mlrun, reader: Project):
    mlrun("run", reader.path, *LOCAL, "-P", "table=table.csv").ok()
    (reader.path / "data/in.txt").unlink()
    again = mlrun("rerun", "latest", "--allow-changed-inputs", "--json").json
    assert again["verdict"]["kind"] == "unverifiable"
    assert again["verdict"]["reasons"] == ["the second run failed before its command could end"]
    assert again["verdict"]["causes"] == []


def test_an_input_beside_the_project_is_refused_before_there_is_a_run(mlrun: Mlrun, project: Project, tmp_path: Path):
    project.write("MLproject", "entry_points:\n  main: {inputs: [../beside.txt], command: cat ../beside.txt}\n")
    (tmp_path / "beside.txt").write_text("beside\n")
    project.commit()
    mlrun("run", project.path, *LOCAL).ok()
    for argv in (["rerun", "latest"], ["run", project.path, "--isolated", *LOCAL]):
        said = mlrun(*argv)
        assert said.code == 125
        assert "'../beside.txt' lies outside the project" in said.err
    assert len(mlrun("list", "--json").json["runs"]) == 1


def test_source_too_large_to_be_stored_is_said_and_looked_for(mlrun: Mlrun, project: Project):
    project.write("MLproject", "entry_points:\n  main: {command: 'wc -c < big.bin'}\n")
    (project.path / "big.bin").write_bytes(bytes(300_000))
    said = mlrun("run", project.path, "--env-manager", "local", "--max-file-size", "100K", "--run-name", "large").ok()
    assert "above the size cap, so recorded by digest and not stored: big.bin" in said.err
    assert "code.not_stored" in {gap["field"] for gap in mlrun.show()["gaps"]}
    mlrun("rerun", "large", "--dry-run").ok()
    (project.path / "big.bin").write_bytes(bytes(300_001))
    for words in (("--dry-run",), ()):
        said = mlrun("rerun", "large", *words)
        assert said.code == 125
        assert "big.bin has changed, at" in said.err
    assert len(mlrun("list", "--json").json["runs"]) == 1


def test_an_input_of_the_snapshot_that_changed_since_is_told(mlrun: Mlrun, project: Project):
    command = "inputs: [in.csv], outputs: [out], command: 'cat in.csv > out'"
    project.write("MLproject", f"entry_points:\n  main: {{{command}}}\n")
    project.write("in.csv", "old")
    project.commit()
    mlrun("run", project.path, "--env-manager", "local").ok()
    project.write("in.csv", "new")
    said = mlrun("rerun", "latest", "--check").ok()
    assert "in.csv has changed since: the run's own bytes are used, from its snapshot" in said.err
