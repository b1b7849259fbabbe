"""The small services: identity, roles, images, quotas, logs."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.stand_ins.aws.api import Request
from tests.stand_ins.aws.world import GPU_QUOTA_CODE
from tests.unit.stand_ins.conftest import OpenSimulator

DIGEST = "sha256:" + "1" * 64


def test_identity_is_the_assumed_deploy_role_and_its_role_says_how_long(
    open_simulator: OpenSimulator, door: Any
) -> None:
    open_simulator()
    identity = door.client("sts").get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == (
        "123456789012",
        "arn:aws:sts::123456789012:assumed-role/ghostpen-deploy/GitHubActions",
    )
    assert door.client("iam").get_role(RoleName="ghostpen-deploy")["Role"]["MaxSessionDuration"] == 21600
    with pytest.raises(door.client("iam").exceptions.NoSuchEntityException):
        door.client("iam").get_role(RoleName="other")


def test_image_is_found_by_tag_and_by_digest(open_simulator: OpenSimulator, door: Any) -> None:
    open_simulator()
    ecr = door.client("ecr")
    for image in ({"imageTag": "v1"}, {"imageDigest": DIGEST}):
        answer = ecr.describe_images(repositoryName="ghostpen", imageIds=[image])
        assert answer["imageDetails"][0]["imageDigest"] == DIGEST
    with pytest.raises(ecr.exceptions.ImageNotFoundException):
        ecr.describe_images(repositoryName="ghostpen", imageIds=[{"imageTag": "v2"}])
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
        ecr.describe_images(repositoryName="other")


def test_quota_of_gpus_is_told_in_vcpus(open_simulator: OpenSimulator, door: Any) -> None:
    open_simulator()
    quotas = door.client("service-quotas")
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode=GPU_QUOTA_CODE)["Quota"]["Value"] == 48.0
    with pytest.raises(quotas.exceptions.NoSuchResourceException):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0")
    gpus = door.client("ec2").describe_instance_types(InstanceTypes=["g6e.xlarge"])["InstanceTypes"][0]
    assert (gpus["VCpuInfo"]["DefaultVCpus"], gpus["GpuInfo"]["TotalGpuMemoryInMiB"]) == (4, 45776)


def write_lines(simulator: Any, stream: str, *texts: str) -> None:
    group = {"logGroupName": "/ghostpen/runs", "logStreamName": stream}
    at_ms = round(simulator.timeline.now() * 1000)
    events = [{"timestamp": at_ms + number, "message": text} for number, text in enumerate(texts)]
    simulator.answer(Request("logs", "CreateLogStream", group, "i-1"))
    simulator.answer(Request("logs", "PutLogEvents", {**group, "logEvents": events}, "i-1"))


def test_log_lines_come_after_an_empty_page_in_order_of_time(open_simulator: OpenSimulator, door: Any) -> None:
    simulator = open_simulator()
    logs = door.client("logs")
    write_lines(simulator, "run-1/a", "one", "three")
    write_lines(simulator, "run-1/b", "two")
    write_lines(simulator, "run-2/a", "other")
    first = logs.filter_log_events(logGroupName="/ghostpen/runs", logStreamNamePrefix="run-1/")
    assert first["events"] == [] and first["nextToken"]
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName="/ghostpen/runs", logStreamNamePrefix="run-1/", limit=2
    )
    assert [[event["message"] for event in page["events"]] for page in pages] == [[], ["one", "two"], ["three"]]
    late = logs.get_paginator("filter_log_events").paginate(
        logGroupName="/ghostpen/runs", logStreamNamePrefix="run-1/", startTime=round(simulator.timeline.now() * 1000)
    )
    assert sum(len(page["events"]) for page in late) == 0


def test_unknown_log_group_and_stream_are_refused(open_simulator: OpenSimulator, door: Any) -> None:
    open_simulator()
    logs = door.client("logs")
    for options in ({"logGroupName": "/other"}, {"logGroupName": "/ghostpen/runs", "logStreamNames": ["none"]}):
        with pytest.raises(logs.exceptions.ResourceNotFoundException):
            logs.filter_log_events(**options)


def test_role_may_do_only_what_it_is_for(open_simulator: OpenSimulator, door: Any) -> None:
    simulator = open_simulator()
    with pytest.raises(ClientError, match="ghostpen-deploy/job is not authorized to perform: ec2:RunInstances"):
        door.client("ec2").run_instances(MinCount=1, MaxCount=1)
    s3 = door.client("s3")
    s3.put_object(Bucket="runs-bucket", Key="p/runs/run-1/instance/run.sh", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="runs-bucket", Key="p/runs/run-1/results/author/manifest.json", Body=b"")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="runs-bucket", Key="p/data/manifest.json", Body=b"")
    assert list(simulator.buckets.objects["runs-bucket"]) == ["p/runs/run-1/instance/run.sh"]


def test_operation_that_is_not_modelled_is_refused_by_name(open_simulator: OpenSimulator) -> None:
    open_simulator()
    from tests.stand_ins.aws.in_process import find_door

    with pytest.raises(ClientError, match=r"NotImplemented.*the simulator has no ec2:RunInstances"):
        find_door("owner").client("ec2").run_instances(MinCount=1, MaxCount=1)
