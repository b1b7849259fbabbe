"""The door without a socket: boto3's clients, answered by the simulator before anything is sent.

botocore still checks the parameters against the service's model and builds the request; its HTTP, its retries and
its parsing of answers are left out (`server.py` has them). So a fault here is one that retrying has not cured.
Loading a service's model takes longer than a whole simulated deployment: clients are made once per process, and
`InProcessDoor.open` puts another simulator behind them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from tests.stand_ins.aws.api import RECORDED_BODY_CHARS, Answer, ApiError, Request
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import (
    AnswerLost,
    Away,
    Ending,
    Failure,
    Interrupted,
    JobLost,
    MomentFault,
    Refused,
    Signalled,
    Unreachable,
)
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
        self._jobs = 0
        self._running = 0  # the number of the job that runs; 0: none
        self._take_signal: Callable[[int], None] = self._die_of_signal
        self._clients = {service: _make_client(service) for service in SERVICES}
        for service, client in self._clients.items():
            client.meta.events.register_last("before-parameter-build", self._keep_params)
            client.meta.events.register_first("before-call", self._make_answering(service))

    def open(self, simulator: Simulator) -> None:
        """Let this simulator answer from now on."""
        self._simulator = simulator
        self._lost, self._running = False, 0
        if self._caller != "owner":
            for fault in simulator.faults.list_moments():
                simulator.timeline.call_later(fault.after_s, partial(self._strike, simulator, fault.failure, None))

    @contextmanager
    def job(self, *moments: MomentFault) -> Iterator[None]:
        """Run the code under test in here, on a machine of its own: what strikes at a moment strikes only here.

        Args:
            moments: strike this job only, counted from now on.
        """
        self._jobs += 1
        self._lost, self._running, self._take_signal = False, self._jobs, self._die_of_signal
        simulator = self._simulator
        assert simulator is not None
        for moment in moments:
            simulator.timeline.call_later(
                moment.after_s, partial(self._strike, simulator, moment.failure, self._running)
            )
        try:
            yield
        finally:
            self._running = 0

    @contextmanager
    def handler(self, take_signal: Callable[[int], None]) -> Iterator[None]:
        """Let the job's process take signals with this, as `signal.signal` does; without one they end it."""
        before, self._take_signal = self._take_signal, take_signal
        try:
            yield
        finally:
            self._take_signal = before

    def _strike(self, simulator: Simulator, failure: Ending, job: int | None) -> None:
        if self._running and self._simulator is simulator and job in (None, self._running):
            self._end(failure)

    def _end(self, failure: Ending) -> None:
        """Let a machine or a process meet its end, or what may be one."""
        match failure:
            case Interrupted(exception):
                raise exception
            case Signalled(number):
                self._take_signal(number)
            case Away(seconds):
                assert self._simulator is not None
                _pass_time(self._simulator, seconds)
            case JobLost():
                self._lose()

    def _die_of_signal(self, number: int) -> None:
        """Do what Python's own handlers do: raise for Ctrl-C, and end the process at once for the others."""
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        self._lose()

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
            case Interrupted() | Signalled() | Away() | JobLost() if not failure.applied:
                self._end(failure)

    def _fail_after(self, failure: Failure | None, sent: dict[str, Any]) -> None:
        from botocore.exceptions import ReadTimeoutError

        match failure:
            case AnswerLost():
                raise ReadTimeoutError(endpoint_url=sent["url"])
            case Interrupted() | Signalled() | Away() | JobLost() if failure.applied:
                self._end(failure)

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
