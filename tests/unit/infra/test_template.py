"""What the template makes: the settings that keep it cheap, closed and able to end."""

import json
import re
from typing import Any

import pytest
from tests.unit.infra.iam import Request, applies
from tests.unit.infra.template import BUCKET, PARAMETERS, ROOT, STACK, TEMPLATE, read_template, render

Properties = dict[str, dict[str, Any]]

# Constants of AWS or of ghostpen; everything else is the owner's, and has no default.
DEFAULTS = {
    "GitHubBranch": "main",
    "GitHubEnvironment": "gpu",
    "OidcProviderArn": "",  # to be made
    "DeploySessionSeconds": 21600,  # GitHub's limit of a job
    "VolumeThroughputMiBps": 125,  # gp3's own
    "FallbackInstanceType1": "",  # none
    "FallbackInstanceType2": "",
    "FallbackInstanceType3": "",
    "IdleSeconds": 3600,
}
# What the programs are told about the stack: settings of configs/deploy.toml, variables of the workflows.
SETTINGS = {
    "aws.region",
    "aws.account_id",
    "group.name",
    "image.repository",
    "storage.uri",
    "secrets.path",
    "logs.group",
}
VARIABLES = {"AWS_REGION", "AWS_BTR_ROLE_ARN", "AWS_DEPLOY_ROLE_ARN", "ECR_REPOSITORY", "ECR_CACHE_REPOSITORY"}


def test_only_constants_have_a_default() -> None:
    parameters = read_template()["Parameters"]
    assert {name: body["Default"] for name, body in parameters.items() if "Default" in body} == DEFAULTS


def test_every_parameter_says_what_it_is() -> None:
    assert [name for name, body in read_template()["Parameters"].items() if not body.get("Description")] == []


def test_example_asks_for_each_parameter_without_default_and_answers_none() -> None:
    example = json.loads((ROOT / "infra" / "parameters.example.json").read_text(encoding="utf-8"))
    assert example == [f"{name}=" for name in read_template()["Parameters"] if name not in DEFAULTS]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GitHubOwner", "acme/prose"),
        ("GitHubRepository", "*"),  # would trust every repository
        ("GitHubRepositoryId", ""),
        ("GitHubBranch", "*"),
        ("GitHubEnvironment", "gpu:prod"),  # GitHub writes the colon as %3A
        ("OidcProviderArn", "arn:aws:iam::123456789012:oidc-provider/gitlab.com"),
        ("RootDeviceName", "sda1"),
        ("InstanceType", ""),
    ],
)
def test_value_that_can_not_be_meant_is_refused_by_the_parameters_pattern(name: str, value: str) -> None:
    pattern = read_template()["Parameters"][name]["AllowedPattern"]
    assert not re.fullmatch(pattern, value)
    good = PARAMETERS.get(name, DEFAULTS.get(name, ""))
    assert re.fullmatch(pattern, str(good))


def test_template_is_small_enough_to_be_sent_without_a_bucket() -> None:
    assert TEMPLATE.stat().st_size <= 51_200  # CloudFormation's limit of a template in the request


def test_template_switches_no_check_off() -> None:
    assert "cfn-lint" not in TEMPLATE.read_text(encoding="utf-8")


def test_outputs_are_what_the_programs_must_be_told(stack: dict[str, Any]) -> None:
    text = " ".join(output["Description"] for output in stack["Outputs"].values())
    assert set(re.findall(r"\b[a-z]+\.[a-z_]+\b(?<!deploy\.toml)", text)) == SETTINGS
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) == VARIABLES
    assert {name: output["Value"] for name, output in stack["Outputs"].items()} == {
        "Region": "eu-central-1",
        "AccountId": "123456789012",
        "BtrRoleArn": "arn:aws:iam::123456789012:role/ghost-btr",
        "DeployRoleArn": "arn:aws:iam::123456789012:role/ghost-deploy",
        "ImageRepository": "ghost-image",
        "CacheRepository": "ghost-cache",
        "GroupName": STACK,
        "StorageUri": f"s3://{BUCKET}/ghostpen",
        "SecretsPath": "/ghostpen/ghost",
        "LogGroupName": "/ghostpen/ghost",
    }


def test_group_stands_at_none_of_at_most_one_and_an_update_does_not_touch_that(properties: Properties) -> None:
    group = properties["Group"]
    assert (group["MinSize"], group["MaxSize"]) == ("0", "1")
    assert "DesiredCapacity" not in group
    assert group["NewInstancesProtectedFromScaleIn"] is False
    assert group["CapacityRebalance"] is False
    assert group["VPCZoneIdentifier"] == ["subnet-1", "subnet-2"]
    assert "UpdatePolicy" not in read_template()["Resources"]["Group"]


def test_group_tells_how_old_and_how_idle_an_instance_may_get(properties: Properties) -> None:
    tags = {tag["Key"]: str(tag["Value"]) for tag in properties["Group"]["Tags"]}
    assert tags == {"ghostpen-max-instance-s": "86400", "ghostpen-idle-s": "3600"}


@pytest.mark.parametrize(("purchase", "on_demand_percent"), [("on-demand", 100), ("spot", 0)])
def test_group_buys_as_asked_and_tries_the_types_in_order(purchase: str, on_demand_percent: int) -> None:
    stack = render(Purchase=purchase, FallbackInstanceType1="g5.xlarge", FallbackInstanceType3="g6.2xlarge")
    policy = stack["Resources"]["Group"]["Properties"]["MixedInstancesPolicy"]
    assert policy["InstancesDistribution"] == {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 0,
        "OnDemandPercentageAboveBaseCapacity": on_demand_percent,
        "SpotAllocationStrategy": "capacity-optimized-prioritized",
    }
    overrides = policy["LaunchTemplate"]["Overrides"]
    assert overrides == [{"InstanceType": name} for name in ("g6e.xlarge", "g5.xlarge", "g6.2xlarge")]


def test_instance_is_closed_encrypted_and_gone_when_it_shuts_down(properties: Properties) -> None:
    data = properties["LaunchTemplate"]["LaunchTemplateData"]
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
    (disk,) = data["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/sda1"
    assert disk["Ebs"] == {
        "DeleteOnTermination": True,
        "Encrypted": True,
        "VolumeSize": "200",
        "VolumeType": "gp3",
        "Throughput": 125,
    }
    assert "KeyName" not in data
    assert data["SecurityGroupIds"] == ["sg-1"]


def test_security_group_lets_nobody_in_and_https_out(properties: Properties) -> None:
    rules = properties["SecurityGroup"]
    assert "SecurityGroupIngress" not in rules
    ways_out = {(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in rules["SecurityGroupEgress"]}
    assert ways_out == {("tcp", 443, 443)}


def test_instance_has_the_tag_that_commands_are_limited_to(
    properties: Properties, statements: dict[str, list[dict[str, Any]]]
) -> None:
    specifications = properties["LaunchTemplate"]["LaunchTemplateData"]["TagSpecifications"]
    (tags,) = [s["Tags"] for s in specifications if s["ResourceType"] == "instance"]
    context = {f"ssm:resourceTag/{tag['Key']}": tag["Value"] for tag in tags}
    (sending,) = [s for s in statements["deploy"] if s["Sid"] == "SendToOwnInstances"]
    instance = "arn:aws:ec2:eu-central-1:123456789012:instance/i-1"
    assert applies(sending, Request("ssm:SendCommand", instance, context))


def test_bucket_is_private_encrypted_versioned_and_outlives_the_stack(stack: dict[str, Any]) -> None:
    bucket = stack["Resources"]["Bucket"]
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate" and bucket["UpdateReplacePolicy"] == "Retain"
    settings = bucket["Properties"]
    assert set(settings["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(settings["PublicAccessBlockConfiguration"]) == 4
    assert settings["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    (encryption,) = settings["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    assert settings["VersioningConfiguration"] == {"Status": "Enabled"}


@pytest.mark.parametrize(("tls", "denied"), [("false", True), ("true", False)])
def test_bucket_refuses_everything_without_tls(tls: str, denied: bool, properties: Properties) -> None:
    (statement,) = properties["BucketPolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    for action, resource in (
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/a"),
        ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"),
    ):
        assert applies(statement, Request(action, resource, {"aws:SecureTransport": tls})) is denied


def test_bucket_forgets_unfinished_uploads_old_versions_and_tagged_checkpoints(properties: Properties) -> None:
    rules = properties["Bucket"]["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    named = {rule["Id"]: {key: value for key, value in rule.items() if key not in ("Id", "Status")} for rule in rules}
    assert named == {
        "abort-unfinished-uploads": {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        "expire-noncurrent": {
            "NoncurrentVersionExpiration": {"NoncurrentDays": "7"},
            "ExpiredObjectDeleteMarker": True,
        },
        "expire-checkpoints": {
            "TagFilters": [{"Key": "ghostpen", "Value": "checkpoint"}],
            "ExpirationInDays": "30",
        },
    }
    longest_upload_s = read_template()["Parameters"]["MaxInstanceSeconds"]["MaxValue"]
    assert longest_upload_s < 7 * 86_400


def test_image_is_immutable_and_kept_cache_is_neither(stack: dict[str, Any]) -> None:
    image, cache = stack["Resources"]["ImageRepository"], stack["Resources"]["CacheRepository"]
    assert image["Properties"]["ImageTagMutability"] == "IMMUTABLE"
    assert image["DeletionPolicy"] == "RetainExceptOnCreate"
    assert cache["Properties"]["ImageTagMutability"] == "MUTABLE"
    assert cache["DeletionPolicy"] == "Delete" and cache["Properties"]["EmptyOnDelete"] is True


def test_repositories_forget_what_is_untagged_and_images_beyond_the_number_asked_for(properties: Properties) -> None:
    def read_selections(name: str) -> list[dict[str, Any]]:
        rules = json.loads(properties[name]["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
        assert {rule["action"]["type"] for rule in rules} == {"expire"}
        return [rule["selection"] for rule in sorted(rules, key=lambda rule: rule["rulePriority"])]

    untagged = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1}
    newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 20}
    assert read_selections("ImageRepository") == [untagged, newest]
    assert read_selections("CacheRepository") == [untagged]


def test_deploy_role_may_hold_its_session_for_the_time_asked_for() -> None:
    role = render(DeploySessionSeconds="43200")["Resources"]["DeployRole"]["Properties"]
    assert role["MaxSessionDuration"] == "43200"


def test_logs_are_kept_for_the_days_asked_for(properties: Properties) -> None:
    assert properties["LogGroup"] == {"LogGroupName": "/ghostpen/ghost", "RetentionInDays": "60"}


def test_nothing_that_costs_while_idle_is_made(stack: dict[str, Any]) -> None:
    # Neither a gateway nor an address nor an own key: docs/infra.md says that only what is stored is paid for.
    assert sorted({resource["Type"] for resource in stack["Resources"].values()}) == [
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::EC2::LaunchTemplate",
        "AWS::EC2::SecurityGroup",
        "AWS::ECR::Repository",
        "AWS::IAM::InstanceProfile",
        "AWS::IAM::OIDCProvider",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
    ]


def test_documentation_names_every_parameter_and_nothing_that_is_not_there(
    statements: dict[str, list[dict[str, Any]]],
) -> None:
    template = read_template()
    text = (ROOT / "docs" / "infra.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][a-z]+[A-Za-z0-9]*)`", text))
    sids = {statement["Sid"] for role in statements.values() for statement in role}
    of_aws = {"Launch", "Terminate", "ScheduledActions"}
    assert template["Parameters"].keys() - named == {"FallbackInstanceType2", "FallbackInstanceType3"}  # "1 to 3"
    assert named <= template["Parameters"].keys() | template["Resources"].keys() | sids | of_aws
