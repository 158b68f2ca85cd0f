import io
import os
import zlib

import pytest

from runner.errors import MlrunError
from runner.worker.remote.frames import LARGEST, LONGEST, Channel, Cut


def sent(*frames):
    out = io.BytesIO()
    channel = Channel(io.BytesIO(), out)
    for kind, body, head in frames:
        channel.send(kind, body, **head)
    return out.getvalue()


BODIES = [b"", b"short", b"text " * 1000, os.urandom(3000), b"large " * 100_000, os.urandom(600_000), b"\n" * 5]


def test_what_is_sent_is_received():
    data = sent(*[("kind", body, {"number": number, "name": "\udcff"}) for number, body in enumerate(BODIES)])
    channel = Channel(io.BytesIO(data), io.BytesIO())
    for number, body in enumerate(BODIES):
        frame = channel.receive()
        assert (frame.kind, frame.body) == ("kind", body)
        assert frame.head == {"number": number, "name": "\udcff"}
    with pytest.raises(Cut):
        channel.receive()


def test_what_can_be_packed_is():
    assert len(sent(("k", b"text " * 1000, {}))) < 500
    assert len(sent(("k", os.urandom(5000), {}))) < 5100


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_cut_in_the_middle_is_a_cut(keep):
    data = sent(("k", os.urandom(5000), {}))
    with pytest.raises(Cut):
        Channel(io.BytesIO(data[: int(len(data) * keep)]), io.BytesIO()).receive()


@pytest.mark.parametrize(
    "line",
    [
        b"Welcome to the lab\n", b"{}\n", b"[]\n", b'{"kind": "x", "size": -1}\n', b'{"kind": "x", "size": "1"}\n',
        b'{"kind": "x", "size": %d}\n' % (LONGEST + 1),
    ],
)  # fmt: skip
def test_what_is_no_frame_is_said(line):
    with pytest.raises(MlrunError, match="no message of mlrun"):
        Channel(io.BytesIO(line), io.BytesIO()).receive()


def packed(pieces):
    packing = zlib.compressobj(1)
    body = b"".join([*(packing.compress(piece) for piece in pieces), packing.flush()])
    return b'{"kind": "x", "size": %d, "packed": true}\n' % len(body) + body


def test_what_would_fill_the_memory_is_refused():
    whole = packed([b"text"])
    assert Channel(io.BytesIO(whole), io.BytesIO()).receive().body == b"text"
    bomb = packed(bytes(1 << 20) for _ in range((LARGEST >> 20) + 1))
    for data in (bomb, whole.replace(b"\x78\x01", b"\x00\x01")):
        with pytest.raises(MlrunError, match="what comes from the other end"):
            Channel(io.BytesIO(data), io.BytesIO()).receive()


def test_nobody_listens():
    class Closed:
        def write(self, data):
            raise BrokenPipeError

    with pytest.raises(Cut):
        Channel(io.BytesIO(), Closed()).send("k")


def test_writes_that_stop_short_go_on():
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data[:1000]))

    out = Slow()
    Channel(io.BytesIO(), out).send("k", BODIES[-2])
    assert Channel(io.BytesIO(out.getvalue()), io.BytesIO()).receive().body == BODIES[-2]
