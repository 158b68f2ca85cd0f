"""Channels that ask for a login, served on the loopback: the user's credentials are used, and recorded nowhere."""

import base64
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runner.environments.conda_channels import channels, without_login
from runner.worker.hashing import sha256_of
from tests.conda.channel import Channel
from tests.end_to_end.conftest import Mlrun, Project
from tests.needs import need

USER, WORD, TOKEN = "ada", "s3cr3t-w0rd", "tk-0123456789"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory."""

    def log_message(self, *words: object) -> None:
        pass


class Private(Quiet):
    """Serves a directory to who says the word, as userinfo or as a token in the path."""

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:
        self._answer(super().do_HEAD)

    def _answer(self, serve) -> None:
        if self.path.startswith(f"/t/{TOKEN}/"):
            self.path = self.path[len(f"/t/{TOKEN}") :]
        elif self.headers.get("Authorization") != "Basic " + base64.b64encode(f"{USER}:{WORD}".encode()).decode():
            self.send_error(401)
            return
        serve()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    channel = Channel(tmp_path / "served" / "private")
    channel.package("native", files={"bin/native": "#!/bin/sh\necho native\n"})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Private, directory=str(tmp_path / "served"))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def mlrun(tmp_path: Path, shared_tools: None) -> Mlrun:
    return Mlrun(tmp_path)


def write(project: Project, channel: str) -> None:
    project.path.mkdir(exist_ok=True)
    project.write("MLproject", "conda_env: conda.yaml\nentry_points: {main: {command: native}}\n")
    project.write("conda.yaml", f"channels: ['{channel}']\ndependencies: [native]\n")


def expect_untold(home: Path, *secrets: str, but: str = "") -> None:
    """No file of the store or of the cache holds a secret, but for the source itself."""
    for path in [*(home / "store").rglob("*"), *(home / "cache").rglob("*")]:
        if path.is_file() and "tools" not in path.parts and path.name != but:
            data = path.read_bytes()
            for secret in secrets:
                coded = base64.b64encode(f"{USER}:{secret}".encode())
                assert secret.encode() not in data, path
                assert coded not in data, path


def test_the_login_of_netrc(mlrun: Mlrun, tmp_path: Path, server: str, home: Path):
    project = Project(tmp_path / "project")
    write(project, f"http://{server}/private")
    said = mlrun("run", project.path)
    assert said.code == 125
    assert "401" in said.err
    assert "~/.netrc" in said.err
    (home / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {WORD}\n")
    (home / ".netrc").chmod(0o600)
    assert mlrun("run", project.path).ok().out == "native\n"
    assert mlrun.show()["environment"]["packages"][0]["url"].startswith(f"http://{server}/private/")
    expect_untold(home, WORD)


def test_the_login_that_rattler_keeps(mlrun: Mlrun, tmp_path: Path, server: str, home: Path):
    project = Project(tmp_path / "project")
    write(project, f"http://{server}/private")
    login = {"127.0.0.1": {"BasicHTTP": {"username": USER, "password": WORD}}}
    (home / "logins.json").write_text(json.dumps(login))
    said = mlrun("run", project.path, RATTLER_AUTH_FILE=str(home / "logins.json")).ok()
    assert said.out == "native\n"
    expect_untold(home, WORD)


@pytest.mark.parametrize("login", ["{user}:{word}@{server}/private", "{server}/t/{token}/private"])
def test_the_login_in_an_address_by_variables(mlrun: Mlrun, tmp_path: Path, server: str, home: Path, login: str):
    project = Project(tmp_path / "project")
    write(project, "http://" + login.format(user="$CH_USER", word="${CH_WORD}", token="$CH_TOKEN", server=server))
    said = mlrun("run", project.path, "--json", CH_USER=USER, CH_WORD=WORD, CH_TOKEN=TOKEN).ok()
    assert WORD not in said.out + said.err
    assert TOKEN not in said.out + said.err
    package = mlrun.show()["environment"]["packages"][0]
    assert package["url"].startswith(f"http://{server}/private/")
    expect_untold(home, WORD, TOKEN)


def test_the_login_in_the_address_of_a_package(mlrun: Mlrun, tmp_path: Path, server: str, home: Path):
    project = Project(tmp_path / "project")
    write(project, "nodefaults")
    [archive] = (tmp_path / "served").rglob("native-*")
    address = f"http://{USER}:{WORD}@{server}/{archive.relative_to(tmp_path / 'served')}"
    project.write("conda.yaml", f"channels: [nodefaults]\ndependencies: ['{address}']\n")
    assert mlrun("run", project.path).ok().out == "native\n"
    [source] = (home / "store" / "objects").rglob(sha256_of(project.path.joinpath("conda.yaml").read_bytes())[2:])
    expect_untold(home, WORD, but=source.name)


def test_a_channel_over_tls_and_a_certificate_of_ones_own(mlrun: Mlrun, tmp_path: Path, home: Path):
    Channel(tmp_path / "served" / "public").package("native", files={"bin/native": "#!/bin/sh\necho native\n"})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        project = Project(tmp_path / "project")
        write(project, f"https://127.0.0.1:{server.server_address[1]}/public")
        said = mlrun("run", project.path, SSL_CERT_FILE="")
        assert said.code == 125
        assert "certificate" in said.err
        assert mlrun("run", project.path, SSL_CERT_FILE=str(tmp_path / "ca.pem")).ok().out == "native\n"
        server.shutdown()
        thread.join()


def certificate(folder: Path) -> tuple[str, str]:
    """Make an authority (ca.pem) and a certificate of the loopback's, by openssl."""
    need("openssl", shutil.which("openssl"), "openssl is not here")
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    new = "-newkey rsa:2048 -nodes"
    for words in (
        f"req -x509 {new} -keyout ca.key -out ca.pem -days 2 -subj /CN=ours -addext basicConstraints=critical,CA:TRUE",
        f"req {new} -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext",
    ):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_what_names_of_channels_stand_for(tmp_path: Path):
    (tmp_path / ".condarc").write_text(
        "channel_alias: https://mirror.example.org/conda\n"
        "custom_channels: {ours: 'https://ada:word@pkgs.example.org/t/tk-1'}\n"
        "default_channels: [https://mirror.example.org/main]\n"
        "channel_priority: strict\n"
    )
    environ = {"HOME": str(tmp_path), "TEAM": "green"}
    found = channels(
        ["ours", "conda-forge", "conda-forge/label/dev", "defaults", "nodefaults", "./here", "https://x.org/$TEAM/"],
        tmp_path,
        environ,
    )
    assert found.urls == (
        "https://pkgs.example.org/ours",
        "https://mirror.example.org/conda/conda-forge",
        "https://mirror.example.org/conda/conda-forge/label/dev",
        "https://mirror.example.org/main",
        (tmp_path / "here").as_uri(),
        "https://x.org/green",
    )
    assert found.priority == "strict"
    assert found.logins == {"pkgs.example.org": {"CondaToken": "tk-1"}}
    assert channels([], tmp_path, environ).urls == ("https://mirror.example.org/main",)
    plain = channels(["conda-forge", "pytorch"], tmp_path, {"HOME": "/nowhere"})
    assert plain.urls == ("https://conda.anaconda.org/conda-forge", "https://conda.anaconda.org/pytorch")
    assert plain.priority is None


@pytest.mark.parametrize(
    ("address", "bare", "login"),
    [
        ("https://u:p%40w@h.org:8080/c/", "https://h.org:8080/c", {"BasicHTTP": {"username": "u", "password": "p@w"}}),
        ("https://h.org/t/tk/c/label/x", "https://h.org/c/label/x", {"CondaToken": "tk"}),
        ("https://h.org/c", "https://h.org/c", None),
    ],
)
def test_logins_are_taken_out_of_addresses(address: str, bare: str, login: object):
    assert without_login(address) == (bare, login)
