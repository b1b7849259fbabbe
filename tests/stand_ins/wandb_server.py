"""A server that takes a W&B run as far as wandb 0.31 asks one to, on this machine, and can fall silent."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer(ThreadingHTTPServer):
    """Keep what was sent."""

    daemon_threads = True

    def __init__(self, *, silent_after_start: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.silent_after_start = silent_after_start
        self.asked: list[dict[str, Any]] = []  # GraphQL
        self.history: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}
        self.started, self.ending = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "WandbServer":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.server.silent_after_start and self.server.started.is_set():
            self.server.ending.wait(60)
            return
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            answer = self._answer_query(json.loads(body))
        else:
            if self.path.endswith("/file_stream"):
                sent = json.loads(body).get("files", {}).get("wandb-history.jsonl", {"content": []})
                self.server.history += [json.loads(line) for line in sent["content"]]
        self._send(json.dumps(answer).encode())

    def do_PUT(self) -> None:
        self.server.uploads[self.path.removeprefix("/upload/")] = self.rfile.read(
            int(self.headers.get("content-length", 0))
        )
        self._send(b"")

    def _answer_query(self, query: dict[str, Any]) -> dict[str, Any]:
        self.server.asked.append(query)
        variables = query.get("variables", {})
        match query.get("operationName"):
            case "UpsertBucket":
                self.server.started.set()
                project = {"id": "2", "name": variables.get("project"), "entity": {"id": "3", "name": "someone"}}
                bucket = {"id": "1", "name": variables["name"], "displayName": variables["name"], "config": "{}"}
                return {"data": {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True}}}
            case "CreateRunFiles":
                files = [{"name": n, "uploadUrl": f"{self.server.url}/upload/{n}"} for n in variables["files"]]
                return {"data": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}}
            case "CreateArtifact":  # there already, so that nothing is uploaded
                return {"data": {"createArtifact": {"artifact": {"id": "4", "state": "COMMITTED"}}}}
            case _ if "viewer" in query["query"]:
                return {"data": {"viewer": {"id": "5", "entity": "someone", "username": "someone"}}}
            case _:
                return {"data": {"project": None}}

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""
