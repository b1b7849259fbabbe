"""Every authorization that ghostpen's three roles ask AWS for: the other half of the policies in infra/ghostpen.yaml.

`operations` names the API operations behind an authorization as botocore does ("s3.HeadObject"), so that what a
program really called can be held against this table. It is empty where no SDK calls: the registry's own protocol, the
agent of SSM. S3 asks for s3:GetObject at HEAD and for s3:PutObject at each step of a multipart upload.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.unit.infra.iam import Request
from tests.unit.infra.template import ACCOUNT, ATTRIBUTES, REGION, STACK

Role = Literal["btr", "deploy", "instance"]

GROUP_ARN = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:1f2e-3d:autoScalingGroupName/{STACK}"
INSTANCE_ARN = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-1"
DOCUMENT_ARN = f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript"
PREFIX_ARN = f"{ATTRIBUTES['Bucket.Arn']}/ghostpen"
RUN_ARN = f"{PREFIX_ARN}/runs/r1"
SECRETS_ARN = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/ghostpen/{STACK}/r1"
LOGS_ARN = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/ghostpen/{STACK}"
IMAGE_ARN, CACHE_ARN = ATTRIBUTES["ImageRepository.Arn"], ATTRIBUTES["CacheRepository.Arn"]
BUCKET_ARN = ATTRIBUTES["Bucket.Arn"]

# Operations that need no right at all: AWS answers whoever has credentials.
FREE_OPERATIONS = frozenset({"sts.GetCallerIdentity", "sts.AssumeRoleWithWebIdentity"})


@dataclass(frozen=True)
class Call:
    """One authorization: who asks for it, for what, and where in ghostpen."""

    role: Role
    action: str
    made_by: str
    operations: tuple[str, ...] = ()
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)

    @property
    def request(self) -> Request:
        """Say it as the evaluator wants it."""
        return Request(self.action, self.resource, self.context)


def _named(role: Role, made_by: str, *actions: str, resource: str = "*") -> tuple[Call, ...]:
    """Calls whose operation has the action's own name, as almost all outside S3 have."""
    return tuple(
        Call(role, action, made_by, operations=(action.replace(":", "."),), resource=resource) for action in actions
    )


def _listings(role: Role, made_by: str, *prefixes: str) -> tuple[Call, ...]:
    """List below each prefix, and be told 404, not 403, for an object that is not there, with a prefix or without."""
    listed = tuple(
        Call(role, "s3:ListBucket", made_by, ("s3.ListObjectsV2",), BUCKET_ARN, {"s3:prefix": prefix})
        for prefix in prefixes
    )
    return (*listed, Call(role, "s3:ListBucket", f"{made_by}: an object is not there", resource=BUCKET_ARN))


_READS = ("s3.GetObject", "s3.HeadObject")
_WRITES = ("s3.PutObject", "s3.CreateMultipartUpload", "s3.UploadPart", "s3.CompleteMultipartUpload")

BTR_CALLS = (
    *_named("btr", "btr.yml: signing in", "ecr:GetAuthorizationToken"),
    *_named("btr", "release-image", "ecr:BatchGetImage", "ecr:PutImage", resource=IMAGE_ARN),
    *(
        Call("btr", action, f"BuildKit: {what}", resource=resource)
        for resource, what in ((IMAGE_ARN, "image"), (CACHE_ARN, "layer cache"))
        for action in (
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        )
    ),
    Call("btr", "ecr:GetDownloadUrlForLayer", "BuildKit: layer cache", resource=CACHE_ARN),
)

DEPLOY_CALLS = (
    *_named(
        "deploy",
        "aws.fleet",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:DescribeScheduledActions",
        "ec2:DescribeInstances",
    ),
    *_named(
        "deploy",
        "aws.fleet",
        "autoscaling:DeleteScheduledAction",
        "autoscaling:SetDesiredCapacity",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        resource=GROUP_ARN,
    ),
    Call(
        "deploy",
        "autoscaling:PutScheduledUpdateGroupAction",
        "aws.fleet: the dead-man switch",
        ("autoscaling.PutScheduledUpdateGroupAction",),
        GROUP_ARN,
        {"autoscaling:MinSize": "0"},
    ),
    *_named("deploy", "aws.preflight", "ec2:DescribeInstanceTypes", "servicequotas:GetServiceQuota"),
    *_named("deploy", "aws.preflight", "iam:GetRole", resource=ATTRIBUTES["DeployRole.Arn"]),
    *_named("deploy", "aws.preflight", "ecr:DescribeImages", resource=IMAGE_ARN),
    *_listings("deploy", "aws.preflight, aws.deploy", "ghostpen/data/", "ghostpen/runs/r1/"),
    Call("deploy", "s3:GetObject", "aws.preflight: data", _READS, f"{PREFIX_ARN}/data/manifest.json"),
    Call("deploy", "s3:GetObject", "aws.deploy: status, results", _READS, f"{RUN_ARN}/results/author/manifest.json"),
    Call("deploy", "s3:PutObject", "aws.handover", ("s3.PutObject",), f"{RUN_ARN}/instance/run.sh"),
    *_named("deploy", "aws.secrets", "ssm:PutParameter", "ssm:DeleteParameters", resource=f"{SECRETS_ARN}/HF_TOKEN"),
    *_named(
        "deploy", "aws.remote", "ssm:CancelCommand", "ssm:DescribeInstanceInformation", "ssm:GetCommandInvocation"
    ),
    *_named("deploy", "aws.remote", "ssm:SendCommand", resource=DOCUMENT_ARN),
    Call(
        "deploy",
        "ssm:SendCommand",
        "aws.remote",
        ("ssm.SendCommand",),
        INSTANCE_ARN,
        {"ssm:resourceTag/ghostpen-group": STACK},
    ),
    *_named("deploy", "ghostpen logs", "logs:FilterLogEvents", resource=f"{LOGS_ARN}:log-stream:"),
)

INSTANCE_CALLS = (
    *(
        Call("instance", action, "the SSM agent")
        for action in (
            "ec2messages:AcknowledgeMessage",
            "ec2messages:DeleteMessage",
            "ec2messages:FailMessage",
            "ec2messages:GetEndpoint",
            "ec2messages:GetMessages",
            "ec2messages:SendReply",
            "ssm:UpdateInstanceInformation",
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        )
    ),
    *_named("instance", "run.sh: signing in", "ecr:GetAuthorizationToken"),
    Call("instance", "ecr:BatchGetImage", "run.sh: docker pull", resource=IMAGE_ARN),
    Call("instance", "ecr:GetDownloadUrlForLayer", "run.sh: docker pull", resource=IMAGE_ARN),
    *_listings("instance", "ghostpen run", "ghostpen/data/", "ghostpen/models/gpt-oss-20b/", "ghostpen/runs/r1/"),
    Call("instance", "s3:GetObject", "ghostpen run: data", _READS, f"{PREFIX_ARN}/data/manifest.json"),
    Call(
        "instance", "s3:GetObject", "ghostpen run: base model", _READS, f"{PREFIX_ARN}/models/gpt-oss-20b/config.json"
    ),
    Call("instance", "s3:GetObject", "run.sh, ghostpen run: checkpoints", _READS, f"{RUN_ARN}/instance/run.sh"),
    Call("instance", "s3:PutObject", "run.sh, ghostpen run", _WRITES, f"{RUN_ARN}/results/author/manifest.json"),
    Call("instance", "s3:AbortMultipartUpload", "ghostpen run", ("s3.AbortMultipartUpload",), f"{RUN_ARN}/a/b"),
    *(
        # No operation of its own: the tag goes along with the upload, and S3 asks for this right beside s3:PutObject.
        Call("instance", "s3:PutObjectTagging", "ghostpen run", resource=f"{RUN_ARN}/{who}/checkpoint-40/files/a")
        for who in ("author", "control")
    ),
    *_named("instance", "run.sh", "ssm:GetParametersByPath", resource=SECRETS_ARN),
    *_named("instance", "run.sh", "ssm:DeleteParameters", resource=f"{SECRETS_ARN}/HF_TOKEN"),
    *_named(
        "instance",
        "Docker's awslogs driver",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        resource=f"{LOGS_ARN}:log-stream:r1",
    ),
    *_named(
        "instance",
        "run.sh, end-instance",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        resource=GROUP_ARN,
    ),
)

CALLS: tuple[Call, ...] = (*BTR_CALLS, *DEPLOY_CALLS, *INSTANCE_CALLS)


def operations_of(role: Role) -> frozenset[str]:
    """Give the API operations that a role's programs may use: what a test of the code holds its own calls against."""
    return FREE_OPERATIONS | {operation for call in CALLS if call.role == role for operation in call.operations}
