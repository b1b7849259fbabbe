"""What goes through the API's doors: requests, answers, refusals. Every request is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One call of an API operation, as botocore names operation and parameters."""

    service: str  # boto3's name: "autoscaling", "service-quotas"
    operation: str  # "SetDesiredCapacity"
    params: Mapping[str, Any]
    caller: str  # "job", "owner", or the id of the instance that asked
    at: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)  # as sent; of HTTP and of in-process calls alike
    body: str = ""  # as sent, cut at RECORDED_BODY_CHARS

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation}"


Handler = Callable[[Request], Answer]
RECORDED_BODY_CHARS = 65536


class ApiError(Exception):
    """A refusal, with the code under which botocore shows it."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        self.code = code
        self.message = message
        self.status = status
        super().__init__(f"{code}: {message}")


class CallFailed(Exception):
    """A call that a modelled instance made was refused, or got no answer."""


def refuse_invalid(message: str) -> ApiError:
    """Make the refusal of the query protocol's services for anything that is wrong with a value."""
    return ApiError("ValidationError", message)


def read_page(
    items: list[Any], params: Mapping[str, Any], *, size: int, token: str = "NextToken"
) -> tuple[list[Any], Answer]:
    """Cut a page out of a list: the items, and the token of the next page where there is one.

    Raises:
        ApiError: the token is none of ours.
    """
    start_text = params.get(token) or "0"
    if not start_text.isdecimal():
        raise ApiError("InvalidNextToken", "The specified token is not valid.")
    start = int(start_text)
    end = start + size
    return items[start:end], ({token: str(end)} if end < len(items) else {})
