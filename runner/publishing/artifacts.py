"""The files that a run logged as artifacts, brought to a server through its own artifact proxy, where it has one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.publishing.published import Published
from runner.publishing.server import RejectedError, Server

_PROXY = "mlflow-artifacts"


def upload_all(
    server: Server,
    directory: Path,
    state: Published,
    kept: Callable[[str], None],
    refuse: Callable[[str, str], None],
) -> None:
    """Upload what lies in a directory of artifacts, in order, from the last one that is there on.

    What belongs to a logged model of the server goes to its place. Where the server keeps artifacts at a place of its
    own that only clients with its credentials reach, nothing is uploaded, and ``refuse`` is told.
    """
    paths = [path for path in _files(directory) if not state.artifacts or path > state.artifacts]
    if not paths:
        return
    root = _proxied(server, server.get("runs/get", run_id=state.run_id)["run"]["info"])
    if root is None:
        refuse("artifacts", "the server keeps them at a place of its own, not behind its artifact proxy")
        return
    roots = [(f"{place}/", _of_model(server, identity)) for place, identity in state.models.items()]
    for path in paths:
        targets = [
            f"{its_root}/{path[len(place) :]}" for place, its_root in roots if its_root and path.startswith(place)
        ]
        _upload(server, directory / path, targets[0] if targets else f"{root}/{path}", path, refuse)
        kept(path)


def _of_model(server: Server, identity: str) -> str | None:
    return _proxied(server, server.get(f"logged-models/{identity}")["model"]["info"])


def _upload(server: Server, place: Path, target: str, path: str, refuse: Callable[[str, str], None]) -> None:
    try:
        with place.open("rb") as stream:
            server.upload(target, stream, os.fstat(stream.fileno()).st_size)
    except RejectedError as error:
        if error.status in (401, 403):
            raise
        refuse(f"artifact {path}", error.message)
    except OSError as error:
        refuse(f"artifact {path}", f"it cannot be read: {error.strerror}")


def _proxied(server: Server, info: Any) -> str | None:
    """Return the directory of the artifacts of a run, or of a logged model, behind the server's proxy."""
    uri = urlsplit(str(info.get("artifact_uri", "")))
    here = urlsplit(server.uri)
    if uri.scheme != _PROXY or (uri.netloc and uri.netloc != here.netloc):
        return None
    return uri.path.strip("/")


def _files(directory: Path) -> Iterator[str]:
    """Return the files below a directory, sorted; links are left out."""
    found = []
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)  # noqa: PTH118 - ten thousand of them
            if not os.path.islink(path) and os.path.isfile(path):  # noqa: PTH113, PTH114
                found.append(os.path.relpath(path, directory))
    return iter(sorted(found))
