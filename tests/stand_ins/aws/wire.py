"""The protocols between HTTP and the simulator: Query and EC2 (forms, XML) and JSON, by the services' own models.

moto's parser and serialisers do the work for what goes well; refusals are rendered here, because AWS has codes that
no model lists. S3 is not parsed: `describe_s3` names its operation, for the record, the rights and the faults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from tests.stand_ins.aws.api import Answer, ApiError
from werkzeug.datastructures import Headers, MultiDict

# Names of services in signatures and targets, where they differ from boto3's.
SIGNING_NAMES = {"servicequotas": "service-quotas"}
TARGETS = {
    "AmazonSSM": "ssm",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "Logs_20140328": "logs",
    "ServiceQuotasV20190624": "service-quotas",
}
REQUEST_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class HttpRequest:
    """A request as it came in."""

    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # lower-case names
    body: bytes


@dataclass(frozen=True)
class HttpAnswer:
    """An answer as it goes out."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read_credential(request: HttpRequest) -> tuple[str, str]:
    """Read access key and service from the signature, which is not checked; both empty where there is none."""
    signature = request.headers.get("authorization", "")
    if scope := re.search(r"Credential=([^/,\s]+)/\d+/[^/]+/([^/]+)/aws4_request", signature):
        return scope[1], SIGNING_NAMES.get(scope[2], scope[2])
    return "", ""


def read_operation(request: HttpRequest, signed_service: str) -> tuple[str, str]:
    """Name service and operation; an unsigned form is STS's, which alone takes one.

    Raises:
        ApiError: neither a target nor an action is named.
    """
    prefix, _, operation = request.headers.get("x-amz-target", "").rpartition(".")
    if operation:
        return TARGETS.get(prefix, signed_service), operation
    form = dict(parse_qsl(request.body.decode(errors="replace")))
    if "Action" not in form:
        raise ApiError("MissingAction", "the request names no action")
    return signed_service or "sts", form["Action"]


def parse_params(service: str, operation: str, request: HttpRequest) -> dict[str, Any]:
    """Parse the parameters, as botocore names them."""
    model = get_service_model(service)
    parser = PROTOCOL_PARSERS[model.protocol](model.operation_model(operation))
    parsed: dict[str, Any] = parser.parse(
        {
            "method": request.method,
            "values": MultiDict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True)),
            "headers": Headers(dict(request.headers)),
            "body": request.body,
            "url_path": request.path,
            "url_params": {},
        }
    )
    return parsed


def render_answer(service: str, operation: str, answer: Answer) -> HttpAnswer:
    """Render an answer by the operation's output model."""
    model = get_service_model(service)
    serializer = get_serializer_class(service, model.protocol)(model.operation_model(operation))
    rendered = serializer.serialize(answer)
    body = rendered["body"]
    return HttpAnswer(
        rendered["status_code"],
        {**{str(name): str(value) for name, value in rendered["headers"].items()}, "x-amzn-RequestId": REQUEST_ID},
        body.encode() if isinstance(body, str) else body,
    )


def render_error(service: str, error: ApiError) -> HttpAnswer:
    """Render a refusal as the service's protocol has it."""
    code, message = escape(error.code), escape(error.message)
    protocol = "s3" if service == "s3" else get_service_model(service).protocol if service else "query"
    match protocol:
        case "json":
            body = json.dumps({"__type": error.code, "message": error.message})
            return HttpAnswer(error.status, {"Content-Type": "application/x-amz-json-1.1"}, body.encode())
        case "s3":
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        case "ec2":
            errors = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            body = f"<Response>{errors}<RequestID>{REQUEST_ID}</RequestID></Response>"
        case _:
            fault = "Receiver" if error.status >= 500 else "Sender"
            inner = f"<Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            body = f"<ErrorResponse>{inner}<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    return HttpAnswer(error.status, {"Content-Type": "text/xml"}, body.encode())


def describe_s3(request: HttpRequest) -> tuple[str, dict[str, str]]:
    """Name the operation of a path-style S3 request, and its bucket and key."""
    url = urlsplit(request.path)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    params = {"Bucket": bucket} | ({"Key": key} if key else {})
    if not key:
        names = {"GET": "ListObjectsV2", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
        name = "DeleteObjects" if "delete" in query else names.get(request.method, request.method)
        return name, params | ({"Prefix": query["prefix"]} if "prefix" in query else {})
    if "uploads" in query and request.method == "POST":
        return "CreateMultipartUpload", params
    if "uploadId" in query:
        names = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        return names.get(request.method, "ListParts"), params
    names = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
    return names.get(request.method, request.method), params
