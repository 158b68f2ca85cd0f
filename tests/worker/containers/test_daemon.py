"""docker's engine asked at its socket: one that listens there says what it was asked, and answers as it is told."""

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import EnvironmentBuildError
from runner.worker.containers.engines import Engine, socket_of
from runner.worker.containers.images import EngineImages

_IMAGE = {"Id": "sha256:" + "a" * 64, "RepoDigests": ["py@sha256:" + "b" * 64], "Os": "linux", "Architecture": "arm64"}


class Listening(socketserver.UnixStreamServer):
    """docker's engine, which is none."""

    asked: list[str]
    answer: bytes


class _Answering(socketserver.StreamRequestHandler):
    server: Listening

    def handle(self) -> None:
        self.server.asked.append(self.rfile.readline().decode())
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.server.answer)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A docker that is no script, and that fails when it is started."""
    program = tmp_path / "docker"
    program.symlink_to("/bin/false")
    return Engine("docker", str(program), "docker 28.2.2")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    place = tmp_path / "docker.sock"
    with Listening(str(place), _Answering) as server:
        server.asked, server.answer = [], answer(200, _IMAGE)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
        yield server
        server.shutdown()
        thread.join()


def answer(status: int, content: object) -> bytes:
    return f"HTTP/1.0 {status} X\r\nContent-Type: application/json\r\n\r\n{json.dumps(content)}\n".encode()


def test_an_image_is_asked_for_without_docker(engine: Engine, daemon: Listening, tmp_path: Path):
    image = EngineImages(engine, tmp_path).look_up("a.org:5000/py:3 x")
    assert daemon.asked == ["GET /images/a.org:5000/py:3%20x/json HTTP/1.0\r\n"]
    assert (image.id, image.platform, image.digests) == ("a" * 64, "linux/arm64", ("py@sha256:" + "b" * 64,))


@pytest.mark.parametrize(
    "said",
    [answer(404, {"message": "No such image"}), answer(500, {}), b"", b"HTTP/1.0 200 OK\r\n\r\n{", b"\xff\r\n\r\n"],
    ids=["absent", "trouble", "nothing", "half", "noise"],
)
def test_whatever_else_it_says_docker_has_the_last_word(engine: Engine, daemon: Listening, tmp_path: Path, said: bytes):
    daemon.answer = said
    with pytest.raises(EnvironmentBuildError, match=r"docker 28\.2\.2 cannot say whether it has the image py"):
        EngineImages(engine, tmp_path).look_up("py")
    assert len(daemon.asked) == 1


def test_docker_is_asked_where_its_engine_may_be_elsewhere(tmp_path: Path):
    home = {"HOME": str(tmp_path)}
    assert socket_of(home) == socket_of({**home, "DOCKER_CONTEXT": "default"}) == "/var/run/docker.sock"
    assert socket_of({**home, "DOCKER_HOST": "unix:///run/user/1/docker.sock"}) == "/run/user/1/docker.sock"
    assert socket_of({**home, "DOCKER_HOST": "tcp://127.0.0.1:2375"}) is None
    assert socket_of({**home, "DOCKER_CONTEXT": "lab"}) is None
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "lab"}')
    assert socket_of(home) is None
