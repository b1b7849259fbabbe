"""Whom AWS takes this machine for."""

from __future__ import annotations

from collections.abc import Mapping

from ghostpen.aws.clients import make_clients
from ghostpen.aws.errors import translated

# STS knows all accounts in any region; where none is set, this one answers for all but China and GovCloud.
_ANY_REGION = "us-east-1"


def find_identity(environ: Mapping[str, str]) -> str:
    """Ask AWS for the ARN of the credentials in use; takes some seconds at most.

    Raises:
        CloudError: there are none, they are not accepted, or AWS can't be reached.
    """
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _ANY_REGION
    with translated("your identity", service="sts"):
        arn: str = make_clients(region, hurried=True).sts.get_caller_identity()["Arn"]
    return arn
