"""uv is given credentials by files and variables, and nothing else of the caller's environment."""

import base64
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runner.environments.choice import Choice
from runner.environments.plan import plan
from runner.worker.environment.uv import Uv, redacted
from runner.worker.tools import Finished
from tests.environments.wheels import make_wheel

from .conftest import Host


class _Guarded(SimpleHTTPRequestHandler):
    """Serves files to who knows the password."""

    def do_GET(self) -> None:
        self._guard(super().do_GET)

    def do_HEAD(self) -> None:
        self._guard(super().do_HEAD)

    def _guard(self, answer) -> None:
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(b"ada:s3cret").decode():
            answer()
        else:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    make_wheel(tmp_path / "served", "green")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Guarded, directory=str(tmp_path / "served"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "line",
    [
        "green @ http://ada:s3cret@{server}/green-1.0-py3-none-any.whl",
        "green @ http://ada:${{TOKEN}}@{server}/green-1.0-py3-none-any.whl",
    ],
)
def test_a_login_in_a_requirement_works_and_is_kept_nowhere(host: Host, server: str, line: str) -> None:
    written = line.format(server=server)
    (host.project / "python_env.yaml").write_text(f"dependencies:\n  - {written}\n")
    planned = plan(host.project, Choice(), caller_environ={"TOKEN": "s3cret", "PIP_CONFIG_FILE": "/dev/null"})
    assert planned.spec.requirements == (f"green @ http://{server}/green-1.0-py3-none-any.whl",)
    host.installer.update(planned.installer)
    environment = host.prepare(*planned.spec.requirements)
    assert host.names(environment) == {"green"}
    places = (host.cache, host.root / "store", host.root / "scratch")
    kept = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert [path for path in kept if b"s3cret" in path.read_bytes()] == []


def test_directories_of_another_machine_are_left_out(host: Host) -> None:
    host.installer["UV_FIND_LINKS"] += ",/nowhere/wheels"
    host.installer["UV_INDEX"] = "file:///nowhere/simple"
    assert host.names(host.prepare("blue")) == {"blue"}


def test_options_of_the_callers_shell_do_not_reach_uv(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_NO_VERIFY_HASHES", "1")
    monkeypatch.setenv("UV_CONSTRAINT", "/nowhere/constraints.txt")
    monkeypatch.setenv("UV_REQUIRE_HASHES", "1")
    assert host.names(host.prepare("blue")) == {"blue"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("warning: x\nerror: No solution\n  cause: Because a.\n", "No solution: Because a"),
        ("error: one\n\nhint: two\n", "one"),
        (
            "  \N{MULTIPLICATION SIGN} No solution found:\n  ╰─▶ Because a was not\n      found.\n",
            "No solution found: Because a was not found",
        ),
        ("error: cannot fetch https://ada:pw@h.invalid/x\n", "cannot fetch https://h.invalid/x"),
        ("", "uv ended with code 2"),
    ],
)
def test_the_reason_is_one_line(said: str, reason: str) -> None:
    uv = Uv("uv", {}, lambda _: None)
    assert uv.reason(Finished(("uv",), 2, b"", said.encode())) == reason


def test_redacted() -> None:
    assert redacted("from https://u:p@h/x and git+ssh://git@h/y") == "from https://h/x and git+ssh://h/y"
