"""Who may call what: the two roles' rights by action, and by key where they write to S3.

A short form of `infra/`'s policies, whose own tests look at resources and conditions. A call outside of it is refused
as IAM would.
"""

from __future__ import annotations

import re

from tests.stand_ins.aws.api import ApiError, Request
from tests.stand_ins.aws.world import World

# IAM's names of actions differ from the operations' in these places.
PREFIXES = {"service-quotas": "servicequotas"}
ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}
UNCHECKED = {"sts:GetCallerIdentity", "sts:AssumeRoleWithWebIdentity"}  # IAM lets everyone
DEPLOY_ACTIONS = frozenset({
    "iam:GetRole",
    "ecr:DescribeImages",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeScalingActivities",
    "autoscaling:DescribeScheduledActions",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:PutScheduledUpdateGroupAction",
    "autoscaling:DeleteScheduledAction",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypes",
    "servicequotas:GetServiceQuota",
    "ssm:DescribeInstanceInformation",
    "ssm:SendCommand",
    "ssm:GetCommandInvocation",
    "ssm:CancelCommand",
    "ssm:PutParameter",
    "ssm:DeleteParameters",
    "logs:FilterLogEvents",
})  # fmt: skip
INSTANCE_ACTIONS = frozenset({
    "ecr:GetAuthorizationToken",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    "s3:AbortMultipartUpload",
    "ssm:GetParametersByPath",
    "ssm:DeleteParameters",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
})  # fmt: skip
DEPLOY_WRITES = re.compile(r"(.*/)?runs/[^/]+/instance/.*")
INSTANCE_WRITES = re.compile(r"(.*/)?runs/.*")


def check_right(request: Request, world: World) -> None:
    """Refuse what the caller's role has no right to; the owner may do anything.

    Raises:
        ApiError: the role lacks the action, or the key is none that it may write to.
    """
    by_instance = request.caller.startswith("i-")
    action = name_action(request)
    if request.caller == "owner" or action in UNCHECKED:
        return
    allowed = INSTANCE_ACTIONS if by_instance else DEPLOY_ACTIONS
    writes = INSTANCE_WRITES if by_instance else DEPLOY_WRITES
    if action not in allowed or (action == "s3:PutObject" and not writes.fullmatch(request.params["Key"])):
        role = world.instance_role if by_instance else world.deploy_role
        arn = f"arn:aws:sts::{world.account_id}:assumed-role/{role}/{request.caller}"
        code = "AccessDenied" if request.service in {"s3", "autoscaling", "iam", "sts"} else "AccessDeniedException"
        code = "UnauthorizedOperation" if request.service == "ec2" else code
        raise ApiError(code, f"User: {arn} is not authorized to perform: {action}", status=403)


def name_action(request: Request) -> str:
    """Name an operation as a policy does."""
    return ACTIONS.get(request.name, f"{PREFIXES.get(request.service, request.service)}:{request.operation}")
