"""The logins in the addresses of package indexes: taken out, and given to uv by variables of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@'\"]+@")
_INDEX = re.compile(r"(?:([\w.-]+)=)?(\w+://)([^/\s@:]*):([^/\s@]*)@(.*)")


def redacted(text: str) -> str:
    """Return a text without the user and password of the URLs in it."""
    return _USERINFO.sub(r"\1", text)


def apart(variables: Mapping[str, str]) -> dict[str, str]:
    """Return uv's variables with no password in the address of an index, but in UV_INDEX_<NAME>_PASSWORD.

    uv finds in its cache only what a lock names the index of in the very words that it is configured with, and a lock
    has no place for a password.
    """
    result = dict(variables)
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX"):
        words = result.get(name, "").split()
        named = [_named(word, f"{name.lower()}-{number}", result) for number, word in enumerate(words)]
        if named != words:
            result[name] = " ".join(named)
    return result


def _named(word: str, unnamed: str, variables: "dict[str, str]") -> str:
    """Return an index without its login, which goes into the variables."""
    match = _INDEX.fullmatch(word)
    if match is None:
        return word
    label, scheme, user, password, rest = match.groups()
    label = label or unnamed
    prefix = f"UV_INDEX_{re.sub(r'[^A-Za-z0-9]', '_', label).upper()}"
    if f"{prefix}_USERNAME" not in variables and f"{prefix}_PASSWORD" not in variables:  # they win over the address
        variables.update({f"{prefix}_USERNAME": unquote(user), f"{prefix}_PASSWORD": unquote(password)})
    return f"{label}={scheme}{rest}"
