"""config.toml is read strictly, and its schema says what the dataclasses say."""

import dataclasses

import pytest
from jsonschema import Draft202012Validator

from runner.errors import FormatError
from runner.records import schemas
from runner.store import settings
from runner.store.settings import Identity, Settings, Sign, Verify

KINDS = [(None, Settings), ("Identity", Identity), ("Sign", Sign), ("Verify", Verify)]


def write(text: str) -> None:
    settings.path().parent.mkdir(parents=True, exist_ok=True)
    settings.path().write_text(text)


def test_no_file_is_the_defaults(home):
    assert settings.read() == Settings()
    assert settings.path() == home / ".config/mlrun/config.toml"


def test_what_is_written_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("MLRUN_CONFIG", str(tmp_path / "here"))
    write('[identity]\nlicense = "MIT"\norcid = "0000-0002-1825-0097"\n[sign]\nalways = true\n')
    assert settings.read() == Settings(Identity("MIT", orcid="0000-0002-1825-0097"), Sign(always=True))


WRONG = {
    "[sign]\nallways = true\n": "unknown key 'allways'",
    "[sign]\nalways = 1\n": "sign.always should be bool, not int",
    "[identity]\norcid = '1'\n": "'1' is no ORCID iD",
    "[sign\n": "config.toml: ",
    "version = 2\n": "is of version 2; this mlrun reads 1",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_one_line_that_names_the_file(text):
    write(text)
    with pytest.raises(FormatError) as error:
        settings.read()
    assert WRONG[text] in error.value.message
    assert str(settings.path()) in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize(("part", "kind"), KINDS)
def test_every_setting_is_described_and_no_other(part, kind):
    schema = schemas.load("config")
    Draft202012Validator.check_schema(schema)
    here = schema if part is None else schema["$defs"][part]
    assert list(here["properties"]) == [field.name for field in dataclasses.fields(kind)]
    assert (here["required"], here["additionalProperties"]) == ([], False)
