"""The logins in the addresses of package indexes: taken out, and given to uv by variables of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@'\"]+@")
_NAMED = re.compile(r"([\w.-]+)=(\w+:.*)")
_WITH_LOGIN = re.compile(r"(\w+://)([^/\s@:]*):([^/\s@]*)@(.*)")


def redacted(text: str) -> str:
    """Return a text without the user and password of the URLs in it."""
    return _USERINFO.sub(r"\1", text)


def named(word: str) -> "tuple[str, str]":
    """Return the name of an index, "" where it has none, and its address: uv takes both, as NAME=URL."""
    match = _NAMED.fullmatch(word)
    return (match[1], match[2]) if match else ("", word)


def variable(name: str, part: str) -> str:
    """Return the variable in which uv looks for a part of an index's login: USERNAME, PASSWORD."""
    return f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_{part}"


def apart(variables: Mapping[str, str]) -> dict[str, str]:
    """Return uv's variables with no password in the address of an index, but in UV_INDEX_<NAME>_PASSWORD.

    uv finds in its cache only what a lock names the index of in the very words that it is configured with, and a lock
    has no place for a password.
    """
    result = dict(variables)
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX"):
        words = result.get(name, "").split()
        bare = [_bare(word, f"{name.lower()}-{number}", result) for number, word in enumerate(words)]
        if bare != words:
            result[name] = " ".join(bare)
    return result


def _bare(word: str, unnamed: str, variables: "dict[str, str]") -> str:
    """Return an index without its login, which goes into the variables."""
    name, address = named(word)
    match = _WITH_LOGIN.fullmatch(address)
    if match is None:
        return word
    scheme, user, password, rest = match.groups()
    name = name or unnamed
    login = {variable(name, "USERNAME"): unquote(user), variable(name, "PASSWORD"): unquote(password)}
    if not login.keys() & variables.keys():  # they win over the address
        variables.update(login)
    return f"{name}={scheme}{rest}"
