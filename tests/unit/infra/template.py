"""infra/ghostpen.yaml as CloudFormation would read it: tags parsed, parameters put in, functions worked out.

Only the functions that the template uses; another one is an error here, not a guess.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "infra" / "ghostpen.yaml"

ACCOUNT = "123456789012"
REGION = "eu-central-1"
STACK = "ghost"
BUCKET = "ghost-bucket-1"
PROVIDER_ARN = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"

PARAMETERS = {
    "GitHubOwner": "acme",
    "GitHubOwnerId": "11",
    "GitHubRepository": "prose",
    "GitHubRepositoryId": "22",
    "VpcId": "vpc-1",
    "SubnetIds": "subnet-1,subnet-2",
    "AmiId": "ami-12345678",
    "RootDeviceName": "/dev/sda1",
    "VolumeSizeGiB": "200",
    "InstanceType": "g6e.xlarge",
    "FallbackInstanceType1": "g5.xlarge",
    "Purchase": "on-demand",
    "MaxInstanceSeconds": "86400",
    "CheckpointDays": "30",
    "NoncurrentDays": "7",
    "ImagesToKeep": "20",
    "LogDays": "60",
}
PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::StackName": STACK, "AWS::Partition": "aws"}
# What AWS would call the things that the template makes.
REFS = {
    "OidcProvider": PROVIDER_ARN,
    "BtrRole": "ghost-btr",
    "DeployRole": "ghost-deploy",
    "InstanceRole": "ghost-instance",
    "Bucket": BUCKET,
    "ImageRepository": "ghost-image",
    "CacheRepository": "ghost-cache",
    "LogGroup": f"/ghostpen/{STACK}",
    "LaunchTemplate": "lt-1",
    "Group": STACK,
}
ATTRIBUTES = {
    "BtrRole.Arn": f"arn:aws:iam::{ACCOUNT}:role/ghost-btr",
    "DeployRole.Arn": f"arn:aws:iam::{ACCOUNT}:role/ghost-deploy",
    "InstanceProfile.Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/ghost-profile",
    "Bucket.Arn": f"arn:aws:s3:::{BUCKET}",
    "ImageRepository.Arn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/ghost-image",
    "CacheRepository.Arn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/ghost-cache",
    "LogGroup.Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/ghostpen/{STACK}:*",  # AWS gives it with the star
    "SecurityGroup.GroupId": "sg-1",
    "LaunchTemplate.LatestVersionNumber": "1",
}
NO_VALUE = object()


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags: !Ref x is {"Ref": x}, !Sub x is {"Fn::Sub": x}."""


def _read_tag(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _read_tag)


def read_template() -> dict[str, Any]:
    return yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=_Loader)


class Renderer:
    """The template with one set of parameters; those that have a default may be left out."""

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        defaults = {name: p["Default"] for name, p in template["Parameters"].items() if "Default" in p}
        self.template = template
        self.parameters = {**defaults, **parameters}
        unknown = self.parameters.keys() - template["Parameters"].keys()
        missing = template["Parameters"].keys() - self.parameters.keys()
        assert not unknown and not missing, (unknown, missing)

    def render(self) -> dict[str, Any]:
        """Give resources (those whose condition holds) and outputs, without a single function left."""
        resources = {
            name: self._resolve(body)
            for name, body in self.template["Resources"].items()
            if "Condition" not in body or self._holds(body["Condition"])
        }
        return {"Resources": resources, "Outputs": self._resolve(self.template["Outputs"])}

    def _holds(self, condition: str) -> bool:
        return self._resolve(self.template["Conditions"][condition])

    def _resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for item in node if (value := self._resolve(item)) is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            function, argument = next(iter(node.items()))
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        return {key: value for key, item in node.items() if (value := self._resolve(item)) is not NO_VALUE}

    def _call(self, function: str, argument: Any) -> Any:
        if function == "Ref":
            return self._refer(argument)
        if function == "Fn::GetAtt":
            return ATTRIBUTES[argument]
        if function == "Fn::Sub":
            return re.sub(r"\$\{([\w:.]+)\}", lambda match: str(self._substitute(match[1])), argument)
        if function == "Fn::If":
            condition, yes, no = argument
            return self._resolve(yes if self._holds(condition) else no)
        if function == "Fn::Equals":
            left, right = self._resolve(argument)
            return str(left) == str(right)
        if function == "Fn::Not":
            return not self._resolve(argument)[0]
        if function == "Fn::Base64":
            return self._resolve(argument)  # left readable
        raise NotImplementedError(function)

    def _substitute(self, name: str) -> Any:
        return ATTRIBUTES[name] if "." in name else self._refer(name)

    def _refer(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.parameters:
            kind = self.template["Parameters"][name]["Type"]
            return self.parameters[name].split(",") if kind.startswith("List<") else self.parameters[name]
        return {**PSEUDO, **REFS}[name]


def render(**changes: str) -> dict[str, Any]:
    """Render the template with the tests' parameters, some of them changed."""
    return Renderer(read_template(), {**PARAMETERS, **changes}).render()
