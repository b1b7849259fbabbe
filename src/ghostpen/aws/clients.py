"""The clients of AWS that a deployment uses: made in one place, each call with a deadline.

Whoever needs a client takes it as an argument. Where they connect to, and as whom, boto3 reads from the environment
(AWS_PROFILE, AWS_ENDPOINT_URL, a role); the region is a setting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from ghostpen.aws.errors import translate_session_failure

# Of one connection, one answer, and how often a call is tried: a call ends within some two minutes.
PATIENT = (5, 20, 5)
# Of the calls that let the GPU go when the deployment is told to stop: GitHub kills 10 seconds after asking.
HURRIED = (1, 2, 1)


class Clients:
    """Make each client when it is first asked for, and keep it."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        """Take what makes a boto3 client from a service's name."""
        self._make = make

    @cached_property
    def autoscaling(self) -> Any:
        """The group."""
        return self._make("autoscaling")

    @cached_property
    def ec2(self) -> Any:
        """What an instance is, and what instance types have."""
        return self._make("ec2")

    @cached_property
    def ecr(self) -> Any:
        """Which images there are."""
        return self._make("ecr")

    @cached_property
    def iam(self) -> Any:
        """How long a session of the role in use may last."""
        return self._make("iam")

    @cached_property
    def logs(self) -> Any:
        """What the container writes."""
        return self._make("logs")

    @cached_property
    def quotas(self) -> Any:
        """How much GPU the account may have."""
        return self._make("service-quotas")

    @cached_property
    def s3(self) -> Any:
        """Data, hand-over and results."""
        return self._make("s3")

    @cached_property
    def ssm(self) -> Any:
        """Commands for the instance, and parameters that hold secrets."""
        return self._make("ssm")

    @cached_property
    def sts(self) -> Any:
        """Who is asking."""
        return self._make("sts")


def make_clients(region: str, *, hurried: bool = False) -> Clients:
    """Make the clients of one region with the credentials of the environment.

    Args:
        hurried: one quick try a call, for what is done when there are seconds left.

    Raises:
        CloudError: AWS_PROFILE or AWS's files in the home folder can't be used.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    connect_s, read_s, attempts = HURRIED if hurried else PATIENT
    config = Config(
        connect_timeout=connect_s,
        read_timeout=read_s,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        # botocore's own defaults, which AWS's settings files could turn off.
        request_checksum_calculation="when_supported",
        response_checksum_validation="when_supported",
    )
    try:
        session = boto3.Session(region_name=region)
    except BotoCoreError as error:
        raise translate_session_failure(error) from error

    def make(service: str) -> Any:
        try:
            return session.client(service, config=config)
        except BotoCoreError as error:
            raise translate_session_failure(error) from error

    return Clients(make)
