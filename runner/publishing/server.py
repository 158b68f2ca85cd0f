"""A team's MLflow server: its REST API by the standard library, MLflow's own variables for credentials."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import IO, Any

from runner.errors import PublishError, UsageError
from runner.sources.uri import strip_userinfo
from runner.worker.values import dataclass

_PATIENCE = 30.0  # seconds for one answer
_ANSWER = 8 << 20  # bytes of an answer that are read
_COME_BACK = {408, 429, 500, 502, 503, 504}  # the same request may be answered later


class UnreachableError(PublishError):
    """No answer, or one that says to come back: later it may go well."""


class RejectedError(PublishError):
    """The server has understood, and does not want it."""

    def __init__(self, message: str, code: str, status: int, *, hint: str = "") -> None:
        """Keep MLflow's error code and the status."""
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Address:
    """Where a server is; the credentials that may stand in its URI are kept apart, and never stored."""

    uri: str  # without userinfo and without a slash at its end
    user: str = ""
    password: str = ""


def address(uri: str) -> Address:
    """Return the address that a tracking URI names; UsageError where it is not that of an HTTP server."""
    try:
        parts = urllib.parse.urlsplit(uri.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        message = f"the tracking URI {strip_userinfo(uri)!r} cannot be read: {error}"
        raise UsageError(message, hint="write http://HOST:PORT or https://HOST") from None
    if parts.scheme not in ("http", "https") or not host:
        message = f"the tracking URI {strip_userinfo(uri)!r} is not that of a server"
        hint = f"`mlflow server --backend-store-uri {strip_userinfo(uri)}` makes one of a file or database"
        raise UsageError(message, hint=f"write http://HOST:PORT or https://HOST; {hint}")
    host = f"[{host}]" if ":" in host else host
    place = host if port is None else f"{host}:{port}"
    bare = urllib.parse.urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
    return Address(bare, *(urllib.parse.unquote(part or "") for part in (parts.username, parts.password)))


_remembered: dict[str, Address] = {}


def remember(where: Address) -> None:
    """Keep the credentials that stood in a URI for as long as this process lives."""
    _remembered[where.uri] = where


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: credentials are for the server that was named."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """Return no request to go on with."""


class _Watched:
    """A file that is being sent: each piece of it that goes is noted."""

    def __init__(self, stream: IO[bytes], note: Callable[[], None]) -> None:
        self._stream, self._note = stream, note

    def read(self, size: int = -1) -> bytes:
        """Return the next piece."""
        self._note()
        return self._stream.read(size)


class Server:
    """One server, asked a question at a time."""

    def __init__(self, where: Address, environ: Mapping[str, str] = os.environ) -> None:
        """Read the credentials; nothing is asked yet."""
        self.uri = where.uri
        self._authorization = _authorization(where, environ)
        context = _context(environ) if where.uri.startswith("https:") else None
        handlers: list[Any] = [_Stay()]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)
        self._patience = _seconds(environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT"))
        self.answered = False  # whether it ever did
        self._asked: float | None = None  # when the question under way was

    def silence(self) -> float:
        """Return for how many seconds the question under way has been waiting; 0 where there is none."""
        asked = self._asked
        return 0.0 if asked is None else time.monotonic() - asked

    def get(self, path: str, /, **query: str) -> Any:
        """Return the answer to a GET; UnreachableError or RejectedError."""
        return self._ask("GET", f"api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}", None)

    def post(self, path: str, /, **body: Any) -> Any:
        """Return the answer to a POST of JSON; UnreachableError or RejectedError."""
        return self._send("POST", path, body)

    def patch(self, path: str, /, **body: Any) -> Any:
        """Return the answer to a PATCH of JSON; UnreachableError or RejectedError."""
        return self._send("PATCH", path, body)

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        data = json.dumps(body, separators=(",", ":")).encode("ascii")
        return self._ask(method, f"api/2.0/mlflow/{path}", data, "application/json")

    def upload(self, path: str, stream: IO[bytes], size: int) -> None:
        """PUT a file through the server's artifact proxy; UnreachableError or RejectedError."""
        place = urllib.parse.quote(path, errors="surrogateescape")
        body = _Watched(stream, self._note)
        self._ask("PUT", f"api/2.0/mlflow-artifacts/artifacts/{place}", body, "application/octet-stream", size)

    def _ask(self, method: str, path: str, data: Any, kind: str = "", size: int | None = None) -> Any:
        request = urllib.request.Request(f"{self.uri}/{path}", data=data, method=method)  # noqa: S310 - http(s) alone
        request.add_header("User-Agent", "mlproject-runner")
        for name, value in (("Content-Type", kind), ("Authorization", self._authorization)):
            if value:
                request.add_header(name, value)
        if size is not None:
            request.add_header("Content-Length", str(size))
        self._note()
        try:
            with self._opener.open(request, timeout=self._patience) as response:
                self.answered = True
                return _read(response.read(_ANSWER), self.uri)
        except urllib.error.HTTPError as error:
            self.answered = True
            with error:
                raise self._refusal(error) from None
        except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            message = f"the MLflow server {self.uri} does not answer: {_words(reason)}"
            raise UnreachableError(message, hint="look whether it is up, and reached from here") from None
        finally:
            self._asked = None

    def _note(self) -> None:
        self._asked = time.monotonic()

    def _refusal(self, error: urllib.error.HTTPError) -> PublishError:
        try:
            said = json.loads(error.read(_ANSWER))
            code, text = str(said.get("error_code", "")), str(said.get("message", ""))
        except (ValueError, AttributeError, OSError, HTTPException):
            code, text = "", ""
        words = " ".join((text or str(error.reason)).split())[:300]
        if error.code in (401, 403):
            message = f"the MLflow server {self.uri} refuses who asks: {error.code} {words}"
            hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            return RejectedError(message, code, error.code, hint=hint)
        message = f"the MLflow server {self.uri} answers {error.code}: {words}"
        if error.code in _COME_BACK:
            return UnreachableError(message, hint="try again later; the server's log says more")
        hint = "is it the address of an MLflow server?" if error.code in (301, 302, 307, 308, 404, 405) else ""
        return RejectedError(message, code, error.code, hint=hint)


def _read(data: bytes, uri: str) -> Any:
    try:
        return json.loads(data) if data.strip() else {}
    except ValueError:
        message = f"{uri} does not answer as an MLflow server does"
        raise RejectedError(message, "", 200, hint="is it the address of an MLflow server?") from None


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "timed out"
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _authorization(where: Address, environ: Mapping[str, str]) -> str:
    named = where if where.user else _remembered.get(where.uri, where)
    user = environ.get("MLFLOW_TRACKING_USERNAME") or named.user
    password = environ.get("MLFLOW_TRACKING_PASSWORD") or named.password
    if user and password:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    token = environ.get("MLFLOW_TRACKING_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()):
        message = "MLFLOW_TRACKING_TOKEN holds characters that no token has"
        raise PublishError(message, hint="set it to the token alone: it may have come with a line's end, or quotes")
    return f"Bearer {token}" if token else ""


def _context(environ: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None)
        if environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
            context.load_cert_chain(environ["MLFLOW_TRACKING_CLIENT_CERT_PATH"])
    except OSError as error:
        message = f"the certificates that MLFLOW_TRACKING_..._CERT_PATH name cannot be read: {_words(error)}"
        raise PublishError(message, hint="correct the paths") from None
    if environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _seconds(text: str | None) -> float:
    try:
        return max(0.1, float(text)) if text else _PATIENCE
    except ValueError:
        return _PATIENCE
