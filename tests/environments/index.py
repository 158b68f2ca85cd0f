"""A package index on the loopback, as PEP 503 (HTML) and PEP 691 (JSON, with upload times) have it; it can lie."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.answering import Answering, listening


@dataclass
class Index:
    """Serves the wheels of a directory; what is asked for is kept."""

    wheels: Path
    uploaded: dict[str, str] = field(default_factory=dict)  # wheel -> upload time; none at all: HTML, without times
    lies: dict[str, bytes] = field(default_factory=dict)  # wheel -> the bytes that are sent instead
    claims: dict[str, str] = field(default_factory=dict)  # wheel -> the sha256 that is told instead
    asked: list[str] = field(default_factory=list)  # paths
    login: str = ""  # "user:password"; without it nothing is given out
    url: str = ""

    def page(self, name: str) -> tuple[str, bytes]:
        files = [path for path in sorted(self.wheels.glob("*.whl")) if path.name.split("-")[0] == name]
        digests = {
            path.name: self.claims.get(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files
        }
        if not self.uploaded:
            links = "".join(f'<a href="/files/{name}#sha256={digest}">{name}</a>\n' for name, digest in digests.items())
            return "text/html", f"<html><body>{links}</body></html>".encode()
        listed = [
            {
                "filename": file,
                "url": f"/files/{file}",
                "hashes": {"sha256": digest},
                "upload-time": self.uploaded.get(file, "2020-01-01T00:00:00Z"),
            }
            for file, digest in digests.items()
        ]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": listed, "versions": []}
        return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()

    def answer(self, path: str) -> tuple[str, bytes]:
        self.asked.append(path)
        if path.startswith("/simple/"):
            return self.page(path.strip("/").split("/")[-1])
        name = path.rpartition("/")[2]
        return "application/octet-stream", self.lies.get(name) or (self.wheels / name).read_bytes()


def _in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@contextmanager
def serving(wheels: Path) -> Iterator[Index]:
    """Serve a directory of wheels for as long as the context lasts."""
    index = Index(wheels)

    class Handler(Answering):
        def reply(self) -> tuple[int, str, bytes]:
            if index.login and self.headers["Authorization"] != f"Basic {_in_base64(index.login)}":
                return 401, "text/plain", b""
            return (200, *index.answer(self.path.partition("?")[0]))

    with listening(Handler) as address:
        index.url = f"http://{address}/simple"
        yield index
