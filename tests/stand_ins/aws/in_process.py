"""The door without a socket: boto3's clients, answered by the simulator before anything is sent.

botocore still checks the parameters against the service's model and builds the request; its HTTP, its retries and
its parsing of answers are left out (`server.py` has them). So a fault here is one that retrying has not cured.
Loading a service's model takes longer than a whole simulated deployment: clients are made once per process, and
`InProcessDoor.open` puts another simulator behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from tests.stand_ins.aws.api import RECORDED_BODY_CHARS, Answer, ApiError, Request
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import AnswerLost, Failure, Interrupted, JobLost, Refused, Unreachable
from tests.stand_ins.aws.timeline import VirtualTime

SERVICES = ("autoscaling", "ec2", "ecr", "iam", "logs", "s3", "service-quotas", "ssm", "sts")
PARAMS = "simulator-params"  # botocore's request context carries them from one event to the next


class MachineLost(BaseException):
    """The machine that the job ran on is gone: not for the code under test to catch."""


@dataclass(frozen=True)
class _Http:
    """What botocore reads of an HTTP response."""

    status_code: int
    headers: Mapping[str, str]


class InProcessDoor:
    """Clients of one caller, and the simulator that answers them."""

    def __init__(self, caller: str) -> None:
        self._caller = caller
        self._simulator: Simulator | None = None
        self._lost = False
        self._running = False
        self._clients = {service: _make_client(service) for service in SERVICES}
        for service, client in self._clients.items():
            client.meta.events.register_last("before-parameter-build", self._keep_params)
            client.meta.events.register_first("before-call", self._make_answering(service))

    def open(self, simulator: Simulator) -> None:
        """Let this simulator answer from now on."""
        self._simulator = simulator
        self._lost = self._running = False
        if self._caller != "owner":
            for fault in simulator.faults.list_moments():
                simulator.timeline.call_later(fault.after_s, partial(self._strike, simulator, fault.failure))

    @contextmanager
    def job(self) -> Iterator[None]:
        """Run the code under test in here, on a machine of its own: what strikes at a moment strikes only here."""
        self._lost, self._running = False, True
        try:
            yield
        finally:
            self._running = False

    def _strike(self, simulator: Simulator, failure: Interrupted | JobLost) -> None:
        if self._running and self._simulator is simulator:
            if isinstance(failure, JobLost):
                self._lose()
            else:
                raise failure.exception

    def client(self, service: str) -> Any:
        """Give boto3's client of a service."""
        return self._clients[service]

    @staticmethod
    def _keep_params(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context[PARAMS] = dict(params)

    def _make_answering(self, service: str) -> Any:
        def answer(model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> tuple[_Http, Answer]:
            return self._answer(service, model.name, context[PARAMS], params)

        return answer

    def _answer(
        self, service: str, operation: str, params: dict[str, Any], sent: dict[str, Any]
    ) -> tuple[_Http, Answer]:
        """Answer one call; half of the time that it takes passes before the effect, half after."""
        simulator = self._simulator
        assert simulator is not None, "no simulator is behind this door; open() one"
        if self._lost:
            raise MachineLost
        half_s = simulator.world.delays.call_s / 2
        with simulator.timeline.lock:
            request = Request(
                service, operation, params, self._caller, simulator.timeline.now(), sent["headers"], _show_body(sent)
            )
            simulator.record(request)
            _pass_time(simulator, half_s)
            failure = (
                None if self._caller == "owner" else simulator.faults.count_call(request.name, by_instance=False)
            )
            try:
                self._fail_before(failure, sent)
                response = (_Http(200, {}), simulator.answer(request) | {"ResponseMetadata": _describe_response(200)})
            except ApiError as error:
                response = (_Http(error.status, {}), _render_error(error))
            _pass_time(simulator, half_s)
            self._fail_after(failure, sent)
            return response

    def _fail_before(self, failure: Failure | None, sent: dict[str, Any]) -> None:
        from botocore.exceptions import EndpointConnectionError

        match failure:
            case Refused():
                raise ApiError(failure.code, failure.message, status=failure.status)
            case Unreachable():
                raise EndpointConnectionError(endpoint_url=sent["url"])
            case Interrupted(exception, applied=False):
                raise exception
            case JobLost(applied=False):
                self._lose()

    def _fail_after(self, failure: Failure | None, sent: dict[str, Any]) -> None:
        from botocore.exceptions import ReadTimeoutError

        match failure:
            case AnswerLost():
                raise ReadTimeoutError(endpoint_url=sent["url"])
            case Interrupted(exception, applied=True):
                raise exception
            case JobLost(applied=True):
                self._lose()

    def _lose(self) -> None:
        self._lost = True
        raise MachineLost


def _pass_time(simulator: Simulator, seconds: float) -> None:
    if isinstance(simulator.timeline, VirtualTime):
        simulator.timeline.sleep(seconds)


def _describe_response(status: int) -> Answer:
    return {
        "RequestId": "00000000-0000-4000-8000-000000000000",
        "HTTPStatusCode": status,
        "HTTPHeaders": {},
        "RetryAttempts": 0,
    }


def _render_error(error: ApiError) -> Answer:
    return {
        "Error": {"Code": error.code, "Message": error.message},
        "ResponseMetadata": _describe_response(error.status),
    }


def _show_body(sent: Mapping[str, Any]) -> str:
    body = sent["body"]
    if isinstance(body, Mapping):  # of the query protocol, not yet encoded
        return repr(dict(body))[:RECORDED_BODY_CHARS]
    if hasattr(body, "seek"):  # S3's body, as a file
        start = body.tell()
        body, _ = body.read(RECORDED_BODY_CHARS), body.seek(start)
    if isinstance(body, bytes | bytearray):
        return bytes(body[:RECORDED_BODY_CHARS]).decode(errors="replace")
    return str(body)[:RECORDED_BODY_CHARS]


def _make_client(service: str) -> Any:
    from botocore.config import Config

    config = Config(parameter_validation=True, retries={"mode": "standard", "total_max_attempts": 1})
    return _make_session().client(service, config=config)


@cache
def _make_session() -> Any:
    import boto3

    return boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="eu-central-1")


@cache
def find_door(caller: str = "job") -> InProcessDoor:
    """Give the door of a caller: one in a process. "job" has the deploy role, "owner" may do anything."""
    return InProcessDoor(caller)
