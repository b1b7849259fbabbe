"""Secrets on their way to the instance: encrypted parameters that are deleted as soon as the container has them.

A value goes from the deployer's environment into Parameter Store, from there into memory of the instance, and nowhere
else: no command, no file on a disk, no log. Each parameter also has an end of its own, at which AWS deletes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ghostpen.aws.errors import translated
from ghostpen.errors import ConfigError

MAX_VALUE_BYTES = 8192  # of an advanced parameter; only these can end by themselves
_DELETED_AT_ONCE = 10  # so many names DeleteParameters takes


def collect_values(names: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Take the values of the secrets that the settings name.

    Raises:
        ConfigError: some are not set, or can't stand in an environment file: one message for all of them.
    """
    problems = []
    for name in names:
        value = environ.get(name, "")
        if not value:
            problems.append(f"{name} is not set in the environment")
        elif not value.isprintable():
            problems.append(f"{name} holds a line break or a control character")
        elif len(value.encode()) > MAX_VALUE_BYTES:
            problems.append(f"{name} is longer than {MAX_VALUE_BYTES} bytes")
    if problems:
        raise ConfigError(
            f"secrets.names: {'; '.join(problems)}; set each to one line (in a workflow: env, from a GitHub secret), "
            "or take it out of secrets.names"
        )
    return {name: environ[name] for name in names}


class Secrets:
    """The parameters of one run."""

    def __init__(self, client: Any, path: str, run_id: str) -> None:
        """Take boto3's ssm client, or what answers like it, and the setting secrets.path."""
        self._client = client
        self.path = f"{path}/{run_id}"

    def put(self, values: Mapping[str, str], *, expires_at: datetime) -> None:
        """Put each value, encrypted, for the instance to take; one that is there already is replaced.

        Raises:
            CloudError: a refusal, or no answer.
        """
        end = expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        policies = [{"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": end}}]
        for name, value in values.items():
            with translated(f"parameter {self.path}/{name}", service="ssm"):
                self._client.put_parameter(
                    Name=f"{self.path}/{name}",
                    Value=value,
                    Type="SecureString",
                    Tier="Advanced",
                    Policies=json.dumps(policies),
                    Overwrite=True,
                )

    def delete(self, names: Sequence[str]) -> None:
        """Delete the parameters of these names; fine if they are gone.

        Raises:
            CloudError: a refusal, or no answer.
        """
        full_names = [f"{self.path}/{name}" for name in names]
        for start in range(0, len(full_names), _DELETED_AT_ONCE):
            with translated(f"parameters {self.path}/", service="ssm"):
                self._client.delete_parameters(Names=full_names[start : start + _DELETED_AT_ONCE])
