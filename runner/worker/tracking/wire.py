"""HTTP/1.1 as clients of the endpoint speak it: requests read from a buffer, answers made as one block of bytes."""

from __future__ import annotations

import base64
import binascii
import hmac
from http import HTTPStatus
from typing import Optional
from urllib.parse import unquote_to_bytes

from runner.worker.values import dataclass

LONGEST_HEAD = 1 << 16  # bytes
LONGEST_BODY = 1 << 25  # bytes; MLflow's own server refuses batches above a megabyte
_END = b"\r\n\r\n"


class Malformed(Exception):  # noqa: N818 - an answer, not a failure
    """What was sent cannot be a request; the connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        """Keep what the client is told."""
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Head:
    """The beginning of a request, up to its body."""

    method: str
    path: str  # decoded
    query: str
    authorization: bytes
    length: int  # of the body
    size: int  # of the head itself
    keep: bool  # the connection, after the answer
    expects: bool  # the word to go on before the body is sent


def read_head(buffer: bytearray) -> Optional[Head]:
    """Return the head that a buffer begins with, None where it is not whole; Malformed where it is none."""
    end = buffer.find(_END, 0, LONGEST_HEAD + len(_END))
    if end < 0:
        if len(buffer) > LONGEST_HEAD:
            raise Malformed(431, "the head of the request is too long")
        return None
    first, *lines = bytes(buffer[:end]).split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):  # noqa: PLR2004
        raise Malformed(400, "this is no HTTP/1 request")
    headers = _headers(lines)
    path, _, query = words[1].partition(b"?")
    return Head(
        method=words[0].decode("latin-1"),
        path=unquote_to_bytes(path).decode("utf-8", "replace"),
        query=query.decode("latin-1"),
        authorization=headers.get(b"authorization", b""),
        length=_length(headers),
        size=end + len(_END),
        keep=words[2] == b"HTTP/1.1" and headers.get(b"connection", b"").lower() != b"close",
        expects=headers.get(b"expect", b"").lower() == b"100-continue",
    )


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        if not colon or not name or name != name.strip() or headers.get(name, value) != value:
            if name in headers and name not in (b"content-length", b"authorization"):
                continue
            raise Malformed(400, "a header of the request cannot be read")
        headers[name] = value
    return headers


def _length(headers: dict[bytes, bytes]) -> int:
    if b"transfer-encoding" in headers:
        raise Malformed(411, "the length of the body has to be said beforehand")
    text = headers.get(b"content-length", b"0")
    if not text.isdigit() or len(text) > 18:  # noqa: PLR2004 - more digits than any body has
        raise Malformed(400, "the length of the body cannot be read")
    length = int(text)
    if length > LONGEST_BODY:
        raise Malformed(
            413, f"the request has {length:,} bytes, and at most {LONGEST_BODY:,} are taken; send it in parts"
        )
    return length


def permits(authorization: bytes, token: bytes) -> bool:
    """Whether a request carries the run's token: as a bearer's, or as a password. Takes the same time for any other."""
    scheme, _, value = authorization.partition(b" ")
    given = value.strip()
    if scheme.lower() == b"basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            given = b""
    return hmac.compare_digest(given, token) and scheme.lower() in (b"basic", b"bearer")


def response(status: int, body: bytes, keep: bool) -> bytes:
    """Return an answer whole: sent at once, it never waits for the acknowledgement of a first half."""
    head = f"HTTP/1.1 {status} {_phrase(status)}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode("ascii") + (b"\r\n" if keep else b"Connection: close\r\n\r\n") + body


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
