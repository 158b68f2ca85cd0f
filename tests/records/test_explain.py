"""What could explain another result is named, the most telling first."""

from dataclasses import replace

import pytest

from runner.records.explain import explain
from runner.records.results import Input
from runner.records.setting import Package
from runner.worker.facts import Gap, Gpu
from runner.worker.manifest import EXECUTABLE, FILE, Entry, encode_manifest
from runner.worker.objects import Objects
from runner.worker.spec import Parameter
from tests.records.samples import LOCK, a_digest, a_record


def named(differences):
    return [(each.what, each.name, each.before, each.after) for each in differences]


def test_the_same_runs_differ_in_nothing():
    assert explain(a_record(), a_record()) == ()


FIRST = a_record()
CASES = [
    ({"code__snapshot": a_digest("other"), "code__dirty": True}, ("code", "snapshot")),
    ({"code__subdirectory": "sub"}, ("code", "subdirectory")),
    ({"entry_point__name": "other"}, ("code", "entry point")),
    ({"entry_point__template": "python other.py"}, ("code", "command")),
    ({"parameters": (Parameter("alpha", "float", "0.5"),)}, ("parameter", "alpha")),
    ({"inputs": (Input("data.csv", 1, a_digest("d"), "observed"),)}, ("input", "data.csv")),
    ({"environment__packages": (Package("numpy", "2.1", (LOCK,)),)}, ("package", "numpy")),
    ({"environment__packages": (Package("numpy", "2.0", (a_digest("wheel"),)),)}, ("package", "numpy")),
    ({"environment__packages": ()}, ("package", "numpy")),
    ({"environment__installed": a_digest("edited")}, ("environment", "installed files")),
    ({"environment__kind": "host"}, ("environment", "kind")),
    ({"environment__interpreter": replace(FIRST.environment.interpreter, version="3.12")}, ("interpreter", "version")),
    ({"environment__interpreter": replace(FIRST.environment.interpreter, digest=LOCK)}, ("interpreter", "executable")),
    ({"execution__environ": {}}, ("variable", "OMP_NUM_THREADS")),
    ({"platform__cpu": "EPYC"}, ("machine", "cpu")),
    ({"platform__cpu_features": ()}, ("machine", "cpu features")),
    ({"platform__gpus": (Gpu("A100", "551"),)}, ("machine", "gpus")),
    ({"execution__host": "lab2"}, ("machine", "host")),
    ({"execution__mode": "fresh"}, ("execution", "directory")),
    ({"result__ambiguous": ("train.py",)}, ("execution", "second run")),
]


@pytest.mark.parametrize(("changes", "expected"), CASES)
def test_each_difference_is_named_alone(changes, expected):
    (found,) = explain(FIRST, a_record(**changes))
    assert (found.what, found.name) == expected
    (back,) = explain(a_record(**changes), FIRST)
    if found.what != "execution":
        assert (back.before, back.after) == (found.after, found.before)


def test_the_most_telling_comes_first():
    changes = {key: value for case, _ in CASES for key, value in case.items()}
    kinds = [each.what for each in explain(FIRST, a_record(**{**changes, "environment__packages": ()}))]
    order = ["code", "parameter", "input", "environment", "package", "interpreter", "variable", "machine", "execution"]
    assert list(dict.fromkeys(kinds)) == order


def test_code_is_shown_by_its_commit_and_whether_it_was_changed():
    other = a_record(code__snapshot=a_digest("other"), code__dirty=True)
    assert explain(FIRST, other)[0].after == f"commit {'c' * 12} and uncommitted changes"
    bare = a_record(gaps=(Gap("code.commit", "none"),), code__snapshot=a_digest("other"), code__commit=None)
    assert explain(FIRST, bare)[0].after == f"snapshot {a_digest('other').sha256[:12]}"


def test_with_the_objects_the_source_files_are_named(tmp_path):
    objects = Objects(tmp_path)
    sha = [a_digest(text).sha256 for text in "abc"]

    def record(*entries):
        manifest = encode_manifest(Entry(path, mode, sha256) for path, mode, sha256 in entries)
        objects.add(manifest)
        return a_record(code__snapshot=a_digest(manifest))

    first = record((b"a.py", FILE, sha[0]), (b"run", FILE, sha[1]), (b"gone", FILE, sha[2]), (b"same", FILE, sha[2]))
    second = record(
        (b"a.py", FILE, sha[1]), (b"run", EXECUTABLE, sha[1]), (b"n\xff", FILE, sha[2]), (b"same", FILE, sha[2])
    )
    found = explain(first, second, objects)[1:]
    assert named(found) == [
        ("code", "a.py", sha[0][:12], sha[1][:12]),
        ("code", "gone", sha[2][:12], None),
        ("code", "n\udcff", None, sha[2][:12]),
        ("code", "run", sha[1][:12], sha[1][:12]),
    ]
    assert found[3].note == "the mode changed"
    many = record(*((b"%d" % number, FILE, sha[0]) for number in range(30)))
    assert explain(first, many, objects)[-1].name == "14 more files"
    lost = a_record(code__snapshot=a_digest("not stored"))
    assert len(explain(first, lost, objects)) == 1


def test_a_path_that_moved_is_said_to_be_a_place():
    first, second = (
        a_record(parameters=(Parameter("data", "path", place, input="data"),)) for place in ("/a/x.csv", "/b/x.csv")
    )
    (found,) = explain(first, second)
    assert found.note == "the place; the input itself is compared by its digest"


def test_an_input_of_a_parameter_is_the_same_wherever_it_lies():
    first, second = (
        a_record(inputs=(Input(place, 1, a_digest("d"), "declared", parameter="data"),)) for place in ("file:///a", "b")
    )
    assert explain(first, second) == ()
