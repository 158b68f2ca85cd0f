"""An image's lock: which image a name stood for, by the digests that find the same one again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Optional

from runner.errors import EnvironmentBuildError, FormatError
from runner.worker.codec import decode, encode
from runner.worker.files import canonical, pretty
from runner.worker.values import dataclass

_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"[^\s-]\S*@sha256:[0-9a-f]{64}")

PROJECT_LOCK = "image.mlrun.json"


@dataclass(frozen=True)
class ImageLock:
    """One image; `schemas/image-lock.schema.json` describes it."""

    image: str  # as the project names it
    id: str  # sha256 of the image's configuration, which names its layers; of the file, where it is one
    digests: tuple[str, ...] = ()  # NAME@sha256:... of its manifest, as registries know it
    platform: str = ""  # "linux/amd64"
    version: int = 1

    def __post_init__(self) -> None:
        """Refuse what the schema refuses."""
        sound = self.image and _HEX.fullmatch(self.id) and all(map(_DIGEST.fullmatch, self.digests))
        if self.version != 1 or not sound:
            message = "an image's lock names no image by its digest, or is of a version that this mlrun does not know"
            raise FormatError(message, hint="write it anew with `mlrun lock`")

    def object(self) -> bytes:
        """Return the bytes that the object store keeps."""
        return canonical(encode(self))

    def text(self) -> bytes:
        """Return the bytes that a project keeps."""
        return pretty(encode(self))


def read(data: bytes, place: str) -> ImageLock:
    """Return the lock that ``data`` holds; FormatError names what does not fit."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"{place} is no JSON: {error}"
        raise FormatError(message, hint="`mlrun lock` writes it anew") from None
    return decode(ImageLock, value, place)


def of_project(project: Path, image: str) -> Optional[ImageLock]:
    """Return a project's own lock; EnvironmentBuildError where it is for another image."""
    try:
        lock = read((project / PROJECT_LOCK).read_bytes(), PROJECT_LOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{PROJECT_LOCK} cannot be read: {error.strerror}"
        raise EnvironmentBuildError(message, hint="make it readable, or remove it") from None
    if lock.image != image:
        message = f"{PROJECT_LOCK} is for the image {lock.image}, and the project asks for {image}"
        raise EnvironmentBuildError(message, hint="`mlrun lock` writes it anew")
    return lock
