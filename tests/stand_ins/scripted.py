"""Clients of AWS that answer what a test has written down, one answer a call, and a clock that only a sleep moves.

For parts of the deployment that make a handful of calls. Parameters are checked as botocore checks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.session import Session
from botocore.validate import validate_parameters

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class VirtualClock:
    """Stand still at noon until somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOON
        self.sleeps: list[float] = []

    def read(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += timedelta(seconds=seconds)


def refuse(code: str, operation: str = "Operation", *, message: str = "no", status: int = 400) -> ClientError:
    """Make the error that botocore raises for a refusal."""
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


class ScriptedClient:
    """Answer each operation from its script: a dict, an error to raise, a function of the parameters, or a list of
    these, of which the last stays.
    """

    def __init__(self, service: str, **scripts: Any) -> None:
        self._model = Session().get_service_model(service)
        self._operations = {xform_name(name): name for name in self._model.operation_names}
        self._scripts = {
            name: list(script) if isinstance(script, list) else [script] for name, script in scripts.items()
        }
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.meta = SimpleNamespace(region_name="eu-central-1")

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("_") or operation not in self._operations:
            raise AttributeError(operation)

        def call(**parameters: Any) -> Any:
            name = self._operations[operation]
            validate_parameters(parameters, self._model.operation_model(name).input_shape)
            self.calls.append((operation, parameters))
            script = self._scripts.get(operation, [{}])
            answer = script.pop(0) if len(script) > 1 else script[0]
            if callable(answer):
                answer = answer(**parameters)
            if isinstance(answer, ClientError):
                answer.operation_name = name
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    def get_paginator(self, operation: str) -> Any:
        """Give what reads all pages: here there is one."""

        def paginate(**parameters: Any) -> Iterator[Any]:
            yield getattr(self, operation)(**parameters)

        return SimpleNamespace(paginate=paginate)

    def list_calls(self, operation: str) -> list[dict[str, Any]]:
        """List the parameters of an operation's calls."""
        return [parameters for name, parameters in self.calls if name == operation]
