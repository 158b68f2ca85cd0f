"""Values of `path` and `uri` parameters: found on this host, or fetched to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import ProjectError
from runner.project.document import shown
from runner.worker.spec import Parameter

Logged = Callable[[str, str], str]  # the name of a parameter and `runs:/ID/PATH` -> where that lies on this host


def locate(parameter: Parameter, caller: Path, project: Path, downloads: Path, logged: Logged | None = None) -> str:
    """Return the absolute path of a `path` value; a remote one is downloaded. ProjectError where there is none.

    A relative value refers to ``caller``; a default that does not exist there is looked for in ``project``.
    """
    text = parameter.raw
    if not text or "\0" in text:
        message = f"{parameter.name}: a path is expected, not {'an empty text' if not text else 'a NUL byte'}"
        raise ProjectError(message, hint=f"give -P {parameter.name}=PATH")
    roots = [caller, project] if parameter.source == "default" else [caller]
    for spelling in _spellings(text):
        for root in roots:
            place = os.path.abspath(root / spelling)  # noqa: PTH100 - `..` is resolved as MLflow does, links are kept
            if os.path.exists(place):  # noqa: PTH110 - False where a name is too long, instead of an error
                return place
    if logged is not None and text.startswith("runs:/"):
        return logged(parameter.name, text)
    if is_remote(text):
        from runner.project.download import download

        return download(parameter.name, text, downloads)
    raise _missing(parameter, text, roots)


def relative(place: str, project: Path) -> str:
    """Return a place as an Input names it: POSIX, relative to the project where it lies inside, else absolute."""
    parent, name = os.path.split(place)
    root = os.path.realpath(project)
    inside = os.path.relpath(f"{os.path.realpath(parent)}/{name}", root)
    return place if inside == os.pardir or inside.startswith(os.pardir + os.sep) else inside


def is_remote(text: str) -> bool:
    """Whether a value names something elsewhere: it has a scheme other than `file:`, or a host."""
    parts = _split(text)
    return parts is not None and bool(parts[0]) and (parts[0] != "file" or parts[1] not in ("", "localhost"))


def expect_uri(name: str, text: str) -> None:
    """Raise ProjectError where a value has no scheme."""
    parts = _split(text)
    if parts is None or not parts[0]:
        message = f"{name}: a URI with a scheme is expected, not {text!r}"
        raise ProjectError(message, hint=f"write file:///..., https://... or s3://..., or declare {name} as `path`")


def _split(text: str) -> tuple[str, str, str] | None:
    try:
        parts = urlsplit(text)
    except ValueError:  # such as an unfinished [ of an IPv6 address
        return None
    return parts.scheme, parts.netloc, parts.path


def _spellings(text: str) -> list[str]:
    """The paths a local value may mean: as it stands, then decoded (MLflow decodes %20 in every path)."""
    parts = _split(text)
    if parts is not None and parts[0] == "file" and not is_remote(text):
        after = text[len("file:") :]
        after = after[len("//") + len(parts[1]) :] if after.startswith("//") else after
        return list(
            dict.fromkeys((unquote(parts[2], errors="surrogateescape"), unquote(after, errors="surrogateescape")))
        )
    if parts is not None and parts[0] and "://" in text:
        return []
    return list(dict.fromkeys((text, unquote(text, errors="surrogateescape"))))


def _missing(parameter: Parameter, text: str, roots: list[Path]) -> ProjectError:
    places = " or ".join(dict.fromkeys(shown(os.path.abspath(root)) for root in roots))  # noqa: PTH100 - as above
    message = f"{parameter.name}: there is no file or directory {text!r} in {places}"
    if text.startswith(("/", "file:")):
        message = f"{parameter.name}: there is no file or directory {text!r}"
    value = "its default" if parameter.source == "default" else "a value"
    hint = f"{value} is relative to the directory you are in; give -P {parameter.name}=PATH"
    return ProjectError(message, hint=hint)
