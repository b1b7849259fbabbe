"""The least deployment that gets a run going: what drives the modelled instance in the simulator's own tests.

It has no shutdown guarantee beyond the scheduled action, retries nothing and cleans nothing up: `ghostpen.aws` does.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.in_process import InProcessDoor

GROUP, BUCKET, PREFIX = "gpu-runs", "runs-bucket", "book/runs/run-1/"
SECRET = "/ghostpen/run-1/WANDB_API_KEY"
ACTION_S = 9000.0
SETTINGS = {
    "HANDOVER_ID": "h-1",
    "RUN_ID": "run-1",
    "MODE": "train",
    "CONTROL": "yes",
    "IMAGE": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ghostpen@sha256:" + "1" * 64,
    "SECRETS_PATH": "/ghostpen/run-1",
    "SECRET_NAMES": "WANDB_API_KEY",
    "MAX_RUNTIME_S": "3600",
    "GRACE_S": "120",
    "TIMER_S": "4620",
    "SMOKE_S": "1800",
    "SMOKE_TIMER_S": "6700",
}


class Driver:
    """The calls of one deployment."""

    def __init__(self, simulator: Simulator, door: InProcessDoor, **settings: str) -> None:
        self.simulator = simulator
        self._clock = simulator.timeline
        self._door = door
        self._settings = SETTINGS | settings

    def sleep(self, seconds: float) -> None:
        self._clock.run_until(self._clock.now() + seconds)

    def go_up(self) -> str | None:
        """Arm the scheduled action, hand over, start an instance; None where none is in service in 15 minutes."""
        autoscaling, ssm, s3 = (self._door.client(name) for name in ("autoscaling", "ssm", "s3"))
        end = self._clock.now_utc() + timedelta(seconds=ACTION_S)
        autoscaling.put_scheduled_update_group_action(
            AutoScalingGroupName=GROUP,
            ScheduledActionName="ghostpen-run-1",
            StartTime=end,
            MinSize=0,
            DesiredCapacity=0,
        )
        expiration = {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": end.isoformat()}}
        ssm.put_parameter(
            Name=SECRET, Value="geheim", Type="SecureString", Tier="Advanced", Policies=json.dumps([expiration])
        )
        settings = "".join(f"{name}={value}\n" for name, value in self._settings.items())
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}instance/run.sh", Body=b"#!/bin/bash\n")
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}instance/settings.env", Body=settings.encode())
        autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)
        for _ in range(90):
            group = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][0]
            for instance in group["Instances"]:
                if instance["LifecycleState"] == "InService":
                    return str(instance["InstanceId"])
            self.sleep(10)
        return None

    def wait_for_agent(self, instance_id: str) -> bool:
        filters = [{"Key": "InstanceIds", "Values": [instance_id]}]
        for _ in range(60):
            answer = self._door.client("ssm").describe_instance_information(Filters=filters)
            if any(agent["PingStatus"] == "Online" for agent in answer["InstanceInformationList"]):
                return True
            self.sleep(10)
        return False

    def order(self, instance_id: str, action: str, *, limit_s: float = 1900) -> Any:
        """Send `smoke` or `start`, and wait for its end."""
        ssm = self._door.client("ssm")
        script = (
            f"aws s3 cp s3://{BUCKET}/{PREFIX}instance/run.sh run.sh.new\nexec bash run.sh {action} x {instance_id}"
        )
        command = ssm.send_command(
            InstanceIds=[instance_id],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": script.splitlines(), "executionTimeout": ["1800"]},
        )
        command_id = command["Command"]["CommandId"]
        for _ in range(int(limit_s / 10)):
            self.sleep(10)
            shown = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
            if shown["Status"] not in {"Pending", "InProgress", "Delayed"}:
                break
        return shown

    def run(self) -> str:
        """Go up, smoke, start: the instance's id. Fails the test where one of them does not work."""
        instance_id = self.go_up()
        assert instance_id is not None
        assert self.wait_for_agent(instance_id)
        assert self.order(instance_id, "smoke")["Status"] == "Success"
        assert self.order(instance_id, "start")["Status"] == "Success"
        return instance_id

    # -- what the run left --

    def read_status(self) -> Any:
        content = self.simulator.buckets.read(BUCKET, f"{PREFIX}instance/status.json")
        return None if content is None else json.loads(content)

    def list_bundles(self) -> list[str]:
        """Name the run's bundles that have a manifest, below the run's prefix."""
        keys = self.simulator.buckets.objects[BUCKET]
        names = [key.removeprefix(PREFIX).removesuffix("/manifest.json") for key in keys if "/manifest.json" in key]
        return sorted(name for name in names if "/files/" not in name)
