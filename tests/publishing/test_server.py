"""The client of a team's server: addresses, credentials, and what its answers mean."""

import io
import socket

import pytest

from runner.errors import PublishError, UsageError
from runner.publishing.destination import Destination, destination
from runner.publishing.server import RejectedError, Server, UnreachableError, address
from tests.publishing.servers import Small


@pytest.fixture
def small():
    with Small() as server:
        yield server


@pytest.mark.parametrize(
    ("uri", "bare"),
    [
        ("http://h:5000", "http://h:5000"),
        ("https://h/mlflow/", "https://h/mlflow"),
        (" https://u:p%40@h:1/x?q#f ", "https://h:1/x"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_addresses(uri, bare):
    assert address(uri).uri == bare


def test_credentials_in_an_address_are_kept_apart():
    found = address("https://u:p%40s@h:1/x")
    assert (found.user, found.password) == ("u", "p@s")


@pytest.mark.parametrize("uri", ["sqlite:///x.db", "ftp://u:p@x/y", "./mlruns", "http://", "http://h:x", "databricks"])
def test_what_is_no_server_is_refused(uri):
    with pytest.raises(UsageError) as caught:
        address(uri)
    assert "write http://HOST:PORT" in caught.value.hint
    assert "u:p" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("given", "environ", "found"),
    [
        ((None, None, None), {}, (None, None, None)),
        ((None, None, None), {"MLFLOW_TRACKING_URI": "http://h:1/"}, ("http://h:1", None, None)),
        (("http://o", None, None), {"MLFLOW_TRACKING_URI": "http://h"}, ("http://o", None, None)),
        ((None, None, None), {"MLFLOW_TRACKING_URI": "sqlite:///x"}, (None, None, None)),
        ((None, "a", None), {"MLFLOW_EXPERIMENT_ID": "7"}, (None, "a", None)),
        ((None, None, None), {"MLFLOW_EXPERIMENT_ID": "7"}, (None, None, "7")),
        ((None, None, None), {"MLFLOW_EXPERIMENT_ID": "7", "MLFLOW_EXPERIMENT_NAME": "n"}, (None, "n", None)),
        ((None, None, None), {"MLFLOW_TRACKING_URI": "http://h", "MLRUN_RUN_ID": "x"}, (None, None, None)),
        (("http://o", None, None), {"MLRUN_RUN_ID": "x"}, ("http://o", None, None)),
    ],
)
def test_where_a_run_goes(given, environ, found):
    assert destination(*given, environ) == Destination(*found)


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "ü", "MLFLOW_TRACKING_PASSWORD": "p"}, "Basic w7w6cA=="),
        ({"MLFLOW_TRACKING_USERNAME": "only"}, None),
    ],
)  # fmt: skip
def test_credentials(small, environ, header):
    Server(address(small.uri), environ).get("experiments/get-by-name", experiment_name="Default")
    assert small.asked[0][2] == header


def test_an_answer_that_says_to_come_back(small):
    small.mood = "broken"
    with pytest.raises(UnreachableError, match="answers 500: Internal Server Error"):
        Server(address(small.uri)).post("runs/search")


def test_a_refusal_of_who_asks_names_the_variables(small):
    small.mood = "closed"
    with pytest.raises(RejectedError, match="refuses who asks: 401") as caught:
        Server(address(small.uri)).post("runs/search")
    assert "MLFLOW_TRACKING_TOKEN" in caught.value.hint


def test_another_kind_of_server(small):
    small.mood = "html"
    with pytest.raises(RejectedError, match="does not answer as an MLflow server does"):
        Server(address(small.uri)).post("runs/search")


def test_a_server_that_never_answers(small):
    small.mood = "silent"
    with pytest.raises(UnreachableError, match="does not answer: timed out"):
        Server(address(small.uri), {"MLFLOW_HTTP_REQUEST_TIMEOUT": "0.2"}).post("runs/search")


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match="Connection refused"):
            Server(address(f"http://127.0.0.1:{taken.getsockname()[1]}")).post("runs/search")


def test_files_go_through_the_proxy(small):
    Server(address(small.uri)).upload("0/a b/ü%.txt", io.BytesIO(b"12345"), 5)
    assert small.artifacts == {"0/a%20b/%C3%BC%25.txt": b"12345"}


def test_a_token_that_is_none_is_not_shown():
    with pytest.raises(PublishError, match="MLFLOW_TRACKING_TOKEN") as caught:
        Server(address("http://h"), {"MLFLOW_TRACKING_TOKEN": "s3cret\nmore"})
    assert "s3cret" not in caught.value.message + caught.value.hint


def test_certificates_that_are_not_there():
    with pytest.raises(PublishError, match="CERT_PATH"):
        Server(address("https://h"), {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/none"})
