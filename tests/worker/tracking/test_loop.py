"""Clients that are strangers, slow, many, greedy, or dead in the middle of a request."""

import http.client
import json
import os
import resource
import socket
import struct
import threading
import time

import pytest

from runner.worker.tracking import loop, wire
from tests.worker.tracking.conftest import TOKEN, basic, launch, lines, until

HEAD = f"POST /api/2.0/mlflow/runs/log-metric HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"


def request(served, **fields):
    body = json.dumps({"run_id": served.id, "key": "m", "value": 1, **fields})
    return f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def answer(stream):
    """Read one answer; b"" where the connection is closed without one."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(4096)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += stream.recv(4096)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN},
        {"Authorization": basic("mlrun", "wrong")}, {"Authorization": basic(TOKEN, "")},
        {"Authorization": "Basic ???"}, {"Authorization": f"Digest {TOKEN}"},
    ],
)  # fmt: skip
def test_a_stranger_is_refused(served, headers):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    status, data = served.ask("POST", "runs/log-metric", b"{}", headers=headers, connection=connection)
    connection.close()
    assert (status, data["error_code"]) == (401, "UNAUTHENTICATED")
    assert TOKEN not in json.dumps(data)
    assert not served.run.metrics.exists()


def test_the_token_is_a_password_too(served):
    assert (
        served.ask("GET", "runs/get", {"run_id": served.id}, headers={"Authorization": basic("any", TOKEN)})[0] == 200
    )


def test_a_stranger_s_body_is_never_kept(served):
    before = served.memory()
    with served.raw() as stream:
        stream.sendall(b"POST /api/2.0/mlflow/runs/log-batch HTTP/1.1\r\nContent-Length: 30000000\r\n\r\n")
        assert b" 401 " in answer(stream)
        for _ in range(30):
            stream.sendall(bytes(1 << 20))
        assert served.memory() - before < 5 << 20


def test_one_connection_takes_one_request_after_the_other_also_at_once(served):
    with served.raw() as stream:
        for _ in range(3):
            stream.sendall(request(served))
            assert b" 200 " in answer(stream)
        stream.sendall(request(served) * 20)
        got = b""
        while got.count(b"HTTP/1.1 200") < 20:
            got += stream.recv(1 << 16)
    assert len(lines(served.run.metrics)) == 23


def test_a_request_may_come_byte_by_byte(served):
    with served.raw() as stream:
        for byte in request(served):
            stream.send(bytes([byte]))
        assert b" 200 " in answer(stream)


def test_an_answer_comes_whole_and_at_once(served):
    """A second write would wait for the acknowledgement of the first one: 40 ms, each time."""
    with served.raw() as stream:
        for _ in range(50):
            stream.sendall(request(served))
            got = stream.recv(1 << 16)
            assert got.startswith(b"HTTP/1.1 200 ")
            assert got.endswith(b"\r\n\r\n{}")


def test_who_waits_for_leave_to_send_gets_it(served):
    body = json.dumps({"run_id": served.id, "key": "m", "value": 1}).encode()
    with served.raw() as stream:
        stream.sendall(f"{HEAD}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert stream.recv(100).startswith(b"HTTP/1.1 100 ")
        stream.sendall(body)
        assert b" 200 " in answer(stream)


def test_http_1_0_closes(served):
    with served.raw() as stream:
        head = f"GET /api/2.0/mlflow/runs/get?run_id={served.id} HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        stream.sendall(head.encode())
        assert b" 200 " in answer(stream)
        assert stream.recv(1) == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n", 400),
        (b"GET /" + b"x" * (1 << 17), 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * (1 << 17) + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_answered_and_closed(served, sent, status):
    with served.raw() as stream:
        stream.sendall(sent)
        got = answer(stream)
        assert f"HTTP/1.1 {status} ".encode() in got
        assert set(json.loads(got.partition(b"\r\n\r\n")[2])) == {"error_code", "message"}
        assert stream.recv(1) == b""
    assert served.data()["info"]["run_id"] == served.id


def test_a_batch_of_a_million_keys_is_refused_while_it_comes(served):
    body = b'{"params":[' + b",".join(b'{"key":"%07d","value":"value"}' % number for number in range(1_100_000)) + b"]}"
    assert len(body) > wire.LONGEST_BODY
    before = served.memory()
    status, data = served.ask("POST", "runs/log-batch", body)
    assert status == 413
    assert "send it in parts" in data["message"]
    assert served.memory() - before < 10 << 20


def test_a_batch_of_a_million_keys_that_fits_is_refused_before_anything_is_made_of_it(served):
    body = b'{"params":[' + b",".join(b'{"key":"%06d","value":"v"}' % number for number in range(1_000_000)) + b"]}"
    assert len(body) < wire.LONGEST_BODY
    before = served.memory()
    status, data = served.ask("POST", "runs/log-batch", body)
    assert (status, data["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "1,000,000 entries" in data["message"]
    assert served.memory() - before < 100 << 20  # the body itself; its entries would be four times that
    assert not served.run.tracking.exists()


def test_a_batch_of_a_hundred_thousand_keys_is_taken(served):
    params = [{"key": f"{number:07}", "value": "v"} for number in range(100_000)]
    assert served.post("runs/log-batch", run_id=served.id, params=params) == {}
    assert len(served.data()["data"]["params"]) == 100_000


def test_a_thousand_connections_at_once(served):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    streams = []
    try:
        for _ in range(1000):
            streams.append(served.raw())
            streams[-1].sendall(request(served)[:-5])  # each of them keeps it waiting
        served.post("runs/log-metric", run_id=served.id, key="m", value=2)
        for stream in streams:
            stream.sendall(request(served)[-5:])
        assert all(b" 200 " in answer(stream) for stream in streams)
    finally:
        for stream in streams:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(lines(served.run.metrics)) == 1001


def test_a_client_that_dies_in_the_middle_harms_nobody(served):
    whole = request(served)
    for cut in (1, 30, len(whole) - 1, len(whole)):
        stream = served.raw()
        stream.sendall(whole[:cut])
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, as after KILL
        stream.close()
    served.post("runs/log-metric", run_id=served.id, key="alive", value=1)
    assert {each["name"] for each in lines(served.run.metrics)} <= {"m", "alive"}
    assert served.process.poll() is None


def test_an_answer_that_nobody_takes_blocks_nobody(served):
    batch = [{"key": "m", "value": number, "step": number} for number in range(50_000)]
    served.post("runs/log-batch", run_id=served.id, metrics=batch)
    path = f"/api/2.0/mlflow/metrics/get-history?run_id={served.id}&metric_key=m"
    with served.raw() as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert len(served.get("metrics/get-history", run_id=served.id, metric_key="m")["metrics"]) == 50_000
        assert len(json.loads(answer(stream).partition(b"\r\n\r\n")[2])["metrics"]) == 50_000


def test_memory_stays_flat(served):
    def log(start):
        for begin in range(start, start + 50_000, 1000):
            points = [
                {"key": "loss", "value": step, "step": step, "timestamp": step} for step in range(begin, begin + 1000)
            ]
            served.post("runs/log-batch", run_id=served.id, metrics=points)

    log(0)
    before = served.memory()
    log(50_000)
    assert served.memory() - before < 3 << 20


def test_what_was_sent_before_the_end_is_answered(served):
    streams = [served.raw() for _ in range(50)]
    for stream in streams:
        stream.sendall(request(served))
    half = served.raw()
    half.sendall(request(served)[:-1])
    assert served.end() == 0  # half a request is not waited for
    assert all(b" 200 " in answer(stream) for stream in streams)
    for stream in (*streams, half):
        stream.close()
    assert len(lines(served.run.metrics)) == 50


def test_where_the_worker_dies_it_ends_with_the_command(run):
    served = launch(run)
    served.post("runs/log-metric", run_id=served.id, key="m", value=1)
    os.close(served.lifeline)  # as the kernel does for a worker that was killed; there is no start.json: no command
    assert served.process.wait(5) == 0
    served.connection.close()


def _is_let_go(stream):
    """Whether a client that keeps saying something has lost its connection."""
    try:
        stream.sendall(b"x")
    except ConnectionError:
        return True
    return False


def test_a_request_that_never_ends_is_let_go(monkeypatch):
    monkeypatch.setattr(loop, "PATIENCE", 0.3)
    listening = socket.create_server(("127.0.0.1", 0))
    reading, writing = os.pipe()
    serving = loop.Loop(listening, b"t", lambda _head, _body: (200, b"{}"), lambda *_: b"{}")
    thread = threading.Thread(target=serving.until, args=(reading, lambda: False))
    thread.start()
    try:
        with socket.create_connection(listening.getsockname(), timeout=5) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\nAuthorization: Bearer t\r\nContent-Length: 1000000\r\n\r\n")
            assert until(lambda: _is_let_go(slow), 20)
        with socket.create_connection(listening.getsockname(), timeout=5) as idle:
            time.sleep(1.2)
            idle.sendall(b"GET / HTTP/1.1\r\nAuthorization: Bearer t\r\n\r\n")
            assert b" 200 " in answer(idle)
    finally:
        os.write(writing, b".")
        thread.join(5)
        listening.close()
        os.close(reading)
        os.close(writing)


def test_where_the_disk_is_full_the_client_is_told_at_once(run):
    run.metrics.symlink_to("/dev/full")
    served = launch(run)
    status, code, message = served.refusal("runs/log-metric", run_id=served.id, key="m", value=1)
    assert (status, code) == (507, "RESOURCE_EXHAUSTED")
    assert "No space left" in message
    assert served.end() == 0
