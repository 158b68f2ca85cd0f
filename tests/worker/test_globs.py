"""The rules of declared paths, held against the standard library's glob where the two agree."""

import glob
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.worker.globs import expand, matches, remainder


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a.csv", "a.csv", True),
        ("./a.csv", "a.csv", True),
        ("a.csv", "b/a.csv", False),
        ("out", "out/deep/a.csv", True),
        ("out/", "out/a.csv", True),
        ("out", "output/a.csv", False),
        ("*.csv", "a.csv", True),
        ("*.csv", "out/a.csv", False),
        ("out/*", "out/.hidden", True),
        ("out/*", "out/deep/a.csv", True),  # the directory matches: all in it does
        ("out/*.csv", "out/deep/a.csv", False),
        ("out/?.csv", "out/a.csv", True),
        ("out/?.csv", "out//.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "x/y/a.csv", True),
        ("out/**", "out/x/y", True),
        ("out/**", "out", False),
        ("out/**/a", "out/a", True),
        ("out/**/a", "out/x/y/a", True),
        ("out/**/a", "other/a", False),
        ("[ab].csv", "a.csv", True),
        ("[!ab].csv", "a.csv", False),
        ("[!ab].csv", "c.csv", True),
        ("[!a]b", "/b", False),
        ("[]]x", "]x", True),
        ("[z-a]", "m", False),
        ("a[1].csv", "a[1].csv", True),  # by its very name
        ("a[1].csv", "a1.csv", True),
        ("[", "[", True),
        ("a.b", "axb", False),
        ("*", "new\nline", True),
        ("**", "x/new\nline", True),
        (".", "x/y", True),
        (".", "../x", False),
        ("**/x", "../x", False),
        ("../data/*.csv", "../data/a.csv", True),
        ("/abs/*.csv", "/abs/a.csv", True),
        ("/abs/*.csv", "abs/a.csv", False),
    ],
)
def test_matches(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("a.csv", "b.txt", "out/a.csv", "out/deep/c.csv", "out/deep/.hidden", "other/a[1].csv", "other/a1.csv"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "link").symlink_to("out")
    (tmp_path / "beside.csv").write_text("")
    return root


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.csv", ["a.csv"]),
        ("missing", []),
        ("missing/*", []),
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "other/a1.csv", "other/a[1].csv", "out/a.csv", "out/deep/c.csv"]),
        ("out", ["out/a.csv", "out/deep/.hidden", "out/deep/c.csv"]),
        ("out/*", ["out/a.csv", "out/deep/.hidden", "out/deep/c.csv"]),
        ("other/a[1].csv", ["other/a[1].csv"]),
        ("other/a[0-9].csv", ["other/a1.csv"]),
        ("l*", ["link"]),
        ("link", ["link/a.csv", "link/deep/.hidden", "link/deep/c.csv"]),
        ("../*.csv", ["../beside.csv"]),
        ("../beside.csv", ["../beside.csv"]),
    ],
)
def test_expand(tree: Path, pattern: str, expected: list[str]) -> None:
    assert list(expand(tree, pattern)) == expected


def test_expand_everything(tree: Path) -> None:
    assert len(expand(tree, ".")) == len(expand(tree, "**")) == 8


def test_expand_follows_links_where_asked_and_none_in_a_circle(tree: Path) -> None:
    (tree / "out" / "up").symlink_to("..")
    (tree / "other" / "round").symlink_to(tree / "other")
    assert list(expand(tree, "l*", follow=True)) == ["link/a.csv", "link/deep/.hidden", "link/deep/c.csv"]
    assert len(expand(tree, ".", follow=True)) == 7 + 3
    (tree / "locked").symlink_to("nowhere")
    assert "locked" in expand(tree, ".", follow=True)


@pytest.mark.parametrize(
    ("pattern", "path", "rest"),
    [
        ("out", "out", ""),
        ("out", "out/a/b", ""),
        ("out/a/b", "out", "a/b"),
        ("*/a/b", "out", "a/b"),
        ("out/*", "out/a", ""),
        ("**/a", "out", None),
        ("out/a", "other", None),
        ("out/a", "out/b", None),
    ],
)
def test_what_is_left_of_a_pattern_below_a_directory(pattern: str, path: str, rest: str | None) -> None:
    assert remainder(pattern, path) == rest


def test_expand_keeps_an_absolute_pattern_absolute(tree: Path) -> None:
    assert expand(Path("/"), f"{tree}/*.csv") == (f"{tree}/a.csv",)
    assert expand(tree, f"{tree}/out/a.csv") == (f"{tree}/out/a.csv",)


_PART = st.text("ab*?[]!-.", min_size=1, max_size=4).filter(lambda part: part not in (".", ".."))


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.one_of(_PART, st.just("**")), min_size=1, max_size=3))
def test_agrees_with_glob(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    root = tmp_path_factory.getbasetemp() / "agree"
    for name in ("a", "b", "ab", "a-b", "d/a", "d/b.a", "d/e/a", "d/e/ab"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pattern = "/".join(parts)
    # glob says "a/" for a/** where a is a file, and for a directory itself: neither is a file below it.
    named = [
        root / path
        for path in glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207  (it is what we compare with)
        if not path.endswith("/") or (root / path).is_dir()
    ]
    files = {str(inner.relative_to(root)) for path in named for inner in [path, *path.rglob("*")] if inner.is_file()}
    assert set(expand(root, pattern)) == files
