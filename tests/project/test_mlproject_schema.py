"""The hand-written reader and schemas/mlproject.schema.json say the same of every file."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner.project.check import RESOURCES, TOP_KEYS
from runner.project.declarations import KEYS, KEYWORDS
from runner.project.document import MAPPING, SEQUENCE, parse
from runner.project.entries import ENTRY_KEYS
from runner.project.load import read_project
from runner.project.quantities import MEMORY, TIME, parse_memory, parse_time
from runner.project.reading import Reader
from tests.project import test_load

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "mlproject.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)

# What a schema cannot see: the words of a command, other files, and two keys that contradict each other.
UNSEEN = ("the command ", "there is no file", "is declared under `environ`", "cannot be split into words")


def as_json(node):
    if node.kind == MAPPING:
        return {name: as_json(item) for name, item in node.items.items()}
    if node.kind == SEQUENCE:
        return [as_json(element) for element in node.elements]
    if isinstance(node.value, float) and not math.isfinite(node.value):
        return "infinity or no number: JSON has neither"
    return node.value if isinstance(node.value, (str, int, float, bool, type(None))) else str(node.value)


def verdicts(text):
    """The errors of the reader that a schema can see, and those of the schema."""
    root = parse(text.encode(), Path("MLproject"))
    reader = Reader("MLproject")
    read_project(reader, root, Path(__file__).parent, "x")
    errors = [f.text for f in reader.findings if not any(unseen in f.message for unseen in UNSEEN)]
    return errors, [error.message for error in VALIDATOR.iter_errors(as_json(root))]


VALID = """
name: x
---
name: 5
entry_points: {main: {command: ls, description: 1}}
---
name: 2020-01-02
python_env: ''
conda_env: c.yaml
---
docker_env: {image: x, volumes: [], environment: [A, [B, 1]]}
entry_points: {main: {command: ls, docker_env: {}, conda_env: x}}
---
unknown: [1]
entry_points: {main: {command: ls, unknown: {a: b}, parameters: {a: {unknown: 1}, b: '', c: {type: , default: [1]}}}}
---
entry_points: {main: {command: ls, parameters: {v: {type: bool, flag: -v, default: on}, w: {type: bool, flag: -w}}}}
---
entry_points: {main: {command: ls, parameters: {v: {type: list, default: 1, items: {type: int, minimum: 0}}}}}
---
resources: {cpus: 2.0, memory: 16 GB, time: 12:30, gpus: 0, disk: 1}
inputs: a
outputs: [b, 'c/*', ..d, e..]
secrets: A_1
environ: {A: 1, B: true, C: '', D: 2020-01-02}
shell: plain
---
resources:
inputs:
shell:
entry_points: {main: {command: ls, parameters: {a: {enum: , minimum: , pattern: , flag: , items: }}}}
""".strip().split("\n---\n")


@pytest.mark.parametrize("text", VALID)
def test_both_take_what_is_valid(text):
    assert verdicts(text) == ([], [])


@pytest.mark.parametrize(("text", "message"), test_load.WRONG, ids=[message[:60] for _, message in test_load.WRONG])
def test_both_refuse_what_is_wrong(text, message):
    reader, schema = verdicts(text)
    assert bool(reader) == bool(schema)


ODD = st.sampled_from(
    [None, True, False, 0, 1, -1, 2.0, 1.5, "", " ", "x", "a b", "A", "/a", "../b", "a/..", "strict", "plain", "1GB",
     "0", "2h", "1:30", "true", "[", "-v", [], {}, [None], ["x"], ["a b"], [1], [[]], [["A", 1]], [["A"]], {"A": 1},
     {"A": None}, {"a-b": "x"}, {"": "x"}, {"image": "x"}, {"image": None}, {"image": ""}, {"minimum": 1}, {"enum": []}]
)  # fmt: skip


def mapping_of(known, values):
    return st.dictionaries(st.sampled_from([*known, "unknown"]), values, max_size=4)


DECLARATION = st.fixed_dictionaries(
    {},
    optional={"type": st.sampled_from(["bool", "list", "int", None, 5]), **dict.fromkeys((*KEYS[1:], *KEYWORDS), ODD)},
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "command": st.one_of(st.just("ls"), ODD),
        "parameters": st.one_of(
            ODD, st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(ODD, DECLARATION), max_size=2)
        ),
        **{key: ODD for key in ENTRY_KEYS if key not in ("command", "parameters", "resources")},
        "resources": st.one_of(ODD, mapping_of(RESOURCES, ODD)),
    },
)
DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        **{key: ODD for key in TOP_KEYS if key not in ("entry_points", "resources")},
        "resources": st.one_of(ODD, mapping_of(RESOURCES, ODD)),
        "entry_points": st.one_of(
            ODD, st.dictionaries(st.sampled_from(["main", "b"]), st.one_of(ODD, ENTRY), max_size=2)
        ),
    },
)


def thinned(document):
    """Documents with one oddity tell more than those with ten: each of a document's parts by itself."""
    yield document
    for key, value in document.items():
        yield {key: value}
        if key == "entry_points" and isinstance(value, dict):
            for name, entry in value.items():
                for part, odd in entry.items() if isinstance(entry, dict) else ():
                    yield {key: {name: {"command": "ls", part: odd}}}
                    if part == "parameters" and isinstance(odd, dict):
                        for parameter in odd.values():
                            yield {key: {name: {"command": "ls", part: {"p": parameter}}}}


@settings(max_examples=150, deadline=None)
@given(DOCUMENT)
def test_both_agree_on_any_document(document):
    for part in thinned(document):
        text = json.dumps(part)
        reader, schema = verdicts(text)
        assert bool(reader) == bool(schema), (text, reader, schema)


def patterns(part):
    if isinstance(part, dict):
        yield from [part["pattern"]] if isinstance(part.get("pattern"), str) else []
        part = list(part.values())
    for item in part if isinstance(part, list) else ():
        yield from patterns(item)


def test_amounts_have_the_same_patterns():
    assert {MEMORY, TIME} <= set(patterns(SCHEMA))


def test_known_keys_are_those_of_the_schema():
    defs = SCHEMA["$defs"]
    assert set(TOP_KEYS) == set(SCHEMA["properties"])
    assert set(ENTRY_KEYS) == set(defs["entry_point"]["properties"])
    assert set(KEYS) == set(defs["declaration"]["properties"])
    assert set(RESOURCES) == set(defs["resources"]["properties"])
    assert set(KEYWORDS) - {"const", "items"} == set(defs["keywords_of_one"]["properties"])


@pytest.mark.parametrize(
    ("text", "amount"),
    [("512", 512), ("1.5GB", 1_500_000_000), ("2 GiB", 2 << 30), ("2g", 2 << 30), ("1kB", 1000), ("16B", 16),
     ("x", None), ("1.2.3G", None), ("-1G", None), ("", None)],
)  # fmt: skip
def test_memory(text, amount):
    assert parse_memory(text) == amount


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1h 30m", 5400), ("1.5h", 5400), ("2d", 172_800), ("1:30:00", 5400), ("08:30", 510),
     ("1-12:00:00", 129_600), ("0s", None),
     ("later", None), ("1h x", None), ("", None)],
)  # fmt: skip
def test_time(text, seconds):
    assert parse_time(text) == seconds
