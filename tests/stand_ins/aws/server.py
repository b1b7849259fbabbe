"""The door with a socket: AWS over HTTP for real boto3, the aws CLI and whatever else a subprocess brings.

S3 is moto's, in a server of its own that this one forwards to. All else is the simulator's, on the wall clock. In
between stand the record, the rights and the faults, for S3 too. Faults that strike a process (Interrupted, JobLost,
MomentFault) have no place here: a test ends the process itself.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.server import ThreadedMotoServer
from tests.stand_ins.aws.api import RECORDED_BODY_CHARS, ApiError, Request
from tests.stand_ins.aws.core import HostMaker, Simulator
from tests.stand_ins.aws.credentials import find_caller, make_access_key
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import AnswerLost, Failure, Refused, Unreachable
from tests.stand_ins.aws.metadata import PREFIX as METADATA_PREFIX
from tests.stand_ins.aws.metadata import answer_metadata
from tests.stand_ins.aws.timeline import WallTime
from tests.stand_ins.aws.wire import (
    HttpAnswer,
    HttpRequest,
    describe_s3,
    parse_params,
    read_credential,
    read_operation,
    render_answer,
    render_error,
)
from tests.stand_ins.aws.world import World

HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}
MAX_CHUNK_LINE = 1024


class NoAnswer(Exception):
    """The connection is to be closed without an answer."""


class AwsServer:
    """One simulated account over HTTP. `url` is what AWS_ENDPOINT_URL has to be."""

    def __init__(
        self, make_host: HostMaker, *, world: World | None = None, faults: Faults | None = None, port: int = 0
    ) -> None:
        self.timeline = WallTime()
        self.simulator = Simulator(self.timeline, make_host, world=world, faults=faults)
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _make_handler(self))
        self._server.daemon_threads = True
        self.url = self.simulator.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serve(self) -> Iterator[AwsServer]:
        """Answer in threads; at the end no instance is left, and a mistake of the simulator's is raised."""
        self._moto.start()
        thread = threading.Thread(target=self._server.serve_forever, name="aws")
        thread.start()
        try:
            with self._buckets(), self.timeline:
                try:
                    yield self
                finally:
                    self._end_instances()
        finally:
            self._server.shutdown()
            thread.join(timeout=10)
            self._server.server_close()
            self._moto.stop()
        if self.timeline.failures:
            raise self.timeline.failures[0]

    def make_environment(self, caller: str) -> dict[str, str]:
        """Give the variables with which boto3 and the aws CLI come here, as that caller."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": make_access_key(caller),
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": self.simulator.world.region,
            "AWS_REGION": self.simulator.world.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @contextmanager
    def _buckets(self) -> Iterator[None]:
        """Make the world's buckets, and delete them again.

        moto keeps one state for a process: two servers at a time need worlds with other buckets.
        """
        import boto3

        host, port = self._moto.get_host_and_port()
        session = boto3.Session("owner", "secret", region_name=self.simulator.world.region)
        resource = session.resource("s3", endpoint_url=f"http://{host}:{port}")
        made = [
            resource.create_bucket(
                Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.simulator.world.region}
            )
            for name in self.simulator.world.buckets
        ]
        try:
            yield
        finally:
            for bucket in made:
                bucket.objects.delete()
                bucket.delete()

    def _end_instances(self) -> None:
        with self.timeline.lock:
            for instance in self.simulator.ec2.list_instances():
                instance.host.kill()

    # -- one request --

    def answer(self, sent: HttpRequest) -> HttpAnswer:
        """Answer one request of whatever service.

        Raises:
            NoAnswer: a fault takes the connection away.
        """
        if sent.path.startswith(METADATA_PREFIX):
            return answer_metadata(sent, self.simulator)
        access_key, service = read_credential(sent)
        try:
            caller = find_caller(access_key) if access_key else "nobody"
            if service == "s3":
                return self._answer_s3(sent, caller)
            service, operation = read_operation(sent, service)
            params = parse_params(service, operation, sent)
            request = self._record(sent, service, operation, params, caller)
            failure = self._fail_before(request)
            answered = render_answer(service, operation, self.simulator.answer(request))
        except ApiError as error:
            return render_error(service, error)
        return self._fail_after(failure, answered)

    def _answer_s3(self, sent: HttpRequest, caller: str) -> HttpAnswer:
        operation, params = describe_s3(sent)
        request = self._record(sent, "s3", operation, params, caller)
        failure = self._fail_before(request)
        self.simulator.check_right(request)
        return self._fail_after(failure, self._forward(sent))

    def _record(self, sent: HttpRequest, service: str, operation: str, params: Any, caller: str) -> Request:
        body = sent.body[:RECORDED_BODY_CHARS].decode(errors="replace")
        headers = {**sent.headers, ":path": sent.path}
        request = Request(service, operation, params, caller, self.timeline.now(), headers, body)
        with self.timeline.lock:
            self.simulator.record(request)
        return request

    def _fail_before(self, request: Request) -> Failure | None:
        if request.caller == "owner":
            return None
        with self.timeline.lock:
            failure = self.simulator.faults.count_call(request.name, by_instance=request.caller.startswith("i-"))
        if isinstance(failure, Refused):
            raise ApiError(failure.code, failure.message, status=failure.status)
        if isinstance(failure, Unreachable):
            raise NoAnswer
        return failure

    @staticmethod
    def _fail_after(failure: Failure | None, answered: HttpAnswer) -> HttpAnswer:
        if isinstance(failure, AnswerLost):
            raise NoAnswer
        return answered

    def _forward(self, sent: HttpRequest) -> HttpAnswer:
        """Let moto answer."""
        host, port = self._moto.get_host_and_port()
        connection = http.client.HTTPConnection(host, port, timeout=60)
        headers = {name: value for name, value in sent.headers.items() if name not in HOP_HEADERS | {"expect"}}
        try:
            connection.request(sent.method, sent.path, sent.body, headers | {"Content-Length": str(len(sent.body))})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP_HEADERS}
        if sent.method == "HEAD" and (size := response.getheader("Content-Length")) is not None:
            kept["Content-Length"] = size
        return HttpAnswer(response.status, kept, body)


def _make_handler(aws: AwsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                answered = aws.answer(HttpRequest(self.command, self.path, headers, self._read_body(headers)))
            except NoAnswer:
                self.close_connection = True
                return
            self.send_response(answered.status)
            for name, value in answered.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in answered.headers:
                self.send_header("Content-Length", str(len(answered.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answered.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

        def _read_body(self, headers: dict[str, str]) -> bytes:
            if headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(headers.get("content-length", 0)))
            parts = []
            while size := int(self.rfile.readline(MAX_CHUNK_LINE).split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline(MAX_CHUNK_LINE)
            while self.rfile.readline(MAX_CHUNK_LINE).strip():
                pass  # trailers
            return b"".join(parts)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    return Handler
