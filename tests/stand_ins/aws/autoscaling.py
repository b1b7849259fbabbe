"""The Auto Scaling API over the groups: parameters, refusals, how things are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime

from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request, read_page, refuse_invalid
from tests.stand_ins.aws.groups import Group, Member
from tests.stand_ins.aws.history import Activity
from tests.stand_ins.aws.schedule import ScheduledAction
from tests.stand_ins.aws.timeline import to_utc
from tests.stand_ins.aws.world import GroupSpec, World

PAGE_SIZE = 100


class AutoScaling:
    """Answer for all groups of the account."""

    def __init__(self, world: World, groups: Mapping[str, Group]) -> None:
        self._world = world
        self._groups = groups

    def list_handlers(self) -> dict[str, Handler]:
        return {
            "DescribeAutoScalingGroups": self._describe_groups,
            "DescribeScalingActivities": self._describe_activities,
            "DescribeScheduledActions": self._describe_scheduled,
            "SetDesiredCapacity": self._set_desired,
            "PutScheduledUpdateGroupAction": self._put_scheduled,
            "DeleteScheduledAction": self._delete_scheduled,
            "TerminateInstanceInAutoScalingGroup": self._terminate,
        }

    def _find_group(self, name: str) -> Group:
        if name not in self._groups:
            raise refuse_invalid(f"AutoScalingGroup name not found - AutoScalingGroup {name} not found")
        return self._groups[name]

    # -- changes --

    def _set_desired(self, request: Request) -> Answer:
        group = self._find_group(request.params["AutoScalingGroupName"])
        group.set_desired(
            request.params["DesiredCapacity"], honor_cooldown=request.params.get("HonorCooldown", False)
        )
        return {}

    def _put_scheduled(self, request: Request) -> Answer:
        params = request.params
        group = self._find_group(params["AutoScalingGroupName"])
        if "Recurrence" in params:
            raise ApiError("NotImplemented", "the simulator has one-time actions only", status=501)
        if "StartTime" not in params:
            raise refuse_invalid("Either Recurrence or StartTime must be specified")
        sizes = [params.get("MinSize"), params.get("MaxSize"), params.get("DesiredCapacity")]
        if all(size is None for size in sizes):
            raise refuse_invalid("At least one of MinSize, MaxSize or DesiredCapacity must be specified")
        group.schedule.put(ScheduledAction(params["ScheduledActionName"], read_time(params["StartTime"]), *sizes))
        return {}

    def _delete_scheduled(self, request: Request) -> Answer:
        group = self._find_group(request.params["AutoScalingGroupName"])
        if not group.schedule.take_off(request.params["ScheduledActionName"]):
            raise refuse_invalid("Scheduled action name not found")
        return {}

    def _terminate(self, request: Request) -> Answer:
        instance_id = request.params.get("InstanceId", "")
        for group in self._groups.values():
            for member in group.members:
                if member.instance.id == instance_id:
                    decrement = request.params["ShouldDecrementDesiredCapacity"]
                    activity = group.terminate_member(member, decrement=decrement)
                    return {"Activity": self._render_activity(group, activity)}
        raise refuse_invalid(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")

    # -- views --

    def _describe_groups(self, request: Request) -> Answer:
        names = request.params.get("AutoScalingGroupNames")
        chosen = [group for name, group in self._groups.items() if not names or name in names]
        size = min(request.params.get("MaxRecords", 50), PAGE_SIZE)
        page, more = read_page(chosen, request.params, size=size)
        return {"AutoScalingGroups": [self._render_group(group) for group in page], **more}

    def _describe_activities(self, request: Request) -> Answer:
        params = request.params
        group = self._find_group(params["AutoScalingGroupName"])
        bounds = {criterion["Name"]: criterion["Values"] for criterion in params.get("Filters", [])}
        if unknown := set(bounds) - {"StartTimeLowerBound", "StartTimeUpperBound", "Status"}:
            raise refuse_invalid(f"Filter {sorted(unknown)} is not valid")
        earliest = read_time(bounds["StartTimeLowerBound"][0]) if "StartTimeLowerBound" in bounds else 0.0
        latest = read_time(bounds["StartTimeUpperBound"][0]) if "StartTimeUpperBound" in bounds else math.inf
        wanted = params.get("ActivityIds")
        newest_first = [
            activity
            for activity in reversed(group.activities)
            if earliest <= activity.started_at <= latest
            and (not wanted or activity.id in wanted)
            and activity.status in bounds.get("Status", [activity.status])
        ]
        page, more = read_page(newest_first, params, size=min(params.get("MaxRecords", PAGE_SIZE), PAGE_SIZE))
        return {"Activities": [self._render_activity(group, activity) for activity in page], **more}

    def _describe_scheduled(self, request: Request) -> Answer:
        params = request.params
        names = params.get("ScheduledActionNames")
        groups = (
            [self._find_group(params["AutoScalingGroupName"])]
            if "AutoScalingGroupName" in params
            else self._groups.values()
        )
        found = [
            self._render_scheduled(group, action)
            for group in groups
            for action in group.schedule.actions.values()
            if not names or action.name in names
        ]
        page, more = read_page(found, params, size=min(params.get("MaxRecords", 50), PAGE_SIZE))
        return {"ScheduledUpdateGroupActions": page, **more}

    def _render_group(self, group: Group) -> Answer:
        spec = group.spec
        template = {"LaunchTemplateId": "lt-0123456789abcdef0", "LaunchTemplateName": spec.name, "Version": "1"}
        return {
            "AutoScalingGroupName": spec.name,
            "AutoScalingGroupARN": self._make_arn("autoScalingGroup", spec.name),
            "MixedInstancesPolicy": {
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": template,
                    "Overrides": [{"InstanceType": name} for name in spec.types],
                },
                "InstancesDistribution": {
                    "OnDemandAllocationStrategy": "prioritized",
                    "OnDemandBaseCapacity": 0,
                    "OnDemandPercentageAboveBaseCapacity": 0 if spec.spot else 100,
                },
            },
            "MinSize": group.min_size,
            "MaxSize": group.max_size,
            "DesiredCapacity": group.desired,
            "DefaultCooldown": spec.cooldown_s,
            "AvailabilityZones": list(spec.zones),
            "VPCZoneIdentifier": ",".join(f"subnet-{number:017x}" for number, _ in enumerate(spec.zones, start=1)),
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": spec.health_check_grace_s,
            "Instances": [_render_member(member, template) for member in group.members],
            "CreatedTime": to_utc(group.created_at),
            "SuspendedProcesses": [
                {"ProcessName": name, "SuspensionReason": reason} for name, reason in group.suspended.items()
            ],
            "Tags": [
                {
                    "ResourceId": spec.name,
                    "ResourceType": "auto-scaling-group",
                    "Key": key,
                    "Value": value,
                    "PropagateAtLaunch": True,
                }
                for key, value in (*spec.tags, *_list_timer_tags(spec))
            ],
            "TerminationPolicies": ["Default"],
            "NewInstancesProtectedFromScaleIn": spec.protected,
        }

    def _render_activity(self, group: Group, activity: Activity) -> Answer:
        shown = {
            "ActivityId": activity.id,
            "AutoScalingGroupName": group.spec.name,
            "AutoScalingGroupARN": self._make_arn("autoScalingGroup", group.spec.name),
            "Description": activity.description,
            "Cause": activity.cause[:1023],
            "StartTime": to_utc(activity.started_at),
            "StatusCode": activity.status,
            "Progress": 100 if activity.ended_at is not None else 50,
            "Details": json.dumps({"Availability Zone": group.spec.zones[0]}),
        }
        if activity.message:
            shown["StatusMessage"] = activity.message
        if activity.ended_at is not None:
            shown["EndTime"] = to_utc(activity.ended_at)
        return shown

    def _render_scheduled(self, group: Group, action: ScheduledAction) -> Answer:
        sizes = {"MinSize": action.min_size, "MaxSize": action.max_size, "DesiredCapacity": action.desired}
        return {
            "AutoScalingGroupName": group.spec.name,
            "ScheduledActionName": action.name,
            "ScheduledActionARN": self._make_arn("scheduledUpdateGroupAction", f"{group.spec.name}/{action.name}"),
            "Time": to_utc(action.at),
            "StartTime": to_utc(action.at),
            **{name: size for name, size in sizes.items() if size is not None},
        }

    def _make_arn(self, kind: str, name: str) -> str:
        return (
            f"arn:aws:autoscaling:{self._world.region}:{self._world.account_id}:{kind}:*:autoScalingGroupName/{name}"
        )


def _list_timer_tags(spec: GroupSpec) -> list[tuple[str, str]]:
    """Say of the timers what the template's group does."""
    timers = {"ghostpen-max-instance-s": spec.age_timer_s, "ghostpen-idle-s": spec.idle_timer_s}
    return [(key, f"{seconds:.0f}") for key, seconds in timers.items() if seconds is not None]


def _render_member(member: Member, template: Answer) -> Answer:
    return {
        "InstanceId": member.instance.id,
        "InstanceType": member.instance.type,
        "AvailabilityZone": member.instance.zone,
        "LifecycleState": str(member.lifecycle),
        "HealthStatus": "Healthy" if member.healthy else "Unhealthy",
        "LaunchTemplate": template,
        "ProtectedFromScaleIn": member.protected,
    }


def read_time(value: datetime | str | float) -> float:
    """Read a time as botocore takes it: an aware datetime, ISO text, or seconds; one without a zone is UTC's."""
    from botocore.utils import parse_to_aware_datetime

    seconds: float = parse_to_aware_datetime(value).timestamp()
    return seconds
