"""Commands on the instance, through SSM: sent, waited for, with a deadline each.

Owns what SSM's states mean. A command holds no secret: SSM shows commands to whoever may list them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ghostpen.aws.errors import get_code, translated
from ghostpen.aws.waiting import DeadlineError, Waiting
from ghostpen.errors import CloudError, InstanceNeverOnlineError

DOCUMENT = "AWS-RunShellScript"
DELIVERY_S = 60  # until the agent has taken a command; SSM's least is 30
_SLACK_S = 60  # for the answer to come back, beside what the command may take
_UNDER_WAY = {"Pending", "InProgress", "Delayed", "Cancelling"}
# What SSM calls the ways in which a command never ran.
_UNDELIVERED = {"Undeliverable", "Terminated", "DeliveryTimedOut", "Delivery Timed Out", "AccessDenied"}


@dataclass(frozen=True)
class CommandResult:
    """How a command ended, and the end of what it wrote."""

    end: Literal["left", "timed out", "cancelled", "undelivered"]
    exit_code: int
    stdout: str  # its first 24,000 characters
    stderr: str  # its first 8,000

    @property
    def succeeded(self) -> bool:
        """Say whether it ran and left with 0."""
        return self.end == "left" and self.exit_code == 0


class Remote:
    """The instance's SSM agent."""

    def __init__(self, client: Any, instance_id: str, waiting: Waiting) -> None:
        """Take boto3's ssm client, or what answers like it."""
        self._client = client
        self.instance_id = instance_id
        self._waiting = waiting

    def wait_for_online(self, *, limit_s: float, check: Callable[[], None]) -> None:
        """Wait until the agent answers.

        Args:
            check: is called at every look, and raises where there is nothing to wait for any more.

        Raises:
            InstanceNeverOnlineError: it did not in time.
            CloudError: a refusal.
        """

        def look() -> bool | None:
            check()
            return self.is_online() or None

        try:
            self._waiting.wait_for(look, limit_s=limit_s)
        except DeadlineError as error:
            raise InstanceNeverOnlineError(
                f"instance {self.instance_id}: its SSM agent did not answer within {limit_s:.0f} s{error}; the "
                "instance needs the agent, a role that lets it (statement BeManaged of infra/ghostpen.yaml, or AWS's "
                "AmazonSSMManagedInstanceCore), and a way to SSM (internet or endpoints)"
            ) from error

    def is_online(self) -> bool:
        """Say whether SSM has heard of the agent in the last minutes.

        Raises:
            CloudError: a refusal, or no answer.
        """
        filters = [{"Key": "InstanceIds", "Values": [self.instance_id]}]
        with self._translated():
            answer = self._client.describe_instance_information(Filters=filters)
        return any(entry["PingStatus"] == "Online" for entry in answer["InstanceInformationList"])

    def run_command(self, script: str, *, timeout_s: int, comment: str, check: Callable[[], None]) -> CommandResult:
        """Run a shell script as root, and wait for its end.

        Args:
            timeout_s: of the script, 5 to 172,800: SSM silently takes 3,600 for anything else.
            check: is called at every look, and raises where there is nothing to wait for any more.

        Raises:
            InstanceNeverOnlineError: the agent never took it, or never said how it ended.
            CloudError: a refusal.
        """
        command_id = self._send(script, timeout_s=timeout_s, comment=comment, check=check)
        limit_s = DELIVERY_S + timeout_s + _SLACK_S

        def look() -> CommandResult | None:
            check()
            return self._read_result(command_id)

        try:
            return self._waiting.wait_for(look, limit_s=limit_s)
        except DeadlineError as error:
            self._cancel(command_id)
            raise InstanceNeverOnlineError(
                f"instance {self.instance_id}: no word of how `{comment}` ended within {limit_s:.0f} s{error}; its "
                "SSM agent has stopped answering"
            ) from error

    def _send(self, script: str, *, timeout_s: int, comment: str, check: Callable[[], None]) -> str:
        def look() -> str | None:
            check()
            try:
                with self._translated():
                    answer = self._client.send_command(
                        InstanceIds=[self.instance_id],
                        DocumentName=DOCUMENT,
                        Parameters={"commands": script.splitlines(), "executionTimeout": [str(timeout_s)]},
                        TimeoutSeconds=DELIVERY_S,
                        Comment=comment[:100],
                    )
            except CloudError as error:
                if get_code(error.__cause__) == "InvalidInstanceId":  # seen online, and not yet, or no more
                    return None
                raise
            command_id: str = answer["Command"]["CommandId"]
            return command_id

        try:
            return self._waiting.wait_for(look, limit_s=DELIVERY_S)
        except DeadlineError as error:
            raise InstanceNeverOnlineError(
                f"instance {self.instance_id} took no command within {DELIVERY_S} s{error}; its SSM agent has "
                "stopped answering, or the instance is going away"
            ) from error

    def _read_result(self, command_id: str) -> CommandResult | None:
        """Read how a command ended; None while it has not, or SSM does not know of it yet."""
        try:
            with self._translated():
                answer = self._client.get_command_invocation(CommandId=command_id, InstanceId=self.instance_id)
        except CloudError as error:
            if get_code(error.__cause__) == "InvocationDoesNotExist":
                return None
            raise
        if answer["Status"] in _UNDER_WAY:
            return None
        return CommandResult(
            end=_name_end(answer["Status"], answer.get("StatusDetails", "")),
            exit_code=answer.get("ResponseCode", -1),
            stdout=answer.get("StandardOutputContent", ""),
            stderr=answer.get("StandardErrorContent", ""),
        )

    def _cancel(self, command_id: str) -> None:
        """Ask for the command's end; whether that arrives does not matter, the instance goes anyway."""
        try:
            with self._translated():
                self._client.cancel_command(CommandId=command_id, InstanceIds=[self.instance_id])
        except CloudError:
            return

    def _translated(self) -> Any:
        return translated(f"instance {self.instance_id}", service="ssm")


def _name_end(status: str, details: str) -> Literal["left", "timed out", "cancelled", "undelivered"]:
    match status:
        case _ if details in _UNDELIVERED:
            return "undelivered"
        case "TimedOut":
            return "timed out"
        case "Cancelled":
            return "cancelled"
        case _:  # Success or Failed
            return "left"
