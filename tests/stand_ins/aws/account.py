"""The small services: who is asking (STS, IAM), which images there are (ECR), how many GPUs are allowed (quotas)."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request
from tests.stand_ins.aws.credentials import make_access_key
from tests.stand_ins.aws.timeline import Timeline, to_utc
from tests.stand_ins.aws.world import GPU_QUOTA_CODE, Image, World

TOKEN_LIFE_S = 12 * 3600  # of ECR


@dataclass
class Account:
    """Answer for the account as the world describes it."""

    world: World
    timeline: Timeline

    def list_sts_handlers(self) -> dict[str, Handler]:
        return {"GetCallerIdentity": self._get_identity, "AssumeRoleWithWebIdentity": self._assume_role}

    def list_iam_handlers(self) -> dict[str, Handler]:
        return {"GetRole": self._get_role}

    def list_ecr_handlers(self) -> dict[str, Handler]:
        return {"DescribeImages": self._describe_images, "GetAuthorizationToken": self._authorize}

    def list_quota_handlers(self) -> dict[str, Handler]:
        return {"GetServiceQuota": self._get_quota}

    def _get_identity(self, request: Request) -> Answer:
        role, session = (
            (self.world.instance_role, request.caller)
            if request.caller.startswith("i-")
            else (self.world.deploy_role, "GitHubActions")
        )
        arn = f"arn:aws:sts::{self.world.account_id}:assumed-role/{role}/{session}"
        return {"UserId": f"AROAEXAMPLE:{session}", "Account": self.world.account_id, "Arn": arn}

    def _assume_role(self, request: Request) -> Answer:
        """Give credentials for the deploy role; any token is taken, no trust policy is read."""
        role_arn = f"arn:aws:iam::{self.world.account_id}:role/{self.world.deploy_role}"
        if request.params["RoleArn"] != role_arn:
            raise ApiError("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", status=403)
        duration_s = request.params.get("DurationSeconds", 3600)
        if duration_s > self.world.max_session_s:
            raise ApiError(
                "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        session = request.params["RoleSessionName"]
        return {
            "Credentials": {
                "AccessKeyId": make_access_key("job"),
                "SecretAccessKey": "deploy-secret",
                "SessionToken": "deploy-token",
                "Expiration": to_utc(self.timeline.now() + duration_s),
            },
            "AssumedRoleUser": {
                "AssumedRoleId": f"AROAEXAMPLE:{session}",
                "Arn": f"arn:aws:sts::{self.world.account_id}:assumed-role/{self.world.deploy_role}/{session}",
            },
        }

    def _get_role(self, request: Request) -> Answer:
        name = request.params["RoleName"]
        if name not in {self.world.deploy_role, self.world.instance_role}:
            raise ApiError("NoSuchEntity", f"The role with name {name} cannot be found.", status=404)
        longest_s = self.world.max_session_s if name == self.world.deploy_role else 3600
        return {"Role": {
            "Path": "/",
            "RoleName": name,
            "RoleId": "AROAEXAMPLE000000000",
            "Arn": f"arn:aws:iam::{self.world.account_id}:role/{name}",
            "CreateDate": to_utc(self.timeline.now()),
            "MaxSessionDuration": longest_s,
        }}  # fmt: skip

    def _describe_images(self, request: Request) -> Answer:
        name = request.params["repositoryName"]
        images = self.world.repositories.get(name)
        if images is None:
            raise ApiError(
                "RepositoryNotFoundException",
                f"The repository with name '{name}' does not exist in the registry with id '{self.world.account_id}'",
            )
        chosen = list(images)
        if "imageIds" in request.params:
            chosen = [self._find_image(name, images, wanted) for wanted in request.params["imageIds"]]
        return {"imageDetails": [self._render_image(name, image) for image in chosen]}

    def _find_image(self, name: str, images: tuple[Image, ...], wanted: dict[str, str]) -> Image:
        for image in images:
            by_digest = wanted.get("imageDigest") in {None, image.digest}
            by_tag = "imageTag" not in wanted or wanted["imageTag"] in image.tags
            if by_digest and by_tag:
                return image
        shown = ", ".join(f"{key}:'{value}'" for key, value in wanted.items())
        raise ApiError(
            "ImageNotFoundException",
            f"The image with imageId {{{shown}}} does not exist within the repository with name '{name}' in the "
            f"registry with id '{self.world.account_id}'",
        )

    def _render_image(self, name: str, image: Image) -> Answer:
        return {
            "registryId": self.world.account_id,
            "repositoryName": name,
            "imageDigest": image.digest,
            "imageTags": list(image.tags),
            "imageSizeInBytes": image.size_bytes,
            "imagePushedAt": to_utc(self.timeline.now()),
        }

    def _authorize(self, request: Request) -> Answer:
        token = base64.b64encode(b"AWS:registry-password").decode()
        registry = f"https://{self.world.account_id}.dkr.ecr.{self.world.region}.amazonaws.com"
        expires_at = to_utc(self.timeline.now() + TOKEN_LIFE_S)
        return {
            "authorizationData": [{"authorizationToken": token, "expiresAt": expires_at, "proxyEndpoint": registry}]
        }

    def _get_quota(self, request: Request) -> Answer:
        if (request.params["ServiceCode"], request.params["QuotaCode"]) != ("ec2", GPU_QUOTA_CODE):
            raise ApiError("NoSuchResourceException", "The specified resource does not exist.")
        return {"Quota": {
            "ServiceCode": "ec2",
            "QuotaCode": GPU_QUOTA_CODE,
            "QuotaName": "Running On-Demand G and VT instances",
            "Value": self.world.gpu_quota_vcpus,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }}  # fmt: skip
