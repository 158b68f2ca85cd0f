"""Why a request to py-rattler ends without an answer: a kind, which tells what to advise, and words."""

from __future__ import annotations

import re

_PATH = re.compile(r"\S*/\S*")
_LEADING = re.compile(r"^(Caused by|Cannot solve the request because of):\s*")


class RefusalError(Exception):
    """What ends a request: its kind tells the worker what to advise."""

    def __init__(self, message: str, kind: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.kind = kind


def kind_of(error: BaseException) -> str:
    """Return what kind of failure an exception of py-rattler is."""
    name, text = type(error).__name__, _PATH.sub(" ", str(error).lower())  # a path may have 403 in it
    if "no space left" in text:
        return "space"
    if name == "SolverError":
        lacking = re.search(r"__\w+ .*, for which no candidates were found|candidates were found for __", text)
        return "later" if "cutoff date" in text else "virtual" if lacking else "unsolvable"
    if re.search(r"\b40[13]\b|unauthorized|forbidden", text):
        return "refused"
    if re.search(r"\b404\b|not found|could not find|no such file", text):
        return "gone"
    return (
        "network"
        if re.search(r"dns|connect|timed? ?out|error sending|request failed|network|offline|cache", text)
        else "other"
    )


def words_of(error: BaseException) -> str:
    """Return an error with its causes in one line, without user names, passwords and tokens."""
    lines = (_LEADING.sub("", line.strip()).rstrip(":") for line in str(error).splitlines())
    text = ": ".join(line for line in lines if line) or type(error).__name__
    return re.sub(r"(\w+://)[^/\s@]*@", r"\1", re.sub(r"/t/[^/\s]+/", "/", text))
