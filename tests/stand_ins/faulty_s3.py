"""An HTTP server before moto's: passes every call on, and spoils those that the test chooses."""

import enum
import http.client
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIMIT_S = 30
ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>by request</Message></Error>'


class Fault(enum.Enum):
    """What happens to a call. The first four are answers of S3's, with its code and status."""

    INTERNAL_ERROR = ("InternalError", 500)
    UNAVAILABLE = ("ServiceUnavailable", 503)
    SLOW_DOWN = ("SlowDown", 503)
    ACCESS_DENIED = ("AccessDenied", 403)
    DROP_REQUEST = "half of the body is read, then the connection is reset"
    LOSE_ANSWER = "the call is carried out, and the connection closed without an answer"
    DROP_ANSWER = "half of the answer's body is sent, then the connection is closed"
    SHORTEN_ANSWER = "half of the answer's body is sent as if it were the whole"
    FLIP_BIT = "one bit of the answer's body is another one"


@dataclass(frozen=True)
class Call:
    """A call as it came; `key` is the bucket and what follows."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]


class FaultyS3(ThreadingHTTPServer):
    """Ask `choose` for each call; it may also wait, and so keep the call waiting."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, behind: str, choose: Callable[[Call], Fault | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urllib.parse.urlsplit(behind).netloc
        self.choose = choose
        self.calls: list[Call] = []
        self.spoiled: list[Call] = []
        self.lock = threading.Lock()
        # S3 decides If-None-Match for one writer after the other; of moto's threads that is not known.
        self.conditional = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "FaultyS3":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients that were cut off, or killed, are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultyS3
    protocol_version = "HTTP/1.1"
    timeout = LIMIT_S

    def handle_call(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, urllib.parse.unquote(url.path)[1:], query, headers)
        with self.server.lock:
            self.server.calls.append(call)
        fault = self.server.choose(call)
        if fault is not None:
            with self.server.lock:
                self.server.spoiled.append(call)
        size_bytes = int(self.headers.get("content-length", 0))
        if fault is Fault.DROP_REQUEST:
            self.rfile.read(size_bytes // 2)
            self._reset()
            return
        body = self.rfile.read(size_bytes)
        if fault is not None and isinstance(fault.value, tuple):
            code, status = fault.value
            self._send(status, {"content-type": "application/xml"}, ERROR.format(code=code).encode())
            return
        status, headers, content = self._pass_on(body)
        if fault is Fault.LOSE_ANSWER:
            self._reset()
        elif fault is Fault.DROP_ANSWER:
            self._send(status, headers, content[: len(content) // 2], promised_bytes=len(content))
            self.close_connection = True
        elif fault is Fault.SHORTEN_ANSWER:
            self._send(status, headers, content[: len(content) // 2])
        elif fault is Fault.FLIP_BIT:
            self._send(status, headers, bytes([content[0] ^ 1]) + content[1:])
        else:
            self._send(status, headers, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_call

    def _pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        connection = http.client.HTTPConnection(self.server.behind, timeout=LIMIT_S)
        try:
            if "if-none-match" in self.headers:
                with self.server.conditional:
                    connection.request(self.command, self.path, body=body, headers=headers)
                    answer = connection.getresponse()
            else:
                connection.request(self.command, self.path, body=body, headers=headers)
                answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _send(
        self, status: int, headers: dict[str, str], content: bytes, *, promised_bytes: int | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        if self.command == "HEAD":
            self.send_header("content-length", headers.get("Content-Length", "0"))
        else:
            self.send_header("content-length", str(len(content) if promised_bytes is None else promised_bytes))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        if self.connection.fileno() != -1:
            super().finish()

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""
