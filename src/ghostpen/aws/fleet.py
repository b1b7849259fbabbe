"""The Auto Scaling group that the GPU comes from: what it is, how it goes up and down, and its dead-man switch.

Everything is found by the group's name: no step depends on what an earlier one kept. A run that holds the group is
told by the name of a scheduled action on it, ghostpen-RUN_ID, which sets the group to 0 if nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ghostpen.aws.errors import get_code, translated
from ghostpen.aws.waiting import DeadlineError, Waiting
from ghostpen.errors import CloudError, NoCapacityError

ACTION_PREFIX = "ghostpen-"
MAX_INSTANCE_TAG, IDLE_TAG = "ghostpen-max-instance-s", "ghostpen-idle-s"  # infra/ghostpen.yaml sets them
_ENDED = {"Successful", "Failed", "Cancelled"}
_FAILED = {"Failed", "Cancelled"}
_TAKEN_TIME_S = 61  # AWS refuses two actions at the same minute of one group
_TIME_TRIES = 3


@dataclass(frozen=True)
class Member:
    """An instance of the group, as the group sees it."""

    instance_id: str
    lifecycle: str
    health: str
    type: str
    zone: str
    protected: bool

    @property
    def is_in_service(self) -> bool:
        """Say whether it runs and the group wants it."""
        return self.lifecycle == "InService"

    @property
    def is_leaving(self) -> bool:
        """Say whether the group is ending it already."""
        return self.lifecycle.startswith("Terminat")


@dataclass(frozen=True)
class GroupState:
    """The group at one moment."""

    name: str
    desired: int
    min_size: int
    max_size: int
    instances: tuple[Member, ...]
    suspended: dict[str, str]  # process -> the reason that AWS gives
    protected: bool  # new instances are, from scale-in
    warm_pool: bool
    zones: tuple[str, ...]
    types: tuple[str, ...]  # as far as the group itself names them
    spot: bool  # any of its instances may be spot
    # What the template's tags say of the timers that its instances arm at boot; None where nothing is said.
    max_instance_s: int | None = None  # no instance gets older
    idle_s: int | None = None  # nor this old without a run


@dataclass(frozen=True)
class Activity:
    """A launch or an end that the group undertook."""

    activity_id: str
    status: str
    message: str  # why it failed, in AWS's words
    cause: str
    started_at: datetime

    @property
    def is_open(self) -> bool:
        """Say whether it may still bring or end an instance."""
        return self.status not in _ENDED

    @property
    def has_failed(self) -> bool:
        """Say whether it came to nothing."""
        return self.status in _FAILED


@dataclass(frozen=True)
class Armed:
    """A run's scheduled action: at this time the group goes to 0."""

    run_id: str
    at: datetime


class Fleet:
    """The calls of one group."""

    def __init__(self, client: Any, group: str) -> None:
        """Take boto3's autoscaling client, or what answers like it."""
        self._client = client
        self.group = group

    @property
    def region(self) -> str:
        """Give the region that the client asks in."""
        region: str = self._client.meta.region_name
        return region

    def read_group(self) -> GroupState:
        """Read the group.

        Raises:
            CloudError: there is no such group, no right to read it, no answer.
        """
        with self._translated():
            answer = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])
        if not answer["AutoScalingGroups"]:
            raise CloudError(
                f"group {self.group}: there is no Auto Scaling group of this name in {self.region}; correct "
                "group.name or aws.region, or create it (infra/ghostpen.yaml)"
            )
        return _parse_group(answer["AutoScalingGroups"][0])

    def set_desired(self, capacity: int) -> None:
        """Ask for so many instances; that there are none to be had shows only in the activities.

        Raises:
            CloudError: a refusal, or no answer.
        """
        with self._translated():
            self._client.set_desired_capacity(
                AutoScalingGroupName=self.group, DesiredCapacity=capacity, HonorCooldown=False
            )

    def terminate(self, instance_id: str, *, decrement: bool) -> None:
        """End one instance, also one that is protected from scale-in.

        Args:
            decrement: lower the desired capacity with it, without which the group would replace it. Where it is at
                the minimum already, AWS refuses that, and nothing is replaced.

        Raises:
            CloudError: a refusal, or no answer.
        """
        with self._translated():
            self._client.terminate_instance_in_auto_scaling_group(
                InstanceId=instance_id, ShouldDecrementDesiredCapacity=decrement
            )

    def read_activities(self) -> list[Activity]:
        """Read what the group undertook lately; newest first.

        Raises:
            CloudError: a refusal, or no answer.
        """
        with self._translated():
            answer = self._client.describe_scaling_activities(AutoScalingGroupName=self.group, MaxRecords=100)
        return [_parse_activity(entry) for entry in answer["Activities"]]

    def arm(self, run_id: str, at: datetime) -> datetime:
        """Let AWS set the group to 0 at a time, whatever becomes of everything else; again moves the time.

        Returns:
            The time: some minutes later where the group has another action at that one.

        Raises:
            CloudError: a refusal, or no answer.
        """
        for attempt in range(_TIME_TRIES):
            start = at + attempt * timedelta(seconds=_TAKEN_TIME_S)
            try:
                with self._translated():
                    self._client.put_scheduled_update_group_action(
                        AutoScalingGroupName=self.group,
                        ScheduledActionName=ACTION_PREFIX + run_id,
                        StartTime=start,
                        MinSize=0,
                        DesiredCapacity=0,
                    )
            except CloudError as error:
                if get_code(error.__cause__) != "AlreadyExists" or attempt == _TIME_TRIES - 1:
                    raise
            else:
                return start
        raise AssertionError("the last try returns or raises")

    def disarm(self, run_id: str) -> None:
        """Take the scheduled action away; fine if it is gone, as one that has fired is.

        Raises:
            CloudError: a refusal, or no answer.
        """
        try:
            with self._translated():
                self._client.delete_scheduled_action(
                    AutoScalingGroupName=self.group, ScheduledActionName=ACTION_PREFIX + run_id
                )
        except CloudError as error:
            if get_code(error.__cause__) != "ValidationError":
                raise
            if any(armed.run_id == run_id for armed in self.read_armed()):
                raise

    def read_armed(self) -> list[Armed]:
        """Read which runs hold the group, by their scheduled actions.

        Raises:
            CloudError: a refusal, or no answer.
        """
        with self._translated():
            pages = self._client.get_paginator("describe_scheduled_actions").paginate(AutoScalingGroupName=self.group)
            actions = [action for page in pages for action in page["ScheduledUpdateGroupActions"]]
        return [
            Armed(action["ScheduledActionName"].removeprefix(ACTION_PREFIX), action["StartTime"])
            for action in actions
            if action["ScheduledActionName"].startswith(ACTION_PREFIX) and not action.get("Recurrence")
        ]

    def wait_for_instance(
        self, waiting: Waiting, *, known: Collection[str], limit_s: float, report: Callable[[str], None]
    ) -> Member:
        """Wait until an instance is in service; the group itself goes through its zones and types.

        Args:
            known: activities that are not about this launch, by their ids: clocks may differ, ids can't.
            report: is told each new reason for a failed launch.

        Raises:
            NoCapacityError: none came in time.
            CloudError: a refusal.
        """
        reasons: dict[str, None] = {}

        def look() -> Member | None:
            for activity in reversed(self.read_activities()):
                new = activity.activity_id not in known and activity.message not in reasons
                if new and activity.has_failed:
                    reasons[activity.message] = None
                    report(f"the group could not launch an instance: {activity.message}")
            return next((member for member in self.read_group().instances if member.is_in_service), None)

        try:
            return waiting.wait_for(look, limit_s=limit_s)
        except DeadlineError as error:
            said = "; ".join(reasons) or "it did not say why"
            raise NoCapacityError(
                f"group {self.group} got no instance within {limit_s:.0f} s: {said}{error}; try again later, or give "
                "the group more zones and instance types, or a higher quota"
            ) from error

    def _translated(self) -> Any:
        return translated(f"group {self.group}", service="autoscaling")


@dataclass(frozen=True)
class Machine:
    """An instance, as EC2 sees it."""

    type: str
    zone: str
    launched_at: datetime
    spot: bool
    state_reason: str  # why it ended, if it did


def read_machine(client: Any, instance_id: str) -> Machine | None:
    """Read an instance from EC2; None where it is not known, as just after its launch and an hour after its end.

    Raises:
        CloudError: a refusal, or no answer.
    """
    try:
        with translated(f"instance {instance_id}", service="ec2"):
            answer = client.describe_instances(InstanceIds=[instance_id])
    except CloudError as error:
        if get_code(error.__cause__) == "InvalidInstanceID.NotFound":
            return None
        raise
    found = [entry for reservation in answer["Reservations"] for entry in reservation["Instances"]]
    if not found:
        return None
    return Machine(
        type=found[0]["InstanceType"],
        zone=found[0]["Placement"]["AvailabilityZone"],
        launched_at=found[0]["LaunchTime"],
        spot=found[0].get("InstanceLifecycle") == "spot",
        state_reason=found[0].get("StateReason", {}).get("Code", ""),
    )


def _parse_group(group: dict[str, Any]) -> GroupState:
    policy = group.get("MixedInstancesPolicy", {})
    overrides = policy.get("LaunchTemplate", {}).get("Overrides", [])
    tags = {tag["Key"]: tag.get("Value", "") for tag in group.get("Tags", [])}
    on_demand_share = policy.get("InstancesDistribution", {}).get("OnDemandPercentageAboveBaseCapacity", 100)
    return GroupState(
        name=group["AutoScalingGroupName"],
        desired=group["DesiredCapacity"],
        min_size=group["MinSize"],
        max_size=group["MaxSize"],
        instances=tuple(
            Member(
                instance_id=member["InstanceId"],
                lifecycle=member["LifecycleState"],
                health=member.get("HealthStatus", ""),
                type=member.get("InstanceType", ""),
                zone=member.get("AvailabilityZone", ""),
                protected=bool(member.get("ProtectedFromScaleIn")),
            )
            for member in group.get("Instances", [])
        ),
        suspended={entry["ProcessName"]: entry.get("SuspensionReason", "") for entry in group["SuspendedProcesses"]},
        protected=bool(group.get("NewInstancesProtectedFromScaleIn")),
        warm_pool="WarmPoolConfiguration" in group,
        zones=tuple(group.get("AvailabilityZones", [])),
        types=tuple(override["InstanceType"] for override in overrides if "InstanceType" in override),
        spot=on_demand_share < 100,
        max_instance_s=_read_seconds(tags.get(MAX_INSTANCE_TAG, "")),
        idle_s=_read_seconds(tags.get(IDLE_TAG, "")),
    )


def _read_seconds(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() else None


def _parse_activity(entry: dict[str, Any]) -> Activity:
    return Activity(
        activity_id=entry["ActivityId"],
        status=entry["StatusCode"],
        message=entry.get("StatusMessage", ""),
        cause=entry.get("Cause", ""),
        started_at=entry["StartTime"],
    )
