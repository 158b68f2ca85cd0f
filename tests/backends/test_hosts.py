import dataclasses

import pytest
from jsonschema import Draft202012Validator

from runner.backends import hosts, registry
from runner.backends.choice import Choice, choose, host_of, named
from runner.backends.host import Host
from runner.errors import FormatError, UsageError
from runner.records import schemas
from runner.worker.environment.locks.toml import loads

SCHEMA = Draft202012Validator(schemas.load("hosts"))
OPTIONS = ("exclusive", "gres=gpu:a100:1")
LAB = Host("lab", "ada@lab.example.org", port=2222, home="/scratch/ada", setup='module load "cuda"\nulimit -n 4096')


def test_hosts_are_written_and_read():
    hosts.add(LAB)
    hosts.add(Host("big.one", "login", launcher="slurm", partition="gpu", fetch=False, options=OPTIONS))
    assert hosts.read() == {
        "lab": LAB,
        "big.one": Host("big.one", "login", launcher="slurm", partition="gpu", fetch=False, options=OPTIONS),
    }
    assert SCHEMA.is_valid(loads(hosts.path().read_bytes()))
    hosts.remove("lab")
    assert list(hosts.read()) == ["big.one"]


def test_what_the_user_wrote_stays():
    hosts.add(LAB)
    text = hosts.path().read_text() + "# by hand\n[hosts.mine]\naddress = 'a@b' # quick\n"
    hosts.path().write_text(text)
    hosts.add(Host("lab", "other"), instead=True)
    after = hosts.path().read_text()
    assert "[hosts.mine]\naddress = 'a@b' # quick\n" in after
    assert hosts.read()["lab"].address == "other"
    assert hosts.read()["mine"].address == "a@b"


@pytest.mark.parametrize(
    ("before", "table", "after"),
    [
        ("", 'address = "x"\nsetup = """\n[ -f x ] && module load cuda\n"""\n', "[hosts.b]\naddress = 'y'\n"),
        ('[hosts.b]\naddress = "y"\nsetup = """\n[hosts.lab]\n"""\n', 'address = "x"\n', ""),
        ("", 'address = "x"\n', "# the big one\n[hosts.b]\naddress = 'y'\n"),
    ],
)
def test_a_table_is_struck_out_whole_and_nothing_else(before, table, after):
    hosts.path().parent.mkdir(parents=True)
    hosts.path().write_text(f"version = 1\n{before}[hosts.lab]\n{table}\n{after}")
    hosts.remove("lab")
    assert list(hosts.read()) == ["b"]
    assert hosts.path().read_text() == f"version = 1\n{before}{after}"


@pytest.mark.parametrize("text", ["hosts = {lab = {address = 'x'}}\n", "[hosts]\nlab.address = 'x'\n"])
def test_what_is_written_otherwise_is_not_said_to_be_struck_out(text):
    hosts.path().parent.mkdir(parents=True)
    hosts.path().write_text(f"version = 1\n{text}")
    for change in (lambda: hosts.remove("lab"), lambda: hosts.add(LAB, instead=True)):
        with pytest.raises(FormatError, match="'lab' does not stand in a table of its own"):
            change()
    assert hosts.read()["lab"].address == "x"
    assert hosts.path().read_text() == f"version = 1\n{text}"


def test_a_table_is_not_added_where_toml_forbids_it():
    hosts.path().parent.mkdir(parents=True)
    hosts.path().write_text("version = 1\nhosts = {mine = {address = 'x'}}\n")
    with pytest.raises(FormatError, match="in one piece"):
        hosts.add(LAB)
    assert list(hosts.read()) == ["mine"]


def test_a_name_is_taken_once():
    hosts.add(LAB)
    with pytest.raises(UsageError, match="already"):
        hosts.add(LAB)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("version = 2", "version 2"),
        ("hosts = 3\nversion = 1", "hosts"),
        ("version = 1\n[hosts.lab]\nadress = 'x'", "adress"),
        ("version = 1\n[hosts.lab]\nport = 'x'", "port"),
        ("version = 1\n[hosts.lab]\nname = 'other'", "name"),
        ("version = 1\n[hosts.lab]\naddress = '-oProxyCommand=evil'", "no address"),
        ("version = ", "hosts.toml"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(text, word):
    hosts.path().parent.mkdir(parents=True)
    hosts.path().write_text(text)
    with pytest.raises(FormatError, match=word) as caught:
        hosts.read()
    assert caught.value.hint


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "-oProxyCommand=evil"},
        {"address": "ada@-oProxyCommand=evil"},
        {"address": "a b"},
        {"address": "ada@"},
        {"address": "ada@box:2222"},
        {"address": "[::1]:2222"},
        {"address": "x", "port": 0},
        {"address": "x", "home": "relative"},
        {"address": "x", "launcher": "pbs"},
        {"address": "x", "partition": "gpu"},
        {"address": "x", "launcher": "slurm", "options": ("--exclusive",)},
        {"address": "x", "launcher": "slurm", "options": ("array=1-10",)},
        {"address": "x", "launcher": "slurm", "options": ("comment=a\nb",)},
        {"address": "x", "container_engine": "lxc"},
        {"name": "-x", "address": "x"},
        {"name": "local", "address": "x"},
    ],
)
def test_what_no_host_can_be_is_refused(fields):
    with pytest.raises(UsageError):
        Host(**{"name": "lab", **fields})


def test_the_schema_knows_the_fields():
    known = set(schemas.load("hosts")["$defs"]["host"]["properties"])
    assert known == {field.name for field in dataclasses.fields(Host)} - {"name"}
    defaults = schemas.load("hosts")["$defs"]["host"]["properties"]
    for field in dataclasses.fields(Host):
        if field.name not in ("name", "port", "home", "cache"):
            assert defaults[field.name]["default"] == (
                list(field.default) if field.name == "options" else field.default
            )


def test_words_choose_a_backend():
    hosts.add(LAB)
    hosts.add(Host("cluster", "local", launcher="slurm"))
    hosts.add(Host("here", "local", setup="true"))
    assert choose(None, None) == Choice("local", {})
    assert choose("local", None) == Choice("local", {})
    assert choose("lab", None) == Choice("ssh", {"host": "lab"})
    assert choose("ada@box", None) == Choice("ssh", {"host": "ada@box"})
    assert choose("cluster", None) == Choice("slurm", {"host": "cluster"})
    assert choose("here", None) == Choice("local", {"host": "here"})
    assert choose(None, "ssh", {"address": "a@b"}) == Choice("ssh", {"address": "a@b"})
    for words in (("nowhere", None), ("lab", "ssh")):
        with pytest.raises(UsageError):
            choose(*words)


def test_a_configuration_describes_a_host():
    hosts.add(LAB)
    assert host_of({}, "ssh") is None
    assert host_of({"host": "lab", "port": 7}, "ssh") == dataclasses.replace(LAB, port=7)
    assert host_of({"address": "ada@box.example.org"}, "ssh") == Host("box.example.org", "ada@box.example.org")
    assert named("ada@[::1]").destination == named("ada@::1").destination == "ada@::1"
    assert named("ada@[fe80::1%eth0]:2222") == Host("ipv6-fe80--1-eth0", "ada@[fe80::1%eth0]", port=2222)
    assert named("ada@box:2222") == Host("box", "ada@box", port=2222)
    assert named("ssh://ada@box:2222").destination == "ssh://ada@box:2222"
    for config in ({"host": 3}, {"host": "nowhere"}, {"adress": "x"}, {"port": "x"}):
        with pytest.raises(UsageError):
            host_of(config, "ssh")


@pytest.mark.parametrize(
    ("backend", "config", "word"),
    [
        ("local", {"host": "lab"}, "ada@lab.example.org"),
        ("slurm", {"host": "lab"}, "ada@lab.example.org"),
        ("slurm", {"options": 5}, "options should be list"),
        ("slurm", {"options": "exclusive"}, "options should be list"),
        ("slurm", {"options": [5]}, "options"),
        ("ssh", {"address": "lab", "options": "exclusive"}, "options should be list"),
        ("ssh", {"address": 5}, "address should be str"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(backend, config, word):
    hosts.add(LAB)
    with pytest.raises(UsageError, match=word):
        registry.get(backend, config)


def test_what_was_last_seen_of_a_run_has_a_schema():
    from runner.flow.away import Seen
    from runner.worker.codec import encode

    schema = Draft202012Validator(schemas.load("seen"))
    assert schema.is_valid(encode(Seen("running", "2026-11-24T08:00:00.000+00:00")))
    assert not schema.is_valid({"state": "running"})
    assert set(schemas.load("seen")["properties"]) == {field.name for field in dataclasses.fields(Seen)}
