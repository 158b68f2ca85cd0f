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
from runner.errors import EnvironmentBuildError
from runner.worker.environment.logins import redacted
from runner.worker.environment.uv import OLDEST, Uv, find_uv, unfit
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


def test_a_long_reason_is_cut_where_its_cause_is_not() -> None:
    cause = "  cause: No space left on device (os error 28)\n"
    said = f"error: Failed to install\n  cause: Failed to copy `{'/a' * 500}`\n{cause}"
    reason = Uv("uv", {}, print).reason(Finished(("uv",), 2, b"", said.encode()))
    assert reason.startswith("Failed to install: Failed to copy `/a/a")
    assert reason.endswith("/a`: No space left on device (os error 28)")
    assert " ... " in reason
    assert len(reason) < 720


def test_redacted() -> None:
    assert redacted("from https://u:p@h/x and git+ssh://git@h/y") == "from https://h/x and git+ssh://h/y"


def program(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xfe\xca" + bytes(64), "cannot be started: Exec format error"),
        ("#!/not/there\n", "cannot be started: No such file or directory"),
        ("#!/bin/sh\necho \"uv: libc.so.6: version 'GLIBC_2.99' not found\" >&2; exit 1\n", "GLIBC_2.99"),
        ("#!/bin/sh\necho uv 0.7.22\n", "is too old: uv 0.7.22, and 0.8 is needed"),
        ("#!/bin/sh\necho ultraviolet\n", "does not run: ultraviolet"),
        ("#!/bin/sh\nexit 127\n", "does not run: it ended with code 127"),
        ("#!/bin/sh\necho 'uv 0.10.0 (abc 2026-01-01)'\n", ""),
    ],
)
def test_a_uv_is_started_before_it_is_trusted(tmp_path: Path, content: str | bytes, reason: str) -> None:
    found = unfit(program(tmp_path / "uv", content))
    assert reason in found
    assert bool(reason) == bool(found)


def test_the_hosts_own_uv_takes_the_place_of_one_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    named, own = program(tmp_path / "named", "#!/not/there\n"), tmp_path / "bin" / "uv"
    with pytest.raises(EnvironmentBuildError, match=r"uv does not run on this host.*named cannot be started"):
        find_uv(named)
    with pytest.raises(EnvironmentBuildError, match="uv is not on this host"):
        find_uv(None)
    program(own, "#!/bin/sh\necho uv 0.4.0\n")
    with pytest.raises(EnvironmentBuildError, match=f"named cannot be started.*; {own} is too old"):
        find_uv(named)
    program(own, "#!/bin/sh\necho uv 0.13.9\n")
    assert find_uv(named) == str(own)


def test_the_oldest_uv_is_the_one_that_is_required() -> None:
    text = Path(__file__).parents[3].joinpath("pyproject.toml").read_text()
    assert f'"uv>={".".join(map(str, OLDEST))}"' in text
