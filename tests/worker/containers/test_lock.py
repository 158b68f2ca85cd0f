"""An image's lock, and its schema."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.errors import EnvironmentBuildError, FormatError
from runner.records import schemas
from runner.worker.containers.lock import ImageLock, of_project, read

LOCK = ImageLock("py:1", "a" * 64, ("py@sha256:" + "b" * 64,), "linux/amd64")
VALIDATOR = Draft202012Validator(schemas.load("image-lock"))


def test_a_lock_fits_its_schema_and_comes_back():
    for data in (LOCK.text(), LOCK.object()):
        assert VALIDATOR.is_valid(json.loads(data))
        assert read(data, "x") == LOCK


@pytest.mark.parametrize(
    "change",
    [
        {"id": "A" * 64},
        {"id": "a" * 63},
        {"id": None},
        {"image": ""},
        {"digests": ["py:1"]},
        {"digests": ["--option=x@sha256:" + "b" * 64]},
        {"digests": "py"},
        {"version": 2},
        {"more": 1},
        {"platform": 1},
    ],
)
def test_what_the_schema_refuses_is_refused(change: dict[str, Any]):
    data = {**json.loads(LOCK.text()), **change}
    assert not VALIDATOR.is_valid(data)
    with pytest.raises(FormatError):
        read(json.dumps(data).encode(), "image.mlrun.json")


def test_a_projects_lock_is_for_its_image(tmp_path):
    assert of_project(tmp_path, "py:1") is None
    (tmp_path / "image.mlrun.json").write_bytes(LOCK.text())
    assert of_project(tmp_path, "py:1") == LOCK
    with pytest.raises(EnvironmentBuildError, match="is for the image py:1, and the project asks for py:2"):
        of_project(tmp_path, "py:2")
