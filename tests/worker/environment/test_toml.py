"""The TOML reader for old interpreters says what tomllib says."""

import sys

import pytest

from runner.errors import FormatError
from runner.worker.environment.locks import toml

_DOCUMENTS = [
    b"",
    b"# only a comment",
    b'a = 1\nb = "x # y"\nc = [1, 2,\n 3, # three\n]\n',
    b"[t]\nx = true\ny = false\n[t.u]\nz = -1.5e3\n[[t.list]]\nn = 1\n[[t.list]]\nn = 2\n[t.list.sub]\nm = 0x1F\n",
    b'a.b.c = "deep"\n"quoted key".x = \'literal \\n\'\n',
    b"i = { a = 1, b = { c = [ { d = 2 }, { d = 3 } ] } }\n",
    b'm = """\none\n  two \\\n   three "quoted" """\n',
    b"m = '''\nraw \\ text\n'''\n",
    b'e = "tab\\t quote\\" slash\\\\ uni\\u00e9 \\U0001F600"\n',
    b"n = 1_000\nf = 1e6\ng = +0.5\no = 0o17\nb = 0b101\nempty = []\nnone = {}\n",
    b'crlf = 1\r\nnext = "x"\r\n',
    b"".join(
        (
            b'[[packages]]\nname = "a"\nwheels = [{ url = "u", hashes = { sha256 = "0" } }, { url = "v" }]\n',
            b'[packages.vcs]\ntype = "git"\n[[packages]]\nname = "b"\n',
        )
    ),
]
_BROKEN = [
    b"a",
    b"a = ",
    b"a = 1 b = 2",
    b"[t",
    b'a = "x',
    b"a = [1, 2",
    b"a = {b = 1",
    b"a = 1\na = 2",
    b"\xff",
    b"a = what",
]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with 3.11")
@pytest.mark.parametrize("document", _DOCUMENTS)
def test_it_reads_what_tomllib_reads(document: bytes) -> None:
    import tomllib

    text = document.decode()
    assert toml._Reader(text).document() == tomllib.loads(text)


@pytest.mark.parametrize("document", _BROKEN)
@pytest.mark.parametrize("is_old", [False, True])
def test_what_is_no_toml_is_one_error(document: bytes, is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_old:
        monkeypatch.setattr(toml, "_reads_itself", lambda: False)
    with pytest.raises(FormatError, match="no valid TOML"):
        toml.loads(document)


def test_dates_are_text() -> None:
    read = toml._Reader("d = 2026-09-17T14:11:04Z\nl = 2026-09-17 14:11:04, \n".replace(", ", "")).document()
    assert read == {"d": "2026-09-17T14:11:04Z", "l": "2026-09-17 14:11:04"}
