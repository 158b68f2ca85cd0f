"""The worker as one file that travels: a zip application, the same bytes wherever it is packed."""

from __future__ import annotations

import hashlib
import io
import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path

from runner import worker

_MAIN = b"""\
import os, sys
if sys.version_info < (3, 9):
    sys.exit("mlrun needs Python 3.9 or newer here; %s is %s" % (sys.executable, sys.version.split()[0]))
if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8"):
    os.execv(sys.executable, [sys.executable, "-X", "utf8", "-S", "-E"] + sys.argv)
from runner.worker.verbs import leave, main
leave(main(sys.argv[1:]))
"""
_WHEN = (1980, 1, 1, 0, 0, 0)


def pack(cache: Path) -> Path:
    """Return the worker's zip application under ``cache``/workers, made where it is not there yet."""
    data = _zip()
    path = cache / "workers" / f"{hashlib.sha256(data).hexdigest()}.pyz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # several threads may pack at once
        aside.write_bytes(data)
        aside.replace(path)
    return path


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in _members():
            archive.writestr(zipfile.ZipInfo(name, _WHEN), data)
    return buffer.getvalue()


def _members() -> Iterator[tuple[str, bytes]]:
    package = Path(worker.__file__).parents[1]
    yield "__main__.py", _MAIN
    yield "runner/__init__.py", b""  # the package's own offers the near side's API, which does not travel
    yield "runner/errors.py", (package / "errors.py").read_bytes()
    for path in sorted((package / "worker").rglob("*.py")):
        yield f"runner/{path.relative_to(package).as_posix()}", path.read_bytes()
