"""The EC2 API over the instances: the two Describe calls that ghostpen makes."""

from __future__ import annotations

from typing import Any

from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request
from tests.stand_ins.aws.ec2 import Ec2
from tests.stand_ins.aws.instances import STATE_CODES, Instance
from tests.stand_ins.aws.timeline import to_utc
from tests.stand_ins.aws.world import GPU_TYPES, World


class Ec2Api:
    """Answer for all instances of the account."""

    def __init__(self, world: World, ec2: Ec2) -> None:
        self._world = world
        self._ec2 = ec2

    def list_handlers(self) -> dict[str, Handler]:
        return {"DescribeInstances": self._describe_instances, "DescribeInstanceTypes": self._describe_types}

    def _describe_instances(self, request: Request) -> Answer:
        ids = request.params.get("InstanceIds")
        if ids and (unknown := [name for name in ids if self._ec2.find(name) is None]):
            plural = "s" if len(unknown) > 1 else ""
            raise ApiError(
                "InvalidInstanceID.NotFound", f"The instance ID{plural} '{', '.join(unknown)}' do not exist"
            )
        shown = [instance for instance in self._ec2.list_instances() if not instance.forgotten]
        chosen = [instance for instance in shown if not ids or instance.id in ids]
        for criterion in request.params.get("Filters", []):
            chosen = [instance for instance in chosen if _matches(instance, criterion["Name"], criterion["Values"])]
        return {"Reservations": [self._render_reservation(instance) for instance in chosen]}

    def _render_reservation(self, instance: Instance) -> Answer:
        shown: dict[str, Any] = {
            "InstanceId": instance.id,
            "ImageId": "ami-0123456789abcdef0",
            "InstanceType": instance.type,
            "State": {"Code": STATE_CODES[instance.state], "Name": str(instance.state)},
            "LaunchTime": to_utc(instance.launched_at),
            "Placement": {"AvailabilityZone": instance.zone, "Tenancy": "default"},
            "Tags": [{"Key": key, "Value": value} for key, value in _read_tags(instance).items()],
            "StateTransitionReason": "" if instance.alive else "User initiated",
        }
        if instance.spot:
            shown["InstanceLifecycle"] = "spot"
        if instance.reason is not None:
            shown["StateReason"] = {"Code": instance.reason[0], "Message": instance.reason[1]}
        number = f"r-{instance.number:017x}"
        return {"ReservationId": number, "OwnerId": self._world.account_id, "Instances": [shown]}

    def _describe_types(self, request: Request) -> Answer:
        names = request.params.get("InstanceTypes") or sorted(GPU_TYPES)
        if unknown := [name for name in names if name not in GPU_TYPES]:
            raise ApiError("InvalidInstanceType", f"The following supplied instance types do not exist: {unknown}")
        return {"InstanceTypes": [_render_type(name) for name in names]}


def _read_tags(instance: Instance) -> dict[str, str]:
    return {"aws:autoscaling:groupName": instance.group.name, **dict(instance.group.tags)}


def _matches(instance: Instance, name: str, values: list[str]) -> bool:
    if name.startswith("tag:"):
        return _read_tags(instance).get(name.removeprefix("tag:")) in values
    known = {
        "instance-state-name": str(instance.state),
        "instance-id": instance.id,
        "instance-type": instance.type,
        "availability-zone": instance.zone,
    }
    if name not in known:
        raise ApiError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return known[name] in values


def _render_type(name: str) -> Answer:
    gpu_type = GPU_TYPES[name]
    gpu = {
        "Name": gpu_type.gpu,
        "Manufacturer": "NVIDIA",
        "Count": gpu_type.gpu_count,
        "MemoryInfo": {"SizeInMiB": gpu_type.gpu_memory_mib},
    }
    return {
        "InstanceType": name,
        "VCpuInfo": {"DefaultVCpus": gpu_type.vcpus},
        "MemoryInfo": {"SizeInMiB": gpu_type.memory_mib},
        "GpuInfo": {"Gpus": [gpu], "TotalGpuMemoryInMiB": gpu_type.gpu_count * gpu_type.gpu_memory_mib},
    }
