"""Parameter Store: plain and encrypted parameters, tiers, and expiration, which deletes them.

An encrypted value is shown only to those who ask for decryption; keys and rights on them are not modelled.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request, read_page
from tests.stand_ins.aws.autoscaling import read_time
from tests.stand_ins.aws.timeline import Event, Timeline, to_utc
from tests.stand_ins.aws.world import World

VALID_NAME = re.compile(r"[a-zA-Z0-9_.\-/]+")
MAX_LEVELS = 15
VALUE_LIMIT_BYTES = {"Standard": 4096, "Advanced": 8192}
MAX_PAGE = 10
MAX_NAMES = 10  # of DeleteParameters; more are refused by the service, not by botocore


@dataclass
class Parameter:
    """One parameter."""

    name: str
    value: str
    type: str
    tier: str
    version: int
    changed_at: float
    expires_at: float | None = None
    expiry: Event | None = None


class ParameterStore:
    """All parameters of the account. `stored` is what tests look at for what was left behind."""

    def __init__(self, world: World, timeline: Timeline) -> None:
        self._world = world
        self._timeline = timeline
        self.stored: dict[str, Parameter] = {}

    def list_handlers(self) -> dict[str, Handler]:
        return {
            "PutParameter": self._put,
            "DeleteParameters": self._delete_all,
            "GetParameter": self._get,
            "GetParametersByPath": self._get_by_path,
        }

    def _put(self, request: Request) -> Answer:
        params = request.params
        name, tier = params["Name"], params.get("Tier", "Standard")
        _check_name(name)
        existing = self.stored.get(name)
        if existing is not None and not params.get("Overwrite", False):
            raise ApiError(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to "
                "true.",
            )
        if existing is None and "Type" not in params:
            raise ApiError("ValidationException", "A parameter type is required when you create a parameter.")
        limit = VALUE_LIMIT_BYTES.get(tier, VALUE_LIMIT_BYTES["Advanced"])
        if len(params["Value"].encode()) > limit:
            raise ApiError(
                "ValidationException",
                f"{tier} tier parameters support a maximum parameter value of {limit} characters.",
            )
        if existing is not None and existing.tier == "Advanced" and tier == "Standard":
            raise ApiError(
                "ValidationException", "This parameter uses the advanced-parameter tier. You can't downgrade it."
            )
        expires_at = self._read_expiration(params.get("Policies", ""), tier)
        if existing is not None and existing.expiry is not None:
            existing.expiry.cancel()
        parameter = Parameter(
            name=name,
            value=params["Value"],
            type=params.get("Type") or existing.type,  # type: ignore[union-attr]  # checked above
            tier=tier,
            version=1 if existing is None else existing.version + 1,
            changed_at=self._timeline.now(),
            expires_at=expires_at,
        )
        if expires_at is not None:
            due = expires_at + self._world.delays.expiration_lag_s
            parameter.expiry = self._timeline.call_at(due, lambda: self._remove(name))
        self.stored[name] = parameter
        return {"Version": parameter.version, "Tier": tier}

    def _read_expiration(self, policies: str, tier: str) -> float | None:
        if not policies:
            return None
        if tier == "Standard":
            raise ApiError(
                "ValidationException", "Parameter policies are only supported by the advanced-parameter tier."
            )
        try:
            parsed = json.loads(policies)
        except ValueError as error:
            raise ApiError("ValidationException", "Invalid policies input: not JSON.") from error
        expires_at = None
        for policy in parsed:
            if policy.get("Type") != "Expiration" or policy.get("Version") != "1.0":
                raise ApiError("InvalidPolicyTypeException", "The policy type is not supported.")
            try:
                expires_at = read_time(policy["Attributes"]["Timestamp"])
            except (KeyError, TypeError, ValueError) as error:
                raise ApiError(
                    "InvalidPolicyAttributeException", "A policy attribute or its value is invalid."
                ) from error
            if expires_at <= self._timeline.now():
                raise ApiError("InvalidPolicyAttributeException", "The expiration timestamp must be in the future.")
        return expires_at

    def _remove(self, name: str) -> bool:
        parameter = self.stored.pop(name, None)
        if parameter is not None and parameter.expiry is not None:
            parameter.expiry.cancel()
        return parameter is not None

    def _delete_all(self, request: Request) -> Answer:
        names = request.params["Names"]
        if not 1 <= len(names) <= MAX_NAMES:
            raise ApiError("ValidationException", f"Member must have length less than or equal to {MAX_NAMES}")
        deleted = [name for name in names if self._remove(name)]
        return {"DeletedParameters": deleted, "InvalidParameters": [name for name in names if name not in deleted]}

    def _get(self, request: Request) -> Answer:
        parameter = self.stored.get(request.params["Name"])
        if parameter is None:
            raise ApiError("ParameterNotFound", "")
        return {"Parameter": self._render(parameter, request.params)}

    def _get_by_path(self, request: Request) -> Answer:
        params = request.params
        path = params["Path"].rstrip("/") + "/"
        below = [name.removeprefix(path) for name in sorted(self.stored) if name.startswith(path)]
        chosen = [path + rest for rest in below if params.get("Recursive", False) or "/" not in rest]
        page, more = read_page(chosen, params, size=params.get("MaxResults", MAX_PAGE))
        return {"Parameters": [self._render(self.stored[name], params) for name in page], **more}

    def _render(self, parameter: Parameter, params: Mapping[str, Any]) -> Answer:
        readable = parameter.type != "SecureString" or params.get("WithDecryption", False)
        sealed = base64.b64encode(f"sealed {parameter.name} {parameter.version}".encode()).decode()
        arn = f"arn:aws:ssm:{self._world.region}:{self._world.account_id}:parameter/{parameter.name.lstrip('/')}"
        return {
            "Name": parameter.name,
            "Type": parameter.type,
            "Value": parameter.value if readable else sealed,
            "Version": parameter.version,
            "LastModifiedDate": to_utc(parameter.changed_at),
            "ARN": arn,
            "DataType": "text",
        }


def _check_name(name: str) -> None:
    if not VALID_NAME.fullmatch(name):
        raise ApiError(
            "ValidationException", "Parameter name: can't use this character; only a-z, A-Z, 0-9, . - _ and /"
        )
    if "/" in name and not name.startswith("/"):
        raise ApiError("ValidationException", "Parameter name must be a fully qualified name.")
    if name.lstrip("/").lower().startswith(("aws", "ssm")):
        raise ApiError(
            "ValidationException", 'Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive).'
        )
    if len(name.strip("/").split("/")) > MAX_LEVELS:
        raise ApiError(
            "HierarchyLevelLimitExceededException", f"A hierarchy can have a maximum of {MAX_LEVELS} levels."
        )
