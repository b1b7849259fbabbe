"""The commands in docs/infra.md, run as they stand, make the stack in moto and prepare it.

A smoke test: moto takes most of what AWS would refuse. It makes neither the OIDC provider (so the test names one) nor
the bucket's versioning, lifecycle, policy and access block nor the repositories' lifecycle nor, after a change set,
the outputs; test_template.py reads those. And it names a repository after its logical name, capitals and all, which
its own check then refuses: the test names them.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jmespath
import pytest
from tests.documents import take_blocks
from tests.unit.infra.template import PARAMETERS, PROVIDER_ARN, REGION, ROOT, TEMPLATE, render

START_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 120
NAME = "ghostpen"  # of the stack, in the documented line
MAKING, OUTPUTS, SUSPENDING = take_blocks(__file__, "docs/infra.md")


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start moto's server as a program of its own: what it can't make it warns about, which is an error in here."""
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            yield wait_for_address(log, server)
        finally:
            server.kill()


def wait_for_address(log: Path, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        if match := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8")):
            with urllib.request.urlopen(f"{match[1]}/moto-api/", timeout=COMMAND_TIMEOUT_S) as answer:
                assert answer.status == 200
            return match[1]
        time.sleep(0.1)
    raise AssertionError(f"moto did not start: {log.read_text(encoding='utf-8')}")


class Cloud:
    """One empty account in moto: boto3 to look at it, and the AWS CLI to run what the documentation says."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self.address = address

    def client(self, service: str) -> Any:
        import boto3

        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client(service, endpoint_url=self.address, region_name=REGION, **keys)

    def run(self, program: str, *arguments: str) -> str:
        """Run what the documentation says; returns what it printed."""
        assert program in {"aws", "cp"}
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "none"),
        }
        command = [*([sys.executable, "-m", "awscli"] if program == "aws" else [program]), *arguments]
        answer = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout


def write_template(file: Path) -> None:
    template = TEMPLATE.read_text(encoding="utf-8")
    for mutability, name in (("IMMUTABLE", "image"), ("MUTABLE", "cache")):
        line = f"      ImageTagMutability: {mutability}\n"
        assert template.count(line) == 1
        template = template.replace(line, f"{line}      RepositoryName: {NAME}-{name}\n")
    file.write_text(template, encoding="utf-8")


@pytest.fixture(scope="module")
def cloud(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """An account in which the documented commands were run, in a copy of what they need of the repository."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "infra").mkdir()
    shutil.copy(ROOT / "infra/parameters.example.json", folder / "infra")
    cloud = Cloud(moto, folder)
    ec2, iam = cloud.client("ec2"), cloud.client("iam")
    provider = iam.create_open_id_connect_provider(Url="https://token.actions.githubusercontent.com")
    subnets = ec2.describe_subnets()["Subnets"]
    found = {
        "VpcId": subnets[0]["VpcId"],
        "SubnetIds": ",".join(subnet["SubnetId"] for subnet in subnets),
        "AmiId": ec2.describe_images()["Images"][0]["ImageId"],
        "OidcProviderArn": provider["OpenIDConnectProviderArn"],
    }
    copy, deploy = MAKING.runnable
    cloud.run(*copy)
    file = folder / "infra/parameters.json"
    assert {line.partition("=")[0] for line in json.loads(file.read_text(encoding="utf-8"))} <= {*PARAMETERS, *found}
    answers = [f"{name}={value}" for name, value in {**PARAMETERS, **found}.items()]
    file.write_text(json.dumps(answers), encoding="utf-8")
    write_template(folder / "infra" / "ghostpen.yaml")
    cloud.run(*deploy)
    return cloud


def test_stack_stands_with_all_its_resources(cloud: Cloud) -> None:
    client = cloud.client("cloudformation")
    (stack,) = client.describe_stacks(StackName=NAME)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    made = {r["LogicalResourceId"] for r in client.list_stack_resources(StackName=NAME)["StackResourceSummaries"]}
    expected = render(OidcProviderArn=PROVIDER_ARN)["Resources"].keys()
    assert made == (expected - {"BucketPolicy"}) | {""}  # moto has one, but lists it without a name


def test_roles_are_assumed_through_the_provider_and_for_the_time_asked_for(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    roles = {role["RoleName"].split("-")[1]: role for role in iam.list_roles()["Roles"]}
    assert roles.keys() == {"BtrRole", "DeployRole", "InstanceRole"}
    assert roles["DeployRole"]["MaxSessionDuration"] == 21_600
    (statement,) = roles["DeployRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"]["Federated"].endswith(":oidc-provider/token.actions.githubusercontent.com")
    for role in roles.values():
        assert len(iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]) == 1


def test_group_is_at_none_and_starts_one_instance_with_the_tag_and_the_timer(cloud: Cloud) -> None:
    autoscaling, ec2 = cloud.client("autoscaling"), cloud.client("ec2")
    (group,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"], group["Instances"]) == (0, 1, 0, [])
    autoscaling.set_desired_capacity(AutoScalingGroupName=NAME, DesiredCapacity=1)
    (reservation,) = ec2.describe_instances()["Reservations"]
    (instance,) = reservation["Instances"]
    assert {"Key": "ghostpen-group", "Value": NAME} in instance["Tags"]
    attribute = ec2.describe_instance_attribute(Attribute="userData", InstanceId=instance["InstanceId"])
    data = attribute["UserData"]["Value"]
    assert b"end-instance@age.timer" in base64.b64decode(data)
    autoscaling.set_desired_capacity(AutoScalingGroupName=NAME, DesiredCapacity=0)
    (group,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group["Instances"] == []


def test_logs_repositories_and_bucket_are_there(cloud: Cloud) -> None:
    (logs,) = cloud.client("logs").describe_log_groups()["logGroups"]
    assert (logs["logGroupName"], logs["retentionInDays"]) == (f"/ghostpen/{NAME}", 60)
    repositories = cloud.client("ecr").describe_repositories()["repositories"]
    assert {repository["repositoryName"]: repository["imageTagMutability"] for repository in repositories} == {
        f"{NAME}-image": "IMMUTABLE",
        f"{NAME}-cache": "MUTABLE",
    }
    s3 = cloud.client("s3")
    (bucket,) = s3.list_buckets()["Buckets"]
    (rule,) = s3.get_bucket_encryption(Bucket=bucket["Name"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_documented_line_asks_for_each_output_s_text_and_value(cloud: Cloud) -> None:
    """moto has no outputs here, so that the command is taken is all that it can say; the query is tried by itself."""
    (line,) = OUTPUTS.runnable
    cloud.run(*line)
    outputs = [{"OutputKey": "Group", "OutputValue": "ghostpen", "Description": "GHOSTPEN_GROUP_NAME"}]
    found = jmespath.search(line[line.index("--query") + 1], {"Stacks": [{"Outputs": outputs}]})
    assert found == [["GHOSTPEN_GROUP_NAME", "ghostpen"]]


def test_documented_line_suspends_what_replaces_an_instance_and_nothing_else(cloud: Cloud) -> None:
    (line,) = SUSPENDING.runnable
    cloud.run(*line)
    (group,) = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert {one["ProcessName"] for one in group["SuspendedProcesses"]} == {"ReplaceUnhealthy", "AZRebalance"}
