"""What must not stay in a record: the user names and passwords that a URL can carry."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Up to the last @ before the host's end; a second @ is an unquoted one in the password.
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*://)[^/?#\s'\"<>]*@")
_REDACTED = "***"


def clean_text(text: str) -> str:
    """Return a text in which every URL is without its userinfo."""
    return _USERINFO.sub(r"\1", text) if "@" in text else text


def clean_optional(text: str | None) -> str | None:
    """Return a text without userinfo, where there is one."""
    return None if text is None else clean_text(text)


def clean_argv(argv: Iterable[str], secrets: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the words of a command line without userinfo in URLs, and without the values of ``secrets``."""
    hidden = sorted((secret for secret in secrets if secret), key=len, reverse=True)
    words = []
    for word in argv:
        for secret in hidden:
            word = word.replace(secret, _REDACTED)  # noqa: PLW2901 - one value through several steps
        words.append(clean_text(word))
    return tuple(words)
