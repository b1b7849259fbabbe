"""The instance's metadata service (IMDSv2), over HTTP on loopback: http://SERVER/imds/INSTANCE_ID/latest/...

boto3 and the aws CLI take the role's credentials from it when AWS_EC2_METADATA_SERVICE_ENDPOINT says where it is, as
on EC2. Beside AWS's paths there are `power-off` and `timers`, to which stand-ins of the machine post.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.stand_ins.aws.credentials import make_access_key
from tests.stand_ins.aws.instances import Instance, State
from tests.stand_ins.aws.timeline import to_utc
from tests.stand_ins.aws.wire import HttpAnswer, HttpRequest

if TYPE_CHECKING:
    from tests.stand_ins.aws.core import Simulator

PREFIX = "/imds/"
TOKEN = "imds-token"
ROLE_LIFE = timedelta(hours=6)


def answer_metadata(request: HttpRequest, simulator: Simulator) -> HttpAnswer:
    """Answer what an instance asks about itself; without a token it is refused, as IMDSv2 does."""
    instance_id, _, path = request.path.removeprefix(PREFIX).partition("/")
    with simulator.timeline.lock:
        instance = simulator.ec2.find(instance_id)
        if instance is None or instance.state is State.TERMINATED:  # it answers while the machine shuts down
            return _render(404, "")
        if (request.method, path) == ("PUT", "latest/api/token"):
            return _render(200, TOKEN)
        if (request.method, path) == ("POST", "power-off"):
            simulator.ec2.terminate(instance, "Client.InstanceInitiatedShutdown")
            return _render(200, "")
        if (request.method, path) == ("POST", "timers"):
            timer = json.loads(request.body)
            instance.host.start_timer(timer["seconds"], timer["command"], log=f"log/{timer['unit']}")
            return _render(200, "")
        if request.headers.get("x-aws-ec2-metadata-token") != TOKEN:
            return _render(401, "")
        found = _list_metadata(instance, simulator).get(path.removeprefix("latest/").rstrip("/"))
    return _render(404, "") if found is None else _render(200, found)


def _list_metadata(instance: Instance, simulator: Simulator) -> dict[str, str]:
    world = simulator.world
    document = {
        "instanceId": instance.id,
        "instanceType": instance.type,
        "region": world.region,
        "availabilityZone": instance.zone,
        "accountId": world.account_id,
    }
    role = f"meta-data/iam/security-credentials/{world.instance_role}"
    listed = {
        "meta-data/instance-id": instance.id,
        "meta-data/instance-type": instance.type,
        "meta-data/instance-life-cycle": "spot" if instance.spot else "on-demand",
        "meta-data/placement/availability-zone": instance.zone,
        "meta-data/placement/region": world.region,
        "meta-data/iam/security-credentials": world.instance_role,
        role: _render_credentials(instance, simulator),
        "dynamic/instance-identity/document": json.dumps(document),
    }
    if instance.spot_taken_at is not None:
        taken_at = to_utc(instance.spot_taken_at).strftime("%Y-%m-%dT%H:%M:%SZ")
        listed["meta-data/spot/instance-action"] = json.dumps({"action": "terminate", "time": taken_at})
    return listed


def _render_credentials(instance: Instance, simulator: Simulator) -> str:
    now = simulator.timeline.now_utc()
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Expiration": (now + ROLE_LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "AccessKeyId": make_access_key(instance.id),
            "SecretAccessKey": "instance-secret",
            "Token": "instance-token",
        }
    )


def _render(status: int, text: str) -> HttpAnswer:
    return HttpAnswer(status, {"Content-Type": "text/plain"}, text.encode())
