"""A registry of container images on the loopback, as OCI's distribution specification has it for pulls; it can lie."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.answering import Answering, listening
from tests.podman import Podman


@dataclass
class Registry:
    """Serves images that podman has saved; what is asked for is kept."""

    root: Path
    names: dict[str, str] = field(default_factory=dict)  # NAME:TAG -> digest of its manifest
    lies: dict[str, bytes] = field(default_factory=dict)  # digest -> the bytes that are sent instead
    asked: list[str] = field(default_factory=list)
    address: str = ""  # host:port

    def push(self, podman: Podman, image: str, name: str) -> str:
        """Take an image of podman's as NAME:TAG; return the digest of its manifest."""
        layout = self.root / f"{len(self.names)}"
        podman("save", "--quiet", "--format", "oci-dir", "--output", layout, image)
        [manifest] = json.loads((layout / "index.json").read_text())["manifests"]
        (self.root / "blobs").mkdir(exist_ok=True)
        for blob in (layout / "blobs" / "sha256").iterdir():
            blob.rename(self.root / "blobs" / blob.name)
        self.names[name] = manifest["digest"]
        return str(manifest["digest"])

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return the status, the type and the bytes of what a path names."""
        parts = path.strip("/").split("/")
        if parts == ["v2"]:
            return 200, "application/json", b"{}"
        name, kind, reference = "/".join(parts[1:-2]), parts[-2], parts[-1]
        digest = reference if ":" in reference else self.names.get(f"{name}:{reference}", "")
        blob = self.root / "blobs" / digest.partition(":")[2]
        if not digest or not blob.is_file():
            return 404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
        data = self.lies.get(digest) or blob.read_bytes()
        manifest = "application/vnd.oci.image.manifest.v1+json"
        return 200, manifest if kind == "manifests" else "application/octet-stream", data


@contextmanager
def serving(root: Path) -> Iterator[Registry]:
    """Serve a registry for as long as the context lasts."""
    registry = Registry(root)
    root.mkdir()

    class Handler(Answering):
        def handle(self) -> None:
            if self.connection.recv(1, socket.MSG_PEEK) != b"\x16":  # else it is TLS, which an engine tries first
                super().handle()

        def reply(self) -> tuple[int, str, bytes]:
            registry.asked.append(self.path)
            return registry.answer(self.path)

    with listening(Handler) as registry.address:
        yield registry
