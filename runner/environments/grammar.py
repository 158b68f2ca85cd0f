"""Which lines can be no requirement: what uv would refuse for certain is refused before a run is made, by its place."""

from __future__ import annotations

import re

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CLAUSE = r"(?:==|>=|<=|~=|!=|<|>)\s*[0-9]+(?:\.[0-9]+)*"
_USUAL = re.compile(rf"{_NAME}(?:\[{_NAME}(?:,\s*{_NAME})*\])?\s*(?:{_CLAUSE}(?:\s*,\s*{_CLAUSE})*)?", re.ASCII)
_OTHER = re.compile(r"^[-.]|[/@$\\]|\.(?:whl|zip|tgz|tar\.\w+)\b")  # options, paths, URLs, variables: uv knows them


def problem(line: str) -> str | None:
    """Return why a line without its comment is no requirement; None where it is one, or may be something else."""
    text = re.split(r"\s--", line, maxsplit=1)[0].strip()
    if not text or _OTHER.search(text) or _USUAL.fullmatch(text):
        return None
    from packaging.requirements import InvalidRequirement, Requirement  # few lines need it, and it takes its time

    try:
        Requirement(text)
    except InvalidRequirement as error:
        return str(error).splitlines()[0]
    return None
