"""Results and data on another disk, behind symlinks: what a run reads and writes is the bytes, wherever they lie."""

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Mlrun, Project

LOCAL = ("--env-manager", "local")


@pytest.fixture
def linked(project: Project, tmp_path: Path) -> Project:
    """A project whose data and results lie elsewhere, and one link that is committed."""
    project.write(
        "MLproject",
        "name: linked\ninputs: [data]\nentry_points:\n  main:\n    outputs: [results]\n"
        "    command: mkdir -p results; cat data/far.csv data/near.csv > results/sum.csv\n",
    )
    for name in ("data", "results"):
        (tmp_path / "disk" / name).mkdir(parents=True)
    (tmp_path / "disk" / "data" / "far.csv").write_text("far\n")
    project.write("shared/near.csv", "near\n")
    project.write("data/near.csv", "").unlink()
    (project.path / "data" / "near.csv").symlink_to("../shared/near.csv")
    project.write(".gitignore", "/results\n/data/far.csv\n")
    project.commit()
    (project.path / "data" / "far.csv").symlink_to(tmp_path / "disk/data/far.csv")
    (project.path / "results").symlink_to(tmp_path / "disk/results")
    return project


def test_from_the_run_to_its_lineage_and_back(mlrun: Mlrun, linked: Project, tmp_path: Path):
    mlrun("run", linked.path, *LOCAL, "--run-name", "first").ok()
    [output] = mlrun.show()["outputs"]
    assert (output["path"], output["stored"]) == ("results/sum.csv", True)
    assert output["place"] == (tmp_path / "disk/results/sum.csv").as_uri()
    assert not any(gap["field"] in ("inputs", "outputs") for gap in mlrun.show()["gaps"])
    assert "first" in mlrun("lineage", tmp_path / "disk/results/sum.csv").ok().out
    mlrun("artifacts", "first", "-o", tmp_path / "out").ok()
    assert (tmp_path / "out/results/sum.csv").read_text() == "far\nnear\n"
    mlrun("rerun", "first", "--check").ok()
    (tmp_path / "disk/data/far.csv").write_text("other\n")
    said = mlrun("rerun", "first")
    assert (said.code, "data has changed" in said.err) == (125, True)
    (tmp_path / "disk/data/far.csv").write_text("far\n")
    mlrun("export", "first", "-o", "x.tar.gz").ok()
    shutil.rmtree(linked.path)
    shutil.rmtree(tmp_path / "disk")
    there = {"MLRUN_HOME": str(tmp_path / "there"), "MLRUN_CACHE": str(tmp_path / "cache-there")}
    mlrun("import", "x.tar.gz", **there).ok()
    mlrun("rerun", "latest", "--check", **there).ok()


def test_links_that_are_committed_need_no_project(mlrun: Mlrun, linked: Project):
    (linked.path / "data" / "far.csv").unlink()
    linked.write("MLproject", (linked.path / "MLproject").read_text().replace("data/far.csv ", ""))
    mlrun("run", linked.path, *LOCAL).ok()
    shutil.rmtree(linked.path)
    mlrun("rerun", "latest", "--check").ok()


def test_reuse_sees_through_links_and_writes_through_none(mlrun: Mlrun, linked: Project, tmp_path: Path):
    linked.write("MLproject", (linked.path / "MLproject").read_text() + "  read: {command: cat data/*}\n")
    for entry, far, reused in (("read", "far", False), ("read", "far", True), ("read", "new", False)):
        (tmp_path / "disk/data/far.csv").write_text(f"{far}\n")
        said = mlrun("run", linked.path, *LOCAL, "--reuse", "-e", entry).ok()
        assert ("nothing has changed" in said.err) is reused, (entry, far)
    for _ in range(2):
        said = mlrun("run", linked.path, *LOCAL, "--reuse").ok()
        assert "nothing has changed" not in said.err
    assert (linked.path / "results").is_symlink()


def test_links_are_the_same_on_another_machine(mlrun: Mlrun, linked: Project, tmp_path: Path, machine):
    (tmp_path / "disk/data/deep").mkdir()
    (tmp_path / "disk/data/deep/more.csv").write_text("more\n")
    (linked.path / "data" / "deep").symlink_to(tmp_path / "disk/data/deep")
    linked.write(".gitignore", "/results\n/data/far.csv\n/data/deep\n")
    linked.write("MLproject", (linked.path / "MLproject").read_text().replace("data/near.csv", "data/*/*.csv"))
    mlrun("run", linked.path, *LOCAL, "--run-name", "here").ok()
    mlrun("run", linked.path, *LOCAL, "--run-name", "there", "--on", "lab").ok()
    digests = [mlrun.show(name)["inputs"][0]["digest"] for name in ("here", "there")]
    assert digests[0] == digests[1]
    assert [item["path"] for item in mlrun.show("there")["outputs"]] == ["results/sum.csv"]
    mlrun("rerun", "here", "--on", "lab", "--check").ok()
