"""The local page: a small web server that answers about dropped pictures."""

from __future__ import annotations

import contextlib
import html
import json
import math
import secrets
import socket
import sys
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image, UnidentifiedImageError

from ..faces import FaceReadError, decode_face
from .analysis import MODES, NoFaceError, PictureAnalyst
from .guard import RateLimit, allowed_host, is_loopback, right_token
from .model_blocks import model_facts
from .report import RESPONSIBLE_USE

__all__ = ["Limits", "PageServer"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
# all that can be asked for; nothing of a request ever becomes the name of a file
_ASSETS = {
    "/serve.css": ("serve.css", "text/css; charset=utf-8"),
    "/serve.js": ("serve.js", "text/javascript; charset=utf-8"),
}
_BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_MODE_HEADER = "X-Adafer-Mode"


@dataclass(frozen=True)
class Limits:
    """What a request may ask for.

    Attributes
    ----------
    max_bytes : int
        Of an uploaded file.
    max_pixels : int
        Of the picture in it.
    per_second, at_once : float, int
        Pictures per client, see `RateLimit`.
    connections : int
        At the same time; more are turned away.
    waiting : int
        Pictures that wait for their turn; more are turned away.
    read_seconds : float
        Time to send a request.
    """

    max_bytes: int = 15 * 2**20
    max_pixels: int = 25_000_000
    per_second: float = 4.0
    at_once: int = 40
    connections: int = 16
    waiting: int = 6
    read_seconds: float = 30.0


class PageServer(ThreadingHTTPServer):
    """Serves the page on one address; `serve_forever` runs it.

    Parameters
    ----------
    analyst : PictureAnalyst
        Ready to work; asked by one request at a time.
    host : str, default="127.0.0.1"
        Name or address to listen on.
    port : int, default=8765
        0 takes a free one.
    token : str or None, default=None
        What requests must bear. On addresses that other machines can reach there
        is always one; None draws it.
    title : str, default="adafer"
        What the page calls the model.
    limits : Limits, optional

    Attributes
    ----------
    url : str
        Where to look, with the token if there is one.
    is_local : bool
        Whether only this machine can reach it.

    Raises
    ------
    OSError
        If the address cannot be taken.
    """

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it would share the port
    request_queue_size = 32

    def __init__(
        self,
        analyst: PictureAnalyst,
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        token: str | None = None,
        title: str = "adafer",
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._analyst = analyst
        self._host = host
        try:
            family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise OSError(
                f"The host {host!r} is no address of this machine ({error}). Use 127.0.0.1."
            ) from error
        self.address_family = family
        address = str(place[0])
        self.is_local = is_loopback(address)
        self.token = token if token or self.is_local else secrets.token_urlsafe(24)
        self._rate = RateLimit(self.limits.per_second, self.limits.at_once)
        self._connections = threading.BoundedSemaphore(self.limits.connections)
        self._queue = threading.BoundedSemaphore(self.limits.waiting)
        self._turn = threading.Lock()
        self.page = _page(analyst, title, self.limits)
        try:
            super().__init__((address, port), _Handler)
        except OSError as error:
            raise OSError(
                f"Port {port} of {host} cannot be taken ({error.strerror}). Choose another --port, "
                "or 0 for a free one."
            ) from error
        shown = f"[{address}]" if ":" in address else address
        self.url = f"http://{shown}:{self.server_port}/"
        if self.token:
            self.url += f"?token={self.token}"

    @property
    def cookie(self) -> str:
        """Name of the cookie: browsers keep one jar for all ports of a host."""
        return f"adafer-{self.server_port}"

    def server_bind(self) -> None:
        """Bind without asking name servers for the machine's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, self.allow_reuse_address)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    # ------------------------------------------------------------------ connections

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread, unless too many are at work."""
        if not self._connections.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of errors in one line; clients that went away are none."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            print(f"adafer: error: {type(error).__name__}: {error}", file=sys.stderr)

    def close_gently(self, seconds: float = 10.0) -> None:
        """Close, once the picture in work is done or the time is over."""
        self.server_close()
        if self._turn.acquire(timeout=seconds):
            self._turn.release()

    # ---------------------------------------------------------------------- judging

    def allows_host(self, header: str) -> bool:
        """Judge a Host header, see `allowed_host`."""
        return allowed_host(header, bound=self._host, loopback=self.is_local)

    def seconds_to_wait(self, client: str) -> float:
        """Count a picture of a client, see `RateLimit`."""
        return self._rate.seconds_to_wait(client)

    def answer(self, content: bytes, mode: Any) -> tuple[HTTPStatus, dict[str, Any]]:
        """Look at an uploaded picture, one after the other.

        Parameters
        ----------
        content : bytes
            Of the file.
        mode : {"auto", "crop", "photograph"}

        Returns
        -------
        status : HTTPStatus
        found : dict
            As `PictureAnalyst.analyse` gives it, or ``error``.
        """
        if not self._queue.acquire(blocking=False):
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "Too many pictures wait. Try again."}
        try:
            with self._turn:
                image = decode_face(content, max_pixels=self.limits.max_pixels)
                return HTTPStatus.OK, self._analyst.analyse(image, mode)
        except FaceReadError as error:
            return HTTPStatus.UNPROCESSABLE_ENTITY, {"error": self._unreadable(error)}
        except (NoFaceError, ValueError) as error:
            return HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)}
        finally:
            self._queue.release()

    def _unreadable(self, error: FaceReadError) -> str:
        cause = error.__cause__
        if isinstance(cause, UnidentifiedImageError):
            return "This file is no picture in a format that is read here, such as JPEG or PNG."
        if isinstance(cause, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            most = self.limits.max_pixels / 1e6
            return f"The picture has more than {most:g} megapixels. Make it smaller."
        return "The picture is damaged or cut short."


def _page(analyst: PictureAnalyst, title: str, limits: Limits) -> bytes:
    """Fill the page with what it says of the model; all of it is escaped."""
    template = _asset("serve.html")
    facts = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>"
        for name, text in model_facts(analyst.classifier).items()
    )
    aligns = analyst.aligner is not None
    for name, text in {
        "title": html.escape(title),
        "facts": facts,
        "responsible": html.escape(RESPONSIBLE_USE),
        "max_bytes": str(limits.max_bytes),
        "megabytes": f"{limits.max_bytes / 2**20:g}",
        "megapixels": f"{limits.max_pixels / 1e6:g}",
        "photograph": "" if aligns else "disabled",
        "crops": ""
        if aligns
        else "<p>Pictures are taken for face crops, since what finds and aligns faces in "
        'photographs is not installed: <code>pip install "adafer[align]"</code>.</p>',
    }.items():
        template = template.replace("{{" + name + "}}", text)
    return template.encode()


def _asset(name: str) -> str:
    return files("adafer.pages").joinpath("assets", name).read_text(encoding="utf-8")


class _Refused(Exception):
    """A request that gets an error."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _Handler(BaseHTTPRequestHandler):
    """One request per connection."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 15
    _unread = True  # the body

    def setup(self) -> None:
        super().setup()
        # a request that trickles in must not hold its thread for ever
        self._deadline = threading.Timer(self.server.limits.read_seconds, self._stop_reading)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def _stop_reading(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def do_GET(self) -> None:
        self._respond(self._get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._respond(self._post)

    def _respond(self, act: Any) -> None:
        self.close_connection = True
        try:
            self._judge()
            act()
        except _Refused as refused:
            self._drain()
            self._send_json(refused.status, {"error": str(refused)}, refused.headers)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            print(f"adafer: error: {type(error).__name__}: {error}", file=sys.stderr)
            self._send_json(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                {"error": "This picture cannot be looked at; the terminal says why."},
                {},
            )

    # --------------------------------------------------------------------- judging

    def _judge(self) -> None:
        """Refuse other sites, and those without the token."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not self.server.allows_host(hosts[0]):
            raise _Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This page answers to its own address only, such as 127.0.0.1 or localhost.",
            )
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].strip().lower():
            raise _Refused(HTTPStatus.FORBIDDEN, "Other sites may not ask this page.")
        came_from = self.headers.get("Sec-Fetch-Site", "none")
        if self.command == "POST" and came_from not in ("none", "same-origin"):
            raise _Refused(HTTPStatus.FORBIDDEN, "Other sites may not ask this page.")
        token = self.server.token
        if token is None or self._enters():
            return
        if not right_token(
            token,
            cookies=self.headers.get("Cookie"),
            authorization=self.headers.get("Authorization"),
            name=self.server.cookie,
        ):
            raise _Refused(
                HTTPStatus.UNAUTHORIZED,
                "A token is needed: open the address that `adafer serve` printed.",
                WWW_Authenticate='Bearer realm="adafer"',
            )

    def _enters(self) -> bool:
        """Whether this is the printed address, which brings the token."""
        target = urlsplit(self.path)
        given = parse_qs(target.query).get("token", [""])[0]
        return (
            self.command == "GET"
            and target.path == "/"
            and secrets.compare_digest(given.encode(), str(self.server.token).encode())
        )

    # --------------------------------------------------------------------- answers

    def _get(self) -> None:
        if self.path == "/":
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8", {})
        elif self.server.token is not None and self._enters():
            # the token leaves the address bar, and with it the browser's history
            cookie = f"{self.server.cookie}={self.server.token}; Path=/; HttpOnly; SameSite=Lax"
            self._send(
                HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": "/", "Set-Cookie": cookie}
            )
        elif self.path in _ASSETS:
            name, kind = _ASSETS[self.path]
            self._send(HTTPStatus.OK, _asset(name).encode(), kind, {})
        elif self.path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon", {})
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "There is no such page.")

    def _post(self) -> None:
        if self.path != "/analyse":
            raise _Refused(HTTPStatus.NOT_FOUND, "There is no such page.")
        # a header that forms of other sites cannot send
        mode = self.headers.get(_MODE_HEADER)
        if mode not in MODES:
            raise _Refused(
                HTTPStatus.BAD_REQUEST, f"{_MODE_HEADER} must be one of {', '.join(MODES)}."
            )
        wait = self.server.seconds_to_wait(str(self.client_address[0]))
        if wait > 0:
            raise _Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many pictures in a short time. Wait a moment.",
                Retry_After=str(math.ceil(wait)),
            )
        status, found = self.server.answer(self._read_body(), mode)
        self._send_json(status, found, {})

    def _read_body(self) -> bytes:
        limit = self.server.limits.max_bytes
        text = self.headers.get("Content-Length")
        if "Transfer-Encoding" in self.headers or text is None:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "The length of the picture must be told.")
        if not (text.isascii() and text.isdigit() and len(text) < 16) or int(text) == 0:
            raise _Refused(HTTPStatus.BAD_REQUEST, "The picture is empty.")
        length = int(text)
        if length > limit:
            raise _Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The file has more than {limit / 2**20:g} MB. Make the picture smaller.",
            )
        self._unread = False
        content = self.rfile.read(length)
        self._deadline.cancel()
        if len(content) < length:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "The picture did not arrive in full.")
        return content

    def _drain(self) -> None:
        """Throw a refused picture away: browsers show no answer while they still send."""
        text = self.headers.get("Content-Length", "")
        left = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
        left = min(left, 4 * self.server.limits.max_bytes)
        while self._unread and left > 0 and (piece := self.rfile.read(min(left, 2**16))):
            left -= len(piece)

    def _send_json(self, status: HTTPStatus, found: dict[str, Any], headers: dict) -> None:
        content = json.dumps(found, allow_nan=False).encode()
        self._send(status, content, "application/json", headers)

    def _send(self, status: HTTPStatus, content: bytes, kind: str, headers: dict) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no proper request in the same way as all others."""
        self.close_connection = True
        self._send_json(HTTPStatus(code), {"error": message or HTTPStatus(code).phrase}, {})

    def version_string(self) -> str:
        """Tell no versions."""
        return "adafer"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep no record of who looked at what."""
