"""Credentials in a URL are taken out of it before git sees it: they travel in the environment, never in an argv."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from runner.sources.uri import strip_userinfo

# git asks it with the exact words of its prompt; another host, after a redirect, gets no answer.
_ANSWER = """#!/bin/sh
case "$1" in
  "Username for '$MLRUN_GIT_SITE': ") printf '%s\\n' "$MLRUN_GIT_USER" ;;
  "Password for '$MLRUN_GIT_SITE_AS_USER': ") printf '%s\\n' "$MLRUN_GIT_PASSWORD" ;;
  *) exit 1 ;;
esac
"""


@contextlib.contextmanager
def outside(address: str, place: Path) -> Iterator[tuple[str, Mapping[str, str], Mapping[str, str]]]:
    """Yield an address without credentials, and the settings and variables by which git gets them when it asks."""
    parts = urlsplit(address) if address.startswith(("http://", "https://")) else None
    if parts is None or "@" not in parts.netloc:
        yield address, {}, {}
        return
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    site = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    variables = {
        "MLRUN_GIT_SITE": site,
        "MLRUN_GIT_SITE_AS_USER": site.replace("://", f"://{quote(user, safe='')}@", 1),
        "MLRUN_GIT_USER": user,
        "MLRUN_GIT_PASSWORD": password,
    }
    with tempfile.TemporaryDirectory(dir=place, prefix="askpass.") as directory:
        script = Path(directory) / "askpass"
        script.write_text(_ANSWER, encoding="ascii")
        script.chmod(0o700)
        yield strip_userinfo(address), {"credential.useHttpPath": "false"}, {**variables, "GIT_ASKPASS": str(script)}
