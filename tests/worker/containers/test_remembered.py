"""What podman said of an image is taken for as long as its store is as it was, and not for a moment longer."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.containers import remembered
from runner.worker.containers.engines import Engine, find
from runner.worker.containers.image import Image
from runner.worker.containers.images import EngineImages
from tests.end_to_end.conftest import until
from tests.needs import need
from tests.podman import Podman, configure, make_image

NAME = "localhost/seen:1"


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Podman:
    """A podman whose images no other test changes."""
    need("container", shutil.which("podman") and Path("/bin/busybox").exists(), "podman and busybox are not here")
    podman = Podman(tmp_path / "podman")
    podman.root.mkdir()
    configure(podman.root)
    for name, value in podman.environ.items():
        monkeypatch.setenv(name, value)
    return podman


class Looking:
    """Looks an image up, and counts how often podman is asked."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine, self.cache, self.asked = engine, root / "cache", 0

    def __call__(self, name: str = NAME) -> Image | None:
        return remembered.look_up(self.engine, self.cache, name, partial(self._ask, name))

    def _ask(self, name: str, *options: str) -> remembered.Answer:
        self.asked += 1
        return EngineImages(self.engine, self.cache)._ask(name, *options)

    def is_remembered(self) -> bool:
        before = self.asked
        self()
        return self.asked == before


@pytest.fixture
def look(podman: Podman, tmp_path: Path) -> Looking:
    make_image(podman, NAME, "one")
    return Looking(find("podman", os.environ), tmp_path)


def test_podman_is_asked_once_for_as_long_as_nothing_changes(look: Looking, podman: Podman):
    assert until(look.is_remembered)
    assert look() == EngineImages(look.engine, look.cache / "none").look_up(NAME)
    assert look().id == podman.image(NAME)
    podman("images")  # it only reads
    assert look.is_remembered()


def test_an_image_that_is_gone_is_not_there(look: Looking, podman: Podman):
    assert until(look.is_remembered)
    podman("rmi", NAME)
    assert look() is None
    assert look() is None  # that there is none is never remembered


def test_a_name_that_stands_for_another_image_is_noticed(look: Looking, podman: Podman):
    assert until(look.is_remembered)
    first = look().id
    podman("tag", NAME, "localhost/kept:1")
    second = make_image(podman, NAME, "two")
    assert look().id == second != first
    podman("untag", NAME)
    assert look() is None
    assert look(f"sha256:{first}").id == first


def test_what_was_removed_by_hand_is_noticed(look: Looking, podman: Podman):
    assert until(look.is_remembered)
    shutil.rmtree(podman.root / "graph" / "vfs-images" / look().id)
    with pytest.raises(EnvironmentBuildError, match="cannot say whether it has the image localhost/seen:1"):
        look()
    shutil.rmtree(podman.root / "graph")
    assert look() is None


def test_another_store_is_another_question(look: Looking, podman: Podman, monkeypatch: pytest.MonkeyPatch):
    assert until(look.is_remembered)
    settings = podman.root / "storage.conf"
    settings.write_text(settings.read_text().replace("/graph", "/other"))
    assert look() is None
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(podman.root / "none.conf"))
    (podman.root / "none.conf").write_text(settings.read_text())
    assert look() is None


def test_what_is_damaged_is_asked_again(look: Looking):
    assert until(look.is_remembered)
    [kept] = (look.cache / "images").iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", b"\xff", b"[]", b"{}", whole.replace(b'"version":1', b'"version":2'), whole[:-1]):
        kept.write_bytes(damaged)
        assert not look.is_remembered()
    assert until(look.is_remembered)


def test_many_stores_are_always_asked(look: Looking, podman: Podman, monkeypatch: pytest.MonkeyPatch):
    (podman.root / "more").mkdir()
    monkeypatch.setenv("STORAGE_OPTS", f"vfs.imagestore={podman.root}/more")
    assert not any(look.is_remembered() for _ in range(3))


def test_a_script_that_calls_podman_is_always_asked(look: Looking, tmp_path: Path):
    script = tmp_path / "podman.sh"
    script.write_text('#!/bin/sh\nexec podman "$@"\n')
    script.chmod(0o755)
    look.engine = find(str(script), os.environ)
    assert not any(look.is_remembered() for _ in range(3))
    assert not (look.cache / "images").exists()


def test_no_variable_of_the_image_is_kept_but_what_a_record_shows(look: Looking, podman: Podman):
    podman("build", "--tag", NAME, "-", stdin=f"FROM {NAME}\nENV TOKEN=s3cr3t TZ=UTC\n".encode())
    assert until(look.is_remembered)
    [kept] = (look.cache / "images").iterdir()
    assert json.loads(kept.read_text())["image"]["variables"] == {"TZ": "UTC"}
