"""The list of a run's files is what `sha256sum` checks, and reads back any name that a file can have."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import FormatError
from runner.records.contents import line, names, parse, seal_contents
from runner.records.finish import finish
from runner.store.store import Store
from tests.store.runs import a_run, end

NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=8).filter(lambda name: name.strip("/"))


@given(st.dictionaries(NAMES, st.text("0123456789abcdef", min_size=64, max_size=64), max_size=4))
def test_every_name_comes_back(digests):
    digests = {os.fsdecode(name.encode("utf-8", "surrogatepass")): sha256 for name, sha256 in digests.items()}
    assert parse(b"".join(line(name, sha256) for name, sha256 in digests.items())) == digests


def test_sha256sum_checks_the_list_whatever_the_names():
    store = Store.open()
    run = end(a_run(store))
    for name in ("plain", "two words", "back\\slash", "new\nline", "a/b/c", "caf\udce9"):
        path = run.path / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, errors="surrogateescape")
    (run.path / "artifacts" / "link").symlink_to("/etc/hostname")
    record = finish(run, store)
    done = subprocess.run(["sha256sum", "-c", run.contents.name], cwd=run.path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    assert set(parse(run.contents.read_bytes())) == set(names(run))
    assert len(record["contents"]["sha256"]) == 64
    assert "artifacts/link" not in parse(run.contents.read_bytes())


def test_the_first_list_stands():
    store = Store.open()
    run = end(a_run(store))
    first = seal_contents(run)
    (run.path / "late").write_text("late")
    assert seal_contents(run) == first


@pytest.mark.parametrize("data", [b"x", b"0" * 64 + b" a\n", b"0" * 64 + b"  a", (b"0" * 64 + b"  a\n") * 2])
def test_what_is_no_list_is_refused_by_its_line(data):
    with pytest.raises(FormatError, match=r"line [12] is not"):
        parse(data)
