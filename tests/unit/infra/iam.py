"""What IAM would say to a request, by a list of policies: an evaluator of just what the template uses.

An operator that it does not know is an error, so that a new one is not silently taken for true.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Context = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """One authorization that AWS asks for; a call may need several (ssm:SendCommand: document and instance)."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def is_match(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Tell whether IAM's wildcards fit: * is any run of characters, also of none, also over : and /; ? is one."""
    regex = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(regex, text, re.IGNORECASE if ignore_case else 0) is not None


def overlap(left: str, right: str) -> bool:
    """Tell whether some text fits both patterns."""

    @cache
    def meets(i: int, j: int) -> bool:
        if i == len(left) and j == len(right):
            return True
        if i < len(left) and left[i] == "*":
            return meets(i + 1, j) or (j < len(right) and meets(i, j + 1))
        if j < len(right) and right[j] == "*":
            return meets(i, j + 1) or (i < len(left) and meets(i + 1, j))
        return i < len(left) and j < len(right) and left[i] == right[j] and meets(i + 1, j + 1)

    return meets(0, 0)


def _compare(operator: str, actual: str, wanted: str) -> bool:
    if operator == "StringEquals":
        return actual == wanted
    if operator == "StringLike":
        return is_match(wanted, actual)
    if operator == "Bool":
        return actual.lower() == wanted.lower()
    if operator == "NumericLessThanEquals":
        return float(actual) <= float(wanted)
    raise NotImplementedError(operator)


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    known = {key.lower(): value for key, value in context.items()}
    for operator, block in conditions.items():
        name = operator.removesuffix("IfExists")
        for key, wanted in block.items():
            actual = known.get(key.lower())
            if actual is None:
                if name == operator:
                    return False
                continue
            if not any(_compare(name, actual, str(value)) for value in as_list(wanted)):
                return False
    return True


def applies(statement: Mapping[str, Any], request: Request) -> bool:
    """Tell whether a statement, allowing or denying, speaks of the request."""
    return (
        any(is_match(action, request.action, ignore_case=True) for action in as_list(statement["Action"]))
        and any(is_match(resource, request.resource) for resource in as_list(statement.get("Resource", "*")))
        and _holds(statement.get("Condition", {}), request.context)
    )


def find_allowing(statements: Sequence[Mapping[str, Any]], request: Request) -> list[Mapping[str, Any]]:
    """Give the statements that allow the request; none if one denies it."""
    applying = [statement for statement in statements if applies(statement, request)]
    if any(statement["Effect"] == "Deny" for statement in applying):
        return []
    return applying


def is_allowed(statements: Sequence[Mapping[str, Any]], requests: Iterable[Request]) -> bool:
    """Tell whether a call goes through: every authorization that it needs."""
    return all(find_allowing(statements, request) for request in requests)
