import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import fsspec
import pytest

from runner.errors import ProjectError, UsageError
from runner.project.load import load
from runner.project.parameters import Values, parse_assignments, read_params_file, resolve
from runner.worker.command import render
from runner.worker.spec import Input
from tests.project.projects import write


@pytest.fixture
def try_with(tmp_path):
    """Resolves the parameters of an entry point declared by flow mappings."""

    def try_with(parameters, given=(), file=None, **more):
        project = write(tmp_path / "project", f"entry_points: {{main: {{parameters: {{{parameters}}}, command: ls}}}}")
        caller = tmp_path / "caller"
        caller.mkdir(exist_ok=True)
        more = {"caller": caller, "project": project, "downloads": tmp_path / "downloads", **more}
        pairs = parse_assignments([given] if isinstance(given, str) else given)
        return resolve(load(project).entry_points["main"], Values(pairs, file or {}), **more)

    return try_with


def raws(resolved):
    return {parameter.name: parameter.raw for parameter in resolved.parameters}


def test_values_come_from_the_user_then_the_file_then_the_default(try_with):
    resolved = try_with(
        "a: int, b: {default: 1}, c: {default: 1}, d: {default: ''}", ["a=3", "x=y=z"], {"a": 2, "c": 4}
    )
    assert [(p.name, p.raw, p.given, p.default, p.source) for p in resolved.parameters] == [
        ("a", "3", "3", None, "given"),
        ("b", "1", None, "1", "default"),
        ("c", "4", "4", "1", "file"),
        ("d", "", None, "", "default"),
        ("x", "y=z", "y=z", None, "extra"),
    ]


def test_extras_keep_the_users_order_and_names_their_case(try_with):
    resolved = try_with("a: {default: 1}", ["z=1", "A=2", "b=3"])
    assert list(raws(resolved)) == ["a", "z", "A", "b"]


def test_all_missing_values_are_named_together(try_with):
    with pytest.raises(ProjectError) as caught:
        try_with("a: int, b: {default: null}, c: {default: 0}, d: path")
    assert caught.value.message == "the entry point 'main' needs a value for 'a', 'b', 'd'"
    with pytest.raises(ProjectError) as caught:
        try_with("alpha: float", "aplha=1")
    assert caught.value.hint == "did you mean 'alpha' where you gave 'aplha'?"


@pytest.mark.parametrize("texts", [["alpha"], ["=1"], [""]])
def test_what_is_no_assignment_is_wrong_usage(texts):
    with pytest.raises(UsageError, match="NAME=VALUE"):
        parse_assignments(texts)


def test_a_name_given_twice_is_wrong_usage_unless_it_is_a_list(try_with):
    with pytest.raises(UsageError, match="'a' is given twice"):
        try_with("a: int", ["a=1", "a=1"])
    with pytest.raises(UsageError, match="'x' is given twice"):
        try_with("a: {default: 1}", ["x=1", "x=2"])
    (xs,) = try_with("xs: list", ["xs=1", "xs=a b"]).parameters
    assert (xs.words, xs.given, xs.raw) == (("1", "a b"), ("1", "a b"), "1 'a b'")


ACCEPTED = [
    ("int", ["1", "-3", "+4", "1_000", "9" * 5000]),
    ("float", ["1", "1e-3", "inf", "nan", ".5"]),
    ("bool", ["true", "False", "1", "no", "ON"]),
    ("string", ["", "anything"]),
    ("integer", ["what MLflow takes"]),
]
REFUSED = [("int", ["", "1.0", "1e3", "a", "0x1"]), ("float", ["", "a", "1,5"]), ("bool", ["", "maybe", "2"])]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ACCEPTED for text in texts])
def test_values_that_fit_their_type_pass_as_they_are(try_with, kind, text):
    assert raws(try_with(f"a: {kind}", f"a={text}")) == {"a": text}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in REFUSED for text in texts])
def test_values_that_do_not_fit_are_refused_unless_nothing_is_validated(try_with, kind, text):
    with pytest.raises(ProjectError, match=f"a: .* is expected, not '{text}'"):
        try_with(f"a: {kind}", f"a={text}")
    assert raws(try_with(f"a: {kind}", f"a={text}", validate=False)) == {"a": text}


def test_a_value_equal_to_the_default_always_passes(try_with):
    assert raws(try_with("a: {type: int, default: None, minimum: 3}", "a=None")) == {"a": "None"}
    with pytest.raises(ProjectError):
        try_with("a: {type: int, default: None, minimum: 3}", "a=none")


def test_a_default_is_not_checked(try_with):
    assert raws(try_with("a: {type: int, default: x, enum: [1]}")) == {"a": "x"}


@pytest.mark.parametrize(
    ("declaration", "good", "bad", "message"),
    [
        ("{type: int, minimum: 1, maximum: 3}", "3", "4", "4 is more than the maximum 3"),
        ("{type: float, minimum: 0.5}", "0.5", "0.4", "0.4 is less than the minimum 0.5"),
        ("{type: float, exclusiveMaximum: 1}", "0.9", "1", "1.0 is not less than 1"),
        ("{enum: [a, 1, on]}", "1", "2", "one of a, 1, True is expected, not '2'"),
        ("{type: int, enum: [1, 2]}", "2", "3", "one of 1, 2 is expected, not 3"),
        ("{pattern: '^[a-z]+$'}", "abc", "ab1", "'ab1' does not match the pattern '^[a-z]+$'"),
        ("{type: list, items: {type: int, maximum: 3}}", "3", "4", "4 is more than the maximum 3"),
        ("{type: list, items: {type: int}}", "3", "x", "a whole number is expected, not 'x'"),
        ("{type: list, items: {enum: [1, 2]}}", "1", "3", "one of 1, 2 is expected, not '3'"),
        ("{type: float, multipleOf: 0.5}", "1.5", "inf", "inf cannot be compared"),
        ("{type: float, multipleOf: 0.5}", "1.5", "nan", "nan cannot be compared"),
        ("{maxLength: 2}", "ab", "abc", "'abc' is too long"),
        ("{type: int, maximum: 3}", "-" + "9" * 5000, "9" * 5000, "more than the maximum 3"),
    ],
)
def test_keywords_of_json_schema(try_with, declaration, good, bad, message):
    try_with(f"a: {declaration}", f"a={good}")
    with pytest.raises(ProjectError) as caught:
        try_with(f"a: {declaration}", f"a={bad}")
    assert f"a: {message}" in caught.value.message or message in caught.value.message
    try_with(f"a: {declaration}", f"a={bad}", validate=False)


def test_all_wrong_values_are_named_together(try_with):
    with pytest.raises(ProjectError) as caught:
        try_with("a: int, b: bool, c: int", ["a=x", "b=maybe", "c=1"])
    assert caught.value.message == "a: a whole number is expected, not 'x'; b: true or false is expected, not 'maybe'"


def test_a_flag_is_there_or_not(try_with):
    declaration = "v: {type: bool, flag: '--level high', default: false}"
    for given, words in [((), ()), ("v=yes", ("--level", "high")), ("v=FALSE", ())]:
        (flag,) = try_with(declaration, given).parameters
        assert flag.words == words
    with pytest.raises(ProjectError):
        try_with(declaration, "v=maybe", validate=False)
    (flag,) = try_with("v: {type: bool, flag: -v, default: on}").parameters
    assert (flag.raw, flag.words) == ("True", ("-v",))


def test_a_list_has_a_default_of_words(try_with):
    (xs,) = try_with("xs: {type: list, default: [1, b c]}").parameters
    assert (xs.words, xs.given, xs.default) == (("1", "b c"), None, "1 'b c'")
    (xs,) = try_with("xs: {type: list, default: []}").parameters
    assert (xs.words, xs.raw) == ((), "")
    (xs,) = try_with("xs: list", file={"xs": [1, 2]}).parameters
    assert (xs.words, xs.source) == (("1", "2"), "file")
    assert render("x {xs}", [xs], {}) == "x 1 2"


def test_a_path_is_absolute_against_the_caller(try_with, tmp_path):
    (tmp_path / "caller").mkdir()
    (tmp_path / "caller" / "my data").touch()
    resolved = try_with("data: path", "data=../caller/my data")
    place = str(tmp_path / "caller" / "my data")
    (data,) = resolved.parameters
    assert (data.raw, data.given, data.input) == (place, "../caller/my data", "data")
    assert resolved.inputs == (Input("data", place, "data"),)
    assert resolved.places == {"data": place}
    for spelling in (f"file://{place}", f"file:{place}", "my%20data", f"file://{place.replace(' ', '%20')}"):
        assert raws(try_with("data: path", f"data={spelling}")) == {"data": place}


def test_a_path_inside_the_project_is_relative_to_it(try_with, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "x#y?.csv").touch()
    resolved = try_with("data: path", "data=../project/x#y?.csv")
    assert resolved.inputs == (Input("data", "x#y?.csv", "data"),)
    (tmp_path / "link").symlink_to(tmp_path / "project")
    assert try_with("data: path", "data=../link/x#y?.csv").inputs == resolved.inputs


def test_any_file_name_is_a_path(try_with, tmp_path):
    (tmp_path / "caller").mkdir()
    for name in (b"\xff\xfe", b"a:b", b"new\nline", b"100%", b"[x", b"s3:"):
        (tmp_path / "caller" / os.fsdecode(name)).touch()
        found = raws(try_with("data: path", f"data={os.fsdecode(name)}"))["data"]
        assert os.fsencode(found) == os.fsencode(tmp_path / "caller") + b"/" + name


def test_a_default_path_is_looked_for_in_the_project_too(try_with, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "d.csv").touch()
    assert raws(try_with("data: {type: path, default: d.csv}"))["data"] == str(tmp_path / "project" / "d.csv")
    with pytest.raises(ProjectError, match=r"there is no file or directory 'd\.csv'"):
        try_with("data: {type: path, default: d.csv}", "data=d.csv")
    (tmp_path / "caller" / "d.csv").touch()
    assert raws(try_with("data: {type: path, default: d.csv}"))["data"] == str(tmp_path / "caller" / "d.csv")


@pytest.mark.parametrize("text", ["", "gone", "x" * 5000, "file:///gone", "a\0b", "[::1", "file://other.host/x"])
def test_a_path_that_is_not_there_is_refused(try_with, text):
    with pytest.raises(ProjectError) as caught:
        try_with("data: path", f"data={text}")
    assert caught.value.message.startswith("data: ")
    assert "\n" not in caught.value.message


def test_a_uri_needs_a_scheme_and_passes_as_it_is(try_with):
    assert raws(try_with("u: uri", "u=s3://b/a b?c#d")) == {"u": "s3://b/a b?c#d"}
    for text in ("b/a", "/abs", "", "[::1"):
        with pytest.raises(ProjectError, match="u: a URI with a scheme is expected"):
            try_with("u: uri", f"u={text}")


@pytest.fixture
def memory():
    """A remote file system of the test's own."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_a_remote_path_is_downloaded_and_lies_where_its_bytes_say(try_with, tmp_path, memory):
    memory.pipe("/b/d.csv", b"1,2\n")
    resolved = try_with("data: path", "data=memory://b/d.csv")
    (data,) = resolved.parameters
    assert Path(data.raw).read_bytes() == b"1,2\n"
    assert Path(data.raw).is_relative_to(tmp_path / "downloads")
    assert data.given == "memory://b/d.csv"
    assert raws(try_with("data: path", "data=memory://b/d.csv"))["data"] == data.raw
    memory.pipe("/b/d.csv", b"3\n")
    other = raws(try_with("data: path", "data=memory://b/d.csv"))["data"]
    assert other != data.raw
    assert (Path(data.raw).read_bytes(), Path(other).read_bytes()) == (b"1,2\n", b"3\n")
    assert len(list((tmp_path / "downloads").iterdir())) == 2


def test_a_remote_directory_is_downloaded_whole(try_with, memory):
    memory.pipe("/b/dir/x.csv", b"1")
    memory.pipe("/b/dir/sub/y.csv", b"2")
    place = Path(raws(try_with("data: path", "data=memory://b/dir"))["data"])
    assert {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*.csv")} == {
        "x.csv": b"1",
        "sub/y.csv": b"2",
    }


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("memory://b/gone", "memory://b/gone does not exist", "check the address"),
        ("s3://bucket/x", "reading s3: needs a package", "pip install 'mlproject-runner[s3]'"),
        ("gs://bucket/x", "reading gs: needs a package", "pip install 'mlproject-runner[gcs]'"),
        ("abfs://u:secret@c/x", "reading abfs: needs", "pip install 'mlproject-runner[azure]'"),
        ("nope://u:secret@h/x", "'nope' is no scheme that can be fetched", "check the path"),
        ("runs:/1/x", "an address within MLflow", "mlflow artifacts download"),
    ],
)
def test_a_remote_path_that_cannot_be_had_is_one_line_without_secrets(try_with, tmp_path, url, message, hint):
    module = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}.get(url.partition(":")[0])
    if module and find_spec(module):
        pytest.skip(f"{module} is installed here")
    with pytest.raises(ProjectError) as caught:
        try_with("data: path", f"data={url}")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint
    assert list((tmp_path / "downloads").glob("*")) == []


def test_declared_inputs_stand_beside_those_of_parameters(tmp_path):
    write(
        tmp_path, "inputs: [raw, 'x/*.csv', d]\nentry_points: {main: {parameters: {raw: path, d: path}, command: ls}}"
    )
    for name in ("raw", "other", "d"):
        (tmp_path / name).touch()
    values = Values((("raw", "other"), ("d", "d")))
    entry = load(tmp_path).entry_points["main"]
    resolved = resolve(entry, values, caller=tmp_path, project=tmp_path, downloads=tmp_path / "downloads")
    assert resolved.inputs == (
        Input("raw", "other", "raw"),
        Input("d", "d", "d"),
        Input("./raw", "raw"),
        Input("x/*.csv", "x/*.csv"),
    )


def test_a_params_file_may_be_yaml(tmp_path):
    write(tmp_path, "alpha: 0.00001\non: true\nxs: [1, b]\nnone:\n010: text", "p.yaml")
    values = read_params_file(tmp_path / "p.yaml")
    assert values == {"alpha": 0.00001, "on": True, "xs": [1, "b"], "010": "text"}


def test_what_yaml_makes_another_value_of_is_warned_of(tmp_path):
    kept = "a: '010'\nb: 0.10\nc: 1_000\nd: true\ne: 2026-01-02\nf: 1e3\ng: null\nh: text\ni: 010x\n"
    odd = "j: 010\nk: yes\nl: 12:30\nm: 2026-01-02T10:00:00Z\nn: [1, 0x1F, No]\n"
    write(tmp_path, kept + odd, "p.yaml")
    said: list[str] = []
    read_params_file(tmp_path / "p.yaml", said.append)
    assert [text.rpartition("/p.yaml:")[2] for text in said] == [
        "10: j: YAML reads 010 as 8; quote it: '010'",
        "11: k: YAML reads yes as True; quote it: 'yes'",
        "12: l: YAML reads 12:30 as 750; quote it: '12:30'",
        "13: m: YAML reads 2026-01-02T10:00:00Z as 2026-01-02 10:00:00+00:00; quote it: '2026-01-02T10:00:00Z'",
        "14: n: YAML reads 0x1F as 31; quote it: '0x1F'",
        "14: n: YAML reads No as False; quote it: 'No'",
    ]


def test_a_params_file_may_be_a_pipe():
    reading, writing = os.pipe()
    os.write(writing, b"{alpha: 0.5}")
    os.close(writing)
    assert read_params_file(Path(f"/dev/fd/{reading}")) == {"alpha": 0.5}
    os.close(reading)


def test_a_params_file_may_be_json_and_its_numbers_stay_as_written(tmp_path):
    write(tmp_path, '{"alpha": 1e-5, "n": 010.5, "xs": [1.50, null]}'.replace("010.5", "10.50"), "p.json")
    assert read_params_file(tmp_path / "p.json") == {"alpha": "1e-5", "n": "10.50", "xs": ["1.50", None]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.yaml", "[1]", "p.yaml:1: a mapping from names to values is expected, not a list"),
        ("p.yaml", "a: 1\nmain: {alpha: 1}", "p.yaml:2: main: a value or a list is expected, not a mapping"),
        ("p.yaml", "a: 1\na: 2", "p.yaml:2: the key 'a' comes twice"),
        ("p.yaml", "", "p.yaml: it is empty"),
        ("p.json", "{", "p.json:1: it is not valid JSON"),
        ("p.json", "[1]", "p.json: a JSON object"),
        ("p.json", '{"a": 1, "a": 2}', "p.json: the name 'a' comes twice"),
        ("p.json", '{"a": {"b": 1}}', "p.json: a: a value or a list is expected"),
        ("p.json", "[" * 100_000, "p.json: it is nested too deeply"),
    ],
)
def test_a_params_file_that_is_wrong_is_told_with_its_place(tmp_path, name, text, message):
    write(tmp_path, text, name)
    with pytest.raises(ProjectError) as caught:
        read_params_file(tmp_path / name)
    assert message in caught.value.message


def test_jsonschema_is_imported_only_for_keywords(tmp_path):
    write(tmp_path, "entry_points: {main: {parameters: {a: int, b: {minimum: 1, default: 2}}, command: ls}}")
    code = (
        "import sys; from pathlib import Path; from runner.project.load import load\n"
        "from runner.project.parameters import resolve, Values\n"
        "p = Path(sys.argv[1]); entry = load(p).entry_points['main']\n"
        "resolve(entry, Values((('a', '1'),)), caller=p, project=p, downloads=p)\n"
        "print(*sorted({'jsonschema', 'fsspec', 'difflib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=True, text=True)
    assert done.stdout == "\n"
