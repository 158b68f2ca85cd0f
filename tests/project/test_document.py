import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import ProjectError
from runner.project.document import SIZE_CAP, parse, read_bytes

PLACE = Path("MLproject")


def refusal(data):
    with pytest.raises(ProjectError) as caught:
        parse(data, PLACE)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "MLproject: it is empty"),
        (b"# only a comment\n", "MLproject: it is empty"),
        (b"a: 1\n---\nb: 2\n", "MLproject:2: it holds a second document"),
        (b"a: 1\nb: [1, 2\n", "it is not valid YAML"),
        (b"a:\n\t- 1\n", "MLproject:2: it is not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", "MLproject:3: the key 'a' comes twice, first in line 1"),
        (b"1: a\n'1': b\n", "MLproject:2: the key '1' comes twice, first in line 1"),
        (b"x: *y\n", "MLproject:1: the alias *y names nothing"),
        (b"x: &y [1, *y]\n", "MLproject:1: the alias *y stands inside what it names"),
        (b"x: &y\n  <<: *y\n", "MLproject:2: the alias *y stands inside what it names"),
        (b"x: !!python/object/apply:os.system [touch /tmp/x]\n", "is not understood here"),
        (b"x: !!python/name:os.system\n", "it is not valid YAML: could not determine a constructor"),
        (b"a: caf\xe9\n", "MLproject:1: it is not text in UTF-8: byte 0xe9"),
        (b"a: 1\nb: \x00\x01\n", "MLproject:2: it holds the control character '\\x00'"),
        ("name: demo\n".encode("utf-16"), "it is not text in UTF-8"),
        (b"? [a, b]\n: 1\n", "a list stands where a key belongs"),
        (b"command: {alpha: 1}: 2\n", "it is not valid YAML"),
        (b"a: 2020-99-99\n", "MLproject:1: '2020-99-99' is no timestamp"),
        (b"a: " + b"1" * 6000 + b"\n", "is no int"),
    ],
)
def test_what_is_no_document_is_refused_in_one_line(data, message):
    assert message in refusal(data)


def test_nesting_is_bounded():
    assert "nested more than 50 levels" in refusal(b"[" * 200_000)
    assert "nested more than 50 levels" in refusal(b"".join(b" " * i + b"a:\n" for i in range(600)))


def test_an_alias_bomb_is_refused_at_once():
    lines = [b"a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]".encode() for i in range(1, 30)]
    began = time.perf_counter()
    assert "each use of an alias counted" in refusal(b"\n".join(lines))
    assert time.perf_counter() - began < 1


def test_a_merge_bomb_is_refused_at_once():
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 30)]
    assert "each use of an alias counted" in refusal("\n".join(lines).encode())


def test_many_values_are_refused_fast():
    began = time.perf_counter()
    assert "holds more than 20,000 values" in refusal(b"- a\n" * (SIZE_CAP // 4))
    assert time.perf_counter() - began < 3


def test_a_large_file_is_not_read(tmp_path):
    file = tmp_path / "MLproject"
    with file.open("wb") as stream:
        stream.truncate(100 << 20)
    began = time.perf_counter()
    with pytest.raises(ProjectError, match=r"104,857,600 bytes large"):
        read_bytes(file, "an MLproject")
    assert time.perf_counter() - began < 0.5


def test_a_pipe_nobody_writes_to_is_no_wait(tmp_path):
    os.mkfifo(tmp_path / "MLproject")
    with pytest.raises(ProjectError, match="is not a plain file"):
        read_bytes(tmp_path / "MLproject", "an MLproject")


def test_lines_are_those_of_the_keys():
    root = parse(b"# c\na:\n  b: |\n    text\n  c:\n    - 1\n", PLACE)
    assert root.items["a"].line == 2
    assert root.items["a"].items["b"].line == 3
    assert root.items["a"].items["c"].line == 5
    assert root.items["a"].items["c"].elements[0].line == 6


def test_own_keys_win_over_merged_ones():
    root = parse(b"x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n  on: 4\n", PLACE)
    assert root.items["y"].value == {"a": 1, "b": 3, True: 4}
    assert list(root.items["y"].items) == ["a", "b", "on"]


SCALARS = st.sampled_from(
    ["1", "010", "0x1f", "1_000", "12:30", "1.5", ".5", "1e3", "1.0e+3", "1e-3", "true", "yes", "on", "~", "null", "''",
     '"q\\n"', "2020-01-02", ".inf", "-.INF", "a", "=", "'a b'", "2020-01-02T03:04:05Z", "!!str 5", "!!float 1",
     "!!binary aGk="]
)  # fmt: skip


def flow(children):
    lists = st.lists(children, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    names = st.sampled_from(["a", "b", "1", "on", "1.10", "'x y'"])
    mappings = st.lists(st.tuples(names, children), max_size=3, unique_by=lambda pair: pair[0]).map(
        lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    )
    return st.one_of(lists, mappings)


@settings(max_examples=200, deadline=None)
@given(st.recursive(SCALARS, flow, max_leaves=8))
def test_values_are_what_safe_load_makes_of_them(text):
    document = f"x: {text}\n".encode()
    try:
        expected = yaml.safe_load(document)
    except (yaml.YAMLError, ValueError):
        return
    assert repr(parse(document, PLACE).value) == repr(expected)


def test_what_any_bytes_do_is_told_in_one_line():
    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.binary(max_size=60), st.text("{}[]:-&*!|>'\"%@#? \nab1", max_size=40).map(str.encode)))
    def try_one(data):
        caught = None
        try:
            parse(data, PLACE)
        except ProjectError as error:
            caught = error
        assert caught is None or "\n" not in caught.message

    try_one()
