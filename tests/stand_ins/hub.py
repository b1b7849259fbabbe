"""A Hugging Face hub on this machine: one model's files over HTTP, with what the client library asks of a hub.

Trust it for which files are asked for and how an absent one is answered; not for redirects to other hosts, revisions,
tokens or gated models.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Answer for the files of one repository, and remember what was fetched."""

    def __init__(self, repository: str, files: Mapping[str, bytes]) -> None:
        self.repository = repository
        self.files = files
        self.fetched: list[tuple[str, int]] = []  # name, bytes sent

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve in the background, and give the address."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=10)
            server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        """Answer one request."""
        _, found, name = request.path.partition(f"/{self.repository}/resolve/main/")
        content = self.files.get(name) if found else None
        if content is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound" if found else "RepoNotFound")
            request.send_header("X-Repo-Commit", COMMIT)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        first, last = 0, len(content) - 1
        if asked := request.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        part = content[first : last + 1]
        request.send_response(206 if asked else 200)
        request.send_header("ETag", f'"{name}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        request.send_header("Content-Length", str(len(part)))
        request.end_headers()
        if body:
            request.wfile.write(part)
            self.fetched.append((name, len(part)))
