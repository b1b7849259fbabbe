"""Run Command of Systems Manager: which agents are heard of, commands from sending to their end.

    Pending -> InProgress -> Success | Failed | TimedOut (Execution Timed Out) | Cancelled
    Pending -> Delayed -> TimedOut (Delivery Timed Out)      the agent is not heard of
    Pending -> Failed (Undeliverable)                        the instance ended before the agent got it

A command that runs when its instance dies stays InProgress until its own time is over: nobody reports its end.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request
from tests.stand_ins.aws.ec2 import Ec2
from tests.stand_ins.aws.instances import CommandResult, Execution, Instance
from tests.stand_ins.aws.shell_document import DOCUMENT, ShellCommand, read_shell_command
from tests.stand_ins.aws.timeline import Timeline, to_utc
from tests.stand_ins.aws.world import World

DEFAULT_DELIVERY_TIMEOUT_S = 3600
SHOWN_OUTPUT_CHARS = 24000
SHOWN_ERROR_CHARS = 8000
ENDED = {"Success", "Failed", "TimedOut", "Cancelled"}


@dataclass
class Invocation:
    """One command on one instance."""

    command_id: str
    instance: Instance
    comment: str
    sent_at: float
    status: str = "Pending"
    details: str = "Pending"
    started_at: float | None = None
    ended_at: float | None = None
    result: CommandResult | None = None
    execution: Execution | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def end(self, now: float, status: str, details: str, result: CommandResult | None = None) -> None:
        """Reach an end; what happens afterwards does not change it."""
        if not self.ended:
            self.status, self.details, self.result, self.ended_at = status, details, result, now


class Commands:
    """Answer for agents and commands."""

    def __init__(self, world: World, timeline: Timeline, ec2: Ec2) -> None:
        self._world = world
        self._timeline = timeline
        self._ec2 = ec2
        self._invocations: dict[str, dict[str, Invocation]] = {}

    def list_handlers(self) -> dict[str, Handler]:
        return {
            "DescribeInstanceInformation": self._describe_agents,
            "SendCommand": self._send,
            "GetCommandInvocation": self._get_invocation,
            "CancelCommand": self._cancel,
        }

    # -- agents --

    def _describe_agents(self, request: Request) -> Answer:
        wanted = _read_wanted_ids(request.params)
        agents = []
        for instance in self._ec2.list_instances():
            agent = instance.agent
            shown = agent.status is not None and not instance.forgotten
            if shown and (wanted is None or instance.id in wanted):
                agents.append({
                    "InstanceId": instance.id,
                    "PingStatus": agent.status,
                    "LastPingDateTime": to_utc(agent.last_ping),
                    "AgentVersion": "3.3.2746.0",
                    "IsLatestVersion": True,
                    "PlatformType": "Linux",
                    "PlatformName": "Ubuntu",
                    "PlatformVersion": "24.04",
                    "ResourceType": "EC2Instance",
                })  # fmt: skip
        return {"InstanceInformationList": agents}

    # -- commands --

    def _send(self, request: Request) -> Answer:
        params = request.params
        if params["DocumentName"] != DOCUMENT:
            raise ApiError("InvalidDocument", f"document {params['DocumentName']} does not exist")
        command = read_shell_command(params.get("Parameters", {}))
        instances = [self._find_reachable(instance_id) for instance_id in params.get("InstanceIds", [])]
        if not instances:
            raise ApiError("InvalidInstanceId", "the simulator takes InstanceIds only, not Targets")
        command_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"command {len(self._invocations)}"))
        now = self._timeline.now()
        delivery_s = params.get("TimeoutSeconds", DEFAULT_DELIVERY_TIMEOUT_S)
        self._invocations[command_id] = {}
        for instance in instances:
            invocation = Invocation(command_id, instance, params.get("Comment", ""), now)
            self._invocations[command_id][instance.id] = invocation
            self._timeline.call_later(self._world.delays.command_s, self._make_delivery(invocation, command))
            self._timeline.call_later(delivery_s, self._make_delivery_timeout(invocation))
            instance.on_end.append(self._make_undeliverable(invocation))
        return {"Command": {
            "CommandId": command_id,
            "DocumentName": DOCUMENT,
            "Comment": params.get("Comment", ""),
            "Parameters": dict(params.get("Parameters", {})),
            "InstanceIds": [instance.id for instance in instances],
            "Targets": [],
            "RequestedDateTime": to_utc(now),
            "ExpiresAfter": to_utc(now + delivery_s),
            "Status": "Pending",
            "StatusDetails": "Pending",
            "TargetCount": len(instances),
            "CompletedCount": 0,
            "ErrorCount": 0,
            "TimeoutSeconds": delivery_s,
        }}  # fmt: skip

    def _find_reachable(self, instance_id: str) -> Instance:
        instance = self._ec2.find(instance_id)
        if instance is None or not instance.alive or instance.agent.status is None:
            account = self._world.account_id
            raise ApiError(
                "InvalidInstanceId", f"Instances [[{instance_id}]] not in a valid state for account {account}"
            )
        return instance

    def _make_delivery(self, invocation: Invocation, command: ShellCommand) -> Any:
        def start() -> None:
            if invocation.status != "Pending" and invocation.status != "Delayed":
                return
            invocation.status = "InProgress"
            invocation.details = "InProgress"
            invocation.started_at = self._timeline.now()
            self._timeline.call_later(command.timeout_s, lambda: self._time_out(invocation))
            execute = invocation.instance.host.execute
            invocation.execution = execute(command.script, lambda result: self._report(invocation, result))

        def deliver() -> None:
            if not invocation.instance.agent.connected and invocation.status == "Pending":
                invocation.status = invocation.details = "Delayed"
            invocation.instance.agent.call_when_connected(start)

        return deliver

    def _make_delivery_timeout(self, invocation: Invocation) -> Any:
        def time_out() -> None:
            if invocation.started_at is None:
                invocation.end(self._timeline.now(), "TimedOut", "Delivery Timed Out")

        return time_out

    def _make_undeliverable(self, invocation: Invocation) -> Any:
        def give_up() -> None:
            if invocation.started_at is None:
                invocation.end(self._timeline.now(), "Failed", "Undeliverable")

        return give_up

    def _report(self, invocation: Invocation, result: CommandResult) -> None:
        """Let the agent tell the result, when it is heard of."""

        def tell() -> None:
            if invocation.status == "Cancelling":
                invocation.end(self._timeline.now(), "Cancelled", "Cancelled", result)
            else:
                status = "Success" if result.exit_code == 0 else "Failed"
                invocation.end(self._timeline.now(), status, status, result)

        invocation.instance.agent.call_when_connected(tell)

    def _time_out(self, invocation: Invocation) -> None:
        if invocation.ended:
            return
        invocation.end(self._timeline.now(), "TimedOut", "Execution Timed Out")
        if invocation.execution is not None:
            invocation.execution.cancel()

    def _cancel(self, request: Request) -> Answer:
        invocations = self._find_command(request.params["CommandId"])
        for invocation in invocations.values():
            if invocation.status in {"Pending", "Delayed"}:
                invocation.end(self._timeline.now(), "Cancelled", "Cancelled")
            elif invocation.status == "InProgress":
                invocation.status = invocation.details = "Cancelling"
                if invocation.execution is not None and invocation.instance.agent.connected:
                    invocation.execution.cancel()
        return {}

    def _find_command(self, command_id: str) -> dict[str, Invocation]:
        if command_id not in self._invocations:
            raise ApiError("InvalidCommandId", "")
        return self._invocations[command_id]

    def _get_invocation(self, request: Request) -> Answer:
        invocation = self._find_command(request.params["CommandId"]).get(request.params["InstanceId"])
        visible_s = self._world.delays.invocation_visible_s
        if invocation is None or self._timeline.now() < invocation.sent_at + visible_s:
            raise ApiError("InvocationDoesNotExist", "")
        result = invocation.result if invocation.ended else None
        return {
            "CommandId": invocation.command_id,
            "InstanceId": invocation.instance.id,
            "Comment": invocation.comment,
            "DocumentName": DOCUMENT,
            "PluginName": "aws:runShellScript",
            "ResponseCode": -1 if result is None else result.exit_code,
            "ExecutionStartDateTime": _show_time(invocation.started_at),
            "ExecutionElapsedTime": _show_elapsed(invocation),
            "ExecutionEndDateTime": _show_time(invocation.ended_at),
            "Status": invocation.status,
            "StatusDetails": invocation.details,
            "StandardOutputContent": "" if result is None else result.output[:SHOWN_OUTPUT_CHARS],
            "StandardOutputUrl": "",
            "StandardErrorContent": "" if result is None else result.errors[:SHOWN_ERROR_CHARS],
            "StandardErrorUrl": "",
        }


def _read_wanted_ids(params: Mapping[str, Any]) -> set[str] | None:
    wanted: set[str] | None = None
    for criterion in params.get("Filters", []):
        if criterion["Key"] != "InstanceIds":
            raise ApiError("InvalidFilterKey", f"the simulator knows no filter {criterion['Key']}")
        wanted = set(criterion["Values"]) if wanted is None else wanted & set(criterion["Values"])
    for criterion in params.get("InstanceInformationFilterList", []):
        if criterion["key"] != "InstanceIds":
            raise ApiError("InvalidFilterKey", f"the simulator knows no filter {criterion['key']}")
        wanted = set(criterion["valueSet"]) if wanted is None else wanted & set(criterion["valueSet"])
    return wanted


def _show_time(at: float | None) -> str:
    return "" if at is None else to_utc(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _show_elapsed(invocation: Invocation) -> str:
    if invocation.started_at is None or invocation.ended_at is None:
        return ""
    return f"PT{invocation.ended_at - invocation.started_at:.3f}S"
