"""An HTTP server on the loopback that answers from what a test gives it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answering(BaseHTTPRequestHandler):
    """Answers GET and HEAD with what ``reply`` returns, and says nothing of it."""

    def reply(self) -> tuple[int, str, bytes]:
        """Return the status, the type and the bytes of what is asked for."""
        raise NotImplementedError

    def do_GET(self) -> None:
        self.wfile.write(self.begin())

    def do_HEAD(self) -> None:
        self.begin()

    def begin(self) -> bytes:
        status, kind, body = self.reply()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return body

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def listening(handler: type[Answering]) -> Iterator[str]:
    """Serve for as long as the context lasts; yield host:port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
