"""The server's loop: one thread, any number of connections, none of which can make another wait for it."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from typing import Callable, Union

from runner.worker.tracking.wire import Head, Malformed, permits, read_head, response

Answer = Callable[[Head, bytes], tuple[int, bytes]]
Refuse = Callable[[int, str, str], bytes]

PATIENCE = 60.0  # seconds a request may take to arrive, and an answer to be taken
_ROOM = 4096  # connections at once; fewer where the system gives fewer descriptors
_SPARE = 32  # descriptors for files
_PIECE = 1 << 18  # bytes read at a time
_LINGER = 2.0  # seconds in which what a refused client still sends is read and thrown away
_SWEEP = 0.5  # seconds between looks for connections that are late
_QUIET = 0.02  # seconds without a word after which nothing more is in flight
_LAST = 2.0  # seconds for what is in flight at the end
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection:
    """One client, and what is under way with it."""

    def __init__(self, stream: socket.socket) -> None:
        """Begin to listen."""
        self.stream = stream
        self.received = bytearray()
        self.head: Union[Head, None] = None  # of the request whose body is awaited
        self.waiting = bytearray()  # of the answer, what the client has not taken yet
        self.ending = False  # after what is waiting
        self.deaf = False  # what still comes is thrown away
        self.since = time.monotonic()  # the last time it was at rest, or said something while at rest

    @property
    def busy(self) -> bool:
        """Whether a request or an answer is under way."""
        return bool(self.received or self.head or self.waiting or self.deaf)


class Loop:
    """Serves the connections of one listening socket until it is told to end."""

    def __init__(self, listening: socket.socket, token: bytes, answer: Answer, refuse: Refuse) -> None:
        """Take the socket over; ``answer`` makes status and body of a request that carries the token."""
        self._listening, self._token = listening, token
        self._answer, self._refuse = answer, refuse
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, Connection] = {}
        self._room = _raise_limit()
        listening.setblocking(False)
        self._selector.register(listening, selectors.EVENT_READ)

    def until(self, lifeline: int, abandoned: Callable[[], bool]) -> None:
        """Serve until a byte comes through ``lifeline``; where it closes without one, until ``abandoned``."""
        self._selector.register(lifeline, selectors.EVENT_READ)
        orphaned, swept = False, time.monotonic()
        while not (orphaned and abandoned()):
            for key in self._turn(_SWEEP):
                if os.read(key, 1):
                    self._finish()
                    return
                self._selector.unregister(lifeline)
                orphaned = True
            if time.monotonic() - swept > _SWEEP:
                swept = time.monotonic()
                self._sweep(swept)
        self._finish()

    def _turn(self, seconds: float) -> list[int]:
        """Serve once whoever is ready; return descriptors that are no connection's."""
        others = []
        for key, _ in self._selector.select(seconds):
            connection = self._connections.get(key.fd)
            if key.fileobj is self._listening:
                self._accept()
            elif connection is not None:
                self._serve(connection)
            else:
                others.append(key.fd)
        return others

    def _finish(self) -> None:
        """Answer what is in flight; who has only begun to speak is not waited for."""
        deadline = time.monotonic() + _LAST
        while time.monotonic() < deadline and self._is_active():
            pass
        for connection in list(self._connections.values()):
            self._close(connection)

    def _is_active(self) -> bool:
        for key, _ in (ready := self._selector.select(_QUIET)):
            connection = self._connections.get(key.fd)
            if key.fileobj is self._listening:
                self._accept()
            elif connection is not None:
                self._serve(connection)
            else:
                self._selector.unregister(key.fileobj)
        return bool(ready)

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listening.accept()
            except OSError:  # nobody any more; or no descriptor left, and the next turn tries again
                return
            stream.setblocking(False)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self._connections) >= self._room:
                # A client whose idle connection has gone opens another; a talking one would lose a request.
                self._close(min(self._connections.values(), key=lambda each: (each.busy, each.since)))
            self._connections[stream.fileno()] = Connection(stream)
            self._selector.register(stream, selectors.EVENT_READ)

    def _serve(self, connection: Connection) -> None:
        try:
            if connection.waiting:
                self._send(connection)
            elif self._receive(connection):
                self._converse(connection)
        except BlockingIOError:
            return
        except OSError:  # it has gone, in the middle of a request or not
            self._close(connection)

    def _receive(self, connection: Connection) -> bool:
        """Read what has come; return whether it is to be looked at."""
        data = connection.stream.recv(_PIECE)
        if not data:
            self._close(connection)
            return False
        if connection.deaf:
            return False
        if not connection.busy:
            connection.since = time.monotonic()
        connection.received += data
        return True

    def _converse(self, connection: Connection) -> None:
        """Answer every request that is whole, one after the other."""
        while not connection.waiting and not connection.ending:
            try:
                if not self._step(connection):
                    return
            except Malformed as refused:
                self._reject(connection, refused.status, "BAD_REQUEST", refused.message)

    def _step(self, connection: Connection) -> bool:
        head = connection.head = connection.head or self._next_head(connection)
        if head is None or connection.ending or len(connection.received) < head.length:
            return False
        body = bytes(memoryview(connection.received)[: head.length])
        del connection.received[: head.length]
        connection.head = None
        connection.ending = not head.keep
        status, answer = self._answer(head, body)
        self._say(connection, response(status, answer, head.keep))
        return True

    def _next_head(self, connection: Connection) -> Union[Head, None]:
        head = read_head(connection.received)
        if head is None:
            return None
        del connection.received[: head.size]
        if not permits(head.authorization, self._token):  # before the body: a stranger's is never kept
            message = "this endpoint belongs to one run: MLFLOW_TRACKING_TOKEN of its command is missing or wrong"
            self._reject(connection, 401, "UNAUTHENTICATED", message)
            return None
        if head.expects and len(connection.received) < head.length:
            connection.stream.send(_GO_ON)
        return head

    def _reject(self, connection: Connection, status: int, code: str, message: str) -> None:
        """Answer, and read what still comes without keeping it: a reset would take the answer with it."""
        connection.ending = connection.deaf = True
        connection.received.clear()
        connection.since = time.monotonic() - PATIENCE + _LINGER
        self._say(connection, response(status, self._refuse(status, code, message), False))

    def _say(self, connection: Connection, data: bytes) -> None:
        connection.waiting += data
        if not connection.deaf:
            connection.since = time.monotonic()
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = connection.stream.send(connection.waiting)
            del connection.waiting[:sent]
        events = selectors.EVENT_WRITE if connection.waiting else selectors.EVENT_READ
        if self._selector.get_key(connection.stream).events != events:
            self._selector.modify(connection.stream, events)
            if not connection.waiting and connection.received and not connection.ending:
                self._converse(connection)
        if connection.ending and not connection.waiting:
            if connection.deaf:
                connection.stream.shutdown(socket.SHUT_WR)
            else:
                self._close(connection)

    def _sweep(self, now: float) -> None:
        """Let go of who is late: a request that never ends, an answer that nobody takes."""
        for connection in list(self._connections.values()):
            if connection.busy and now - connection.since > PATIENCE:
                self._close(connection)

    def _close(self, connection: Connection) -> None:
        if self._connections.pop(connection.stream.fileno(), None) is not None:
            self._selector.unregister(connection.stream)
            connection.stream.close()


def _raise_limit() -> int:
    """Allow this process as many descriptors as it may have; return how many connections that gives room for."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ROOM + _SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _ROOM if soft == resource.RLIM_INFINITY else max(8, min(_ROOM, soft - _SPARE))
