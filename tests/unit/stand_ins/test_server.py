"""The door with a socket: the same answers as without one, to boto3 and to the aws CLI, and what only HTTP has."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import THROTTLED, AnswerLost, CallFault, Refused, Unreachable
from tests.stand_ins.aws.in_process import find_door
from tests.stand_ins.aws.machines import QUICK_DELAYS, QUICK_PLAN
from tests.stand_ins.aws.modelled_instance import ModelledHost
from tests.stand_ins.aws.server import AwsServer
from tests.stand_ins.aws.timeline import VirtualTime
from tests.stand_ins.aws.world import World
from tests.unit.stand_ins.conftest import GROUP, QuietHost

SET = "autoscaling:SetDesiredCapacity"
LIMIT_S = 20
FIRST = "i-00000000000000001"


def make_client(server: AwsServer, service: str, *, caller: str = "job", attempts: int = 1) -> Any:
    import boto3
    from botocore.config import Config

    environment = server.make_environment(caller)
    session = boto3.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=environment["AWS_REGION"]
    )
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"})
    return session.client(service, endpoint_url=server.url, config=config)


@pytest.fixture
def server() -> Iterator[AwsServer]:
    world = World(delays=QUICK_DELAYS)
    with AwsServer(QuietHost, world=world, faults=Faults(plan=QUICK_PLAN)).serve() as aws:
        yield aws


def wait_for(condition: Any) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found
    return found


# -- the same as in process --

CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("sts", "get_caller_identity", {}),
    ("iam", "get_role", {"RoleName": "ghostpen-deploy"}),
    ("iam", "get_role", {"RoleName": "other"}),
    ("ecr", "describe_images", {"repositoryName": "ghostpen", "imageIds": [{"imageTag": "v1"}]}),
    ("ecr", "describe_images", {"repositoryName": "other"}),
    ("service-quotas", "get_service_quota", {"ServiceCode": "ec2", "QuotaCode": "L-DB2E81BA"}),
    ("ec2", "describe_instance_types", {"InstanceTypes": ["g6e.xlarge"]}),
    ("ec2", "describe_instances", {"Filters": [{"Name": "instance-state-name", "Values": ["running"]}]}),
    ("ec2", "describe_instances", {"InstanceIds": ["i-0123456789abcdef0"]}),
    ("ec2", "run_instances", {"MinCount": 1, "MaxCount": 1}),
    ("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroupNames": [GROUP]}),
    ("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroupNames": ["other"]}),
    ("autoscaling", "describe_scaling_activities", {"AutoScalingGroupName": GROUP, "MaxRecords": 1}),
    ("autoscaling", "describe_scheduled_actions", {"AutoScalingGroupName": GROUP}),
    ("autoscaling", "set_desired_capacity", {"AutoScalingGroupName": GROUP, "DesiredCapacity": 2}),
    ("autoscaling", "delete_scheduled_action", {"AutoScalingGroupName": GROUP, "ScheduledActionName": "x"}),
    (
        "autoscaling",
        "terminate_instance_in_auto_scaling_group",
        {"InstanceId": "i-0123456789abcdef0", "ShouldDecrementDesiredCapacity": True},
    ),
    (
        "ssm",
        "describe_instance_information",
        {"Filters": [{"Key": "InstanceIds", "Values": ["i-00000000000000001"]}]},
    ),
    ("ssm", "send_command", {"InstanceIds": ["i-0123456789abcdef0"], "DocumentName": "AWS-RunShellScript"}),
    (
        "ssm",
        "send_command",
        {
            "InstanceIds": [FIRST],
            "DocumentName": "AWS-RunShellScript",
            "Parameters": {"commands": ["a", "b"]},
        },
    ),
    ("ssm", "cancel_command", {"CommandId": "0" * 36}),
    ("ssm", "put_parameter", {"Name": "/a/b", "Value": "x", "Type": "SecureString", "Tier": "Advanced"}),
    ("ssm", "delete_parameters", {"Names": ["/a/b", "/a/c"]}),
    ("logs", "filter_log_events", {"logGroupName": "/ghostpen/runs", "startTime": 1}),
    ("logs", "filter_log_events", {"logGroupName": "/other"}),
]


def describe(value: Any) -> Any:
    """Give an answer without what differs from one clock to another."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in {"ResponseMetadata", "Cause", "CommandId"}}
        return {key: describe(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [describe(item) for item in value]
    return type(value).__name__ if not isinstance(value, str | int | bool) else value


def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
    try:
        return describe(getattr(client, operation)(**params))
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return type(error).__name__, error.response["Error"]["Code"], error.response["Error"]["Message"], status


def test_every_call_is_answered_over_http_as_without_it(server: AwsServer) -> None:
    clock = VirtualTime()
    simulator = Simulator(clock, QuietHost, world=server.simulator.world, faults=Faults(plan=QUICK_PLAN))
    find_door("job").open(simulator)
    for group in (simulator.group, server.simulator.group):
        group.set_desired(1)
    clock.sleep(10)
    wait_for(lambda: [instance for instance in server.simulator.list_living() if instance.agent.connected])
    time.sleep(0.5)  # and in service
    clients = {service: make_client(server, service) for service, _, _ in CALLS}
    for service, operation, params in CALLS:
        expected = call(find_door("job").client(service), operation, params)
        assert call(clients[service], operation, params) == expected, operation


def test_command_is_seen_through_its_whole_way_over_http(server: AwsServer) -> None:
    server.simulator.group.set_desired(1)
    ssm = make_client(server, "ssm")
    agents = wait_for(lambda: ssm.describe_instance_information()["InstanceInformationList"])
    instance_id = agents[0]["InstanceId"]
    command = ssm.send_command(
        InstanceIds=[instance_id], DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}
    )
    command_id = command["Command"]["CommandId"]
    with pytest.raises(ssm.exceptions.InvocationDoesNotExist):
        ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
    time.sleep(0.3)
    shown = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
    assert (shown["Status"], shown["ResponseCode"]) == ("InProgress", -1)


# -- the aws CLI --


def run_cli(
    server: AwsServer, *arguments: str, caller: str = "job", feed: str = ""
) -> subprocess.CompletedProcess[str]:
    aws = Path(sys.executable).parent / "aws"
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | server.make_environment(caller)
    return subprocess.run(
        [str(aws), *arguments], env=environment, input=feed, capture_output=True, text=True, timeout=60
    )


def test_cli_reads_and_changes_the_group_and_shows_refusals(server: AwsServer) -> None:
    name = ("--auto-scaling-group-name", GROUP)
    refused = run_cli(server, "autoscaling", "set-desired-capacity", *name, "--desired-capacity", "2")
    assert refused.returncode != 0
    assert "(ValidationError) when calling the SetDesiredCapacity operation: New SetDesiredCapacity" in refused.stderr
    start = (server.timeline.now_utc() + timedelta(hours=1)).isoformat()
    put = run_cli(
        server, "autoscaling", "put-scheduled-update-group-action", *name, "--scheduled-action-name", "ghostpen-a",
        "--start-time", start, "--min-size", "0", "--desired-capacity", "0",
    )  # fmt: skip
    assert put.returncode == 0, put.stderr
    assert list(server.simulator.group.schedule.actions) == ["ghostpen-a"]
    shown = run_cli(server, "autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", GROUP)
    assert json.loads(shown.stdout)["AutoScalingGroups"][0]["DesiredCapacity"] == 0


def test_cli_copies_to_and_from_s3_within_its_rights(server: AwsServer) -> None:
    place = "s3://runs-bucket/book/runs/run-1/instance/status.json"
    assert run_cli(server, "s3", "cp", "-", place, feed='{"phase": "running"}').returncode == 0
    assert json.loads(run_cli(server, "s3", "cp", place, "-").stdout) == {"phase": "running"}
    refused = run_cli(server, "s3", "cp", "-", "s3://runs-bucket/book/data/manifest.json", feed="{}")
    assert "AccessDenied" in refused.stderr and "is not authorized to perform: s3:PutObject" in refused.stderr


# -- S3 --


def test_s3_keeps_conditions_parts_and_folders(server: AwsServer, tmp_path: Path) -> None:
    from boto3.s3.transfer import TransferConfig

    s3 = make_client(server, "s3", caller="owner")
    s3.put_object(Bucket="runs-bucket", Key="a/manifest.json", Body=b"{}", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="runs-bucket", Key="a/manifest.json", Body=b"[]", IfNoneMatch="*")
    content = os.urandom(12_000_000)
    (tmp_path / "up").write_bytes(content)
    config = TransferConfig(multipart_threshold=5_000_000, multipart_chunksize=5_000_000)
    s3.upload_file(str(tmp_path / "up"), "runs-bucket", "a/large", Config=config)
    s3.download_file("runs-bucket", "a/large", str(tmp_path / "down"), Config=config)
    assert (tmp_path / "down").read_bytes() == content
    assert s3.head_object(Bucket="runs-bucket", Key="a/large")["ContentLength"] == len(content)
    names = [request.operation for request in server.simulator.requests]
    assert {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject", "GetObject"} <= set(names)
    listed = s3.list_objects_v2(Bucket="runs-bucket", Prefix="a/")["Contents"]
    assert [entry["Key"] for entry in listed] == ["a/large", "a/manifest.json"]


def test_body_in_chunks_is_read(server: AwsServer) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    scope = f"{server.make_environment('owner')['AWS_ACCESS_KEY_ID']}/20260101/eu-central-1/s3/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    connection.request("PUT", "/runs-bucket/chunked", iter([b"one ", b"two"]), headers, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    found = make_client(server, "s3", caller="owner").get_object(Bucket="runs-bucket", Key="chunked")
    assert found["Body"].read() == b"one two"


def test_two_servers_one_after_the_other_share_no_objects() -> None:
    for _ in range(2):
        with AwsServer(QuietHost).serve() as server:
            s3 = make_client(server, "s3", caller="owner")
            assert "Contents" not in s3.list_objects_v2(Bucket="runs-bucket")
            s3.put_object(Bucket="runs-bucket", Key="a", Body=b"")


# -- faults, as botocore's own retries meet them --


@pytest.mark.parametrize(
    "failure", [THROTTLED, Refused("SlowDown", "Please reduce your request rate.", 503), Unreachable()], ids=str
)
def test_passing_failure_is_retried_by_botocore_and_cured(server: AwsServer, failure: Any) -> None:
    server.simulator.faults.add(CallFault(SET, failure, times=2))
    autoscaling = make_client(server, "autoscaling", attempts=5)
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=0)
    assert [request.name for request in server.simulator.requests] == [SET] * 3


def test_lasting_failure_reaches_the_caller_and_a_lost_answer_has_had_its_effect(server: AwsServer) -> None:
    autoscaling = make_client(server, "autoscaling", attempts=2)
    server.simulator.faults.add(CallFault(SET, AnswerLost(), times=10))
    with pytest.raises(ConnectionClosedError):
        autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)
    assert server.simulator.group.desired == 1


def test_fault_at_s3_strikes_before_moto_has_seen_the_request(server: AwsServer) -> None:
    server.simulator.faults.add(CallFault("s3:PutObject", Refused("InternalError", "injected", 500)))
    s3 = make_client(server, "s3")
    with pytest.raises(ClientError, match="InternalError"):
        s3.put_object(Bucket="runs-bucket", Key="runs/a/instance/x", Body=b"")
    assert "Contents" not in s3.list_objects_v2(Bucket="runs-bucket")


# -- who is calling --


def test_unknown_key_is_refused(server: AwsServer) -> None:
    import boto3

    client = boto3.Session("AKIAOTHER", "x", region_name="eu-central-1").client("sts", endpoint_url=server.url)
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        client.get_caller_identity()


def test_deploy_role_is_assumed_with_a_web_identity_and_no_key(server: AwsServer) -> None:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    sts = boto3.Session(region_name="eu-central-1").client(
        "sts", endpoint_url=server.url, config=Config(signature_version=UNSIGNED)
    )
    role = "arn:aws:iam::123456789012:role/ghostpen-deploy"
    options = {"RoleSessionName": "GitHubActions", "WebIdentityToken": "token"}
    credentials = sts.assume_role_with_web_identity(RoleArn=role, DurationSeconds=21600, **options)["Credentials"]
    session = boto3.Session(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    identity = session.client("sts", region_name="eu-central-1", endpoint_url=server.url).get_caller_identity()
    assert identity["Arn"].endswith("assumed-role/ghostpen-deploy/GitHubActions")
    with pytest.raises(ClientError, match="MaxSessionDuration"):
        sts.assume_role_with_web_identity(RoleArn=role, DurationSeconds=43200, **options)
    with pytest.raises(ClientError, match="AccessDenied"):
        sts.assume_role_with_web_identity(RoleArn=role + "x", **options)


def test_requests_are_recorded_with_headers_path_and_body(server: AwsServer) -> None:
    make_client(server, "ssm").put_parameter(Name="/a/b", Value="geheim", Type="SecureString")
    make_client(server, "s3").put_object(Bucket="runs-bucket", Key="runs/a/instance/env", Body=b"KEY=geheim")
    make_client(server, "s3").list_objects_v2(Bucket="runs-bucket", Prefix="geheim")
    names = [request.name for request in server.simulator.find_in_requests("geheim")]
    assert names == ["s3:PutObject", "s3:ListObjectsV2"]
    assert "Boto3" in server.simulator.requests[0].headers["user-agent"]


# -- time --


def test_scheduled_action_fires_when_time_is_pushed_ahead(server: AwsServer) -> None:
    autoscaling = make_client(server, "autoscaling")
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)
    wait_for(server.simulator.list_living)
    autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=GROUP,
        ScheduledActionName="ghostpen-a",
        StartTime=server.timeline.now_utc() + timedelta(hours=3),
        DesiredCapacity=0,
    )
    server.timeline.push_ahead(3 * 3600)
    wait_for(lambda: not server.simulator.list_leftovers())


def test_mistake_of_the_simulator_is_raised_at_the_servers_end() -> None:
    with pytest.raises(ZeroDivisionError), AwsServer(ModelledHost).serve() as server:
        server.timeline.call_later(0, lambda: 1 / 0)
        wait_for(lambda: server.timeline.failures)
