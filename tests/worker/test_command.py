import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import ProjectError
from runner.worker.command import check_template, render, shell_argv, without_end
from runner.worker.spec import Parameter

ECHO = f"{sys.executable} -c 'import os,sys,json; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))'"
ECHO_TEMPLATE = ECHO.replace("{", "{{").replace("}", "}}")


def text(name, raw, **more):
    return Parameter(name=name, type="string", raw=raw, **more)


def argv_of(command, strict=False):
    """What a program receives from bash, as bytes."""
    done = subprocess.run(shell_argv(command, strict), capture_output=True, check=True)
    return [bytes.fromhex(word) for word in json.loads(done.stdout)]


def fsencoded(words):
    return [word.encode("utf-8", "surrogateescape") for word in words]


# Any bytes but NUL, as Python shows a file name: surrogate-escaped where they are no UTF-8.
ANY_TEXT = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
TEXTS = st.one_of(ANY_TEXT, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, min_size=25, max_size=25))
def test_any_text_arrives_byte_for_byte(values):
    names = [f"p{index}" for index in range(len(values))]
    declared = [text(name, value) for name, value in zip(names, values, strict=True)]
    extras = [text(value, value, source="extra") for value in values[:5]]
    lists = [Parameter(name="many", type="list", raw="", words=tuple(values))]
    template = ECHO_TEMPLATE + "".join(f" {{{name}}}" for name in names) + " {many}\n"
    command = render(template, [*declared, *lists, *extras], {})
    expected = [*values, *values]
    for value in values[:5]:
        expected += [f"--{value}", value]
    assert argv_of(command) == fsencoded(expected)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("{}ab!:[]0.$ \n\\"), max_size=12), TEXTS)
def test_a_template_is_filled_in_as_str_format_does(template, value):
    import shlex

    trimmed = without_end(template)
    try:
        expected = trimmed.format(a=shlex.quote(value), b="2")
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        expected = None
    try:
        found = render(template, [text("a", value), text("b", "2")], {})
    except ProjectError:
        found = None
    assert found == expected
    if "[" not in template:  # whether a character is there depends on the value
        assert bool(check_template(template, ["a", "b"])) == (expected is None)


def test_a_nul_is_refused_in_one_line():
    with pytest.raises(ProjectError) as caught:
        render("x {a}", [text("a", "1\0")], {})
    assert caught.value.message == "the value of 'a' holds a NUL byte, which no process can be given"


def test_a_lone_surrogate_that_is_no_byte_is_refused():
    with pytest.raises(ProjectError, match="no character"):
        render("x {a}", [text("a", "\ud800")], {})


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_command_that_linux_would_not_take_is_refused_before_the_run():
    fits = "x" * (131_071 - len("true "))
    subprocess.run(shell_argv(render("true {a}", [text("a", fits)], {}), strict=False), check=True)
    with pytest.raises(ProjectError, match=r"131,072 bytes long"):
        render("true {a}", [text("a", fits + "x")], {})


def test_flags_and_lists_are_words_and_none_is_nothing():
    parameters = [
        Parameter(name="v", type="bool", raw="true", words=("--verbose",)),
        Parameter(name="q", type="bool", raw="false", words=()),
        Parameter(name="xs", type="list", raw="", words=("a b", "", "c")),
    ]
    assert argv_of(render(ECHO_TEMPLATE + " {v} {q} {xs}", parameters, {})) == [b"--verbose", b"a b", b"", b"c"]


def test_an_input_is_rendered_where_it_was_placed():
    data = Parameter(name="data", type="path", raw="/far/away", input="data")
    assert render("cat {data}", [data], {"data": "/here/my file"}) == "cat '/here/my file'"
    assert render("cat {data}", [data], {}) == "cat /far/away"


def test_extras_join_the_last_line_of_a_block():
    extra = text("k", "v", source="extra")
    assert render("python x.py\n", [extra], {}) == "python x.py --k v"
    assert argv_of(render(ECHO_TEMPLATE + " \\\n  a \\\n", [extra], {})) == [b"a", b"--k", b"v"]
    assert argv_of(render(ECHO_TEMPLATE + " \\\n  a \\\n", [], {})) == [b"a"]
    assert argv_of(render(ECHO_TEMPLATE + " a\\\\\n", [], {})) == [b"a\\"]


def test_dotted_and_numeric_names_are_read_where_declared():
    parameters = [text("my.dotted", "1"), text("1", "2"), text("a-b", "3")]
    assert render("{my.dotted} {1} {a-b} {{x}}", parameters, {}) == "1 2 3 {x}"


@pytest.mark.parametrize(
    ("template", "message", "hint"),
    [
        ("run {beta}", "{beta}, which is not a declared parameter", "declare beta"),
        ("run {alfa}", "{alfa}, which is not", "did you mean {alpha}?"),
        ("echo ${HOME}", "${HOME}, and {HOME} is not", "${{HOME}}"),
        ("awk '{print $1}'", "{print $1}", "write {{ and }}"),
        ("echo {}", "without a name", "write {{ and }}"),
        ("echo {alpha", "expected '}'", "write {{ and }}"),
        ("echo }", "single '}'", "write {{ and }}"),
        ("echo {alpha:.2f}", "cannot be laid out", "write {alpha} alone"),
        ("echo {alpha.upper}", "{alpha.upper}, which is not", ""),
        ("echo {alpha!x}", "cannot be laid out", ""),
    ],
)
def test_what_cannot_be_filled_in_is_told_with_its_cure(template, message, hint):
    (fault,) = check_template(template, ["alpha"])
    assert message in fault.message
    assert hint in fault.hint
    with pytest.raises(ProjectError) as caught:
        render(template, [text("alpha", "1")], {})
    assert (caught.value.message, caught.value.hint) == (fault.message, fault.hint)


def test_all_faults_are_found_with_their_lines():
    faults = check_template("one {x}\ntwo {alpha}\nthree {y} {z}\n", ["alpha"])
    assert [(fault.name, fault.line) for fault in faults] == [("x", 0), ("y", 2), ("z", 2)]


def test_strict_ends_at_the_first_failure_in_a_pipe_too():
    assert subprocess.run(shell_argv("false | cat; exit 0", strict=True), check=False).returncode == 1
    assert subprocess.run(shell_argv("false | cat; exit 0", strict=False), check=False).returncode == 0
