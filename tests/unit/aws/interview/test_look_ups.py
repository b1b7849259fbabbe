"""Proposals: the real `aws` against moto says which; what can't be looked up, or isn't this account's, is none."""

import json
import os
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ghostpen.aws.interview.github import list_github_questions
from ghostpen.aws.interview.look_ups import LookUps, Proposal, fill_in, find_outputs, parse_values
from ghostpen.aws.interview.programs import Programs
from ghostpen.aws.interview.questions import list_questions, put_values
from ghostpen.aws.settings import DeployConfig
from ghostpen.errors import CloudError

ROOT = Path(__file__).parents[4]
QUESTIONS = {question.key: question for question in list_questions(DeployConfig)} | list_github_questions()
ACCOUNT = "123456789012"  # moto's
VALUES = {
    "aws": {"region": "eu-central-1", "account_id": ACCOUNT},
    "image": {"repository": "team/ghostpen"},
    "github": {"repository": "owner/name"},
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"},
        }
    ],
}
STACK = {
    "Resources": {"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/ghostpen/stack"}}},
    "Outputs": {
        "ImageRepository": {"Description": "GitHub variable ECR_REPOSITORY; image.repository", "Value": "ghostpen"},
        "StorageUri": {
            "Description": "storage.uri, in configs/deploy.toml and in a run's",
            "Value": "s3://made/ghostpen",
        },
        "SecretsPath": {"Description": "secrets.path", "Value": "/ghostpen/stack"},
        "BtrRoleArn": {
            "Description": "GitHub variable AWS_BTR_ROLE_ARN",
            "Value": f"arn:aws:iam::{ACCOUNT}:role/btr",
        },
    },
}


@pytest.fixture
def account(aws_environment: None, s3_server: str) -> Iterator[None]:
    """Fill an account with one of each, in the region; empty it afterwards."""
    import boto3

    scaling = boto3.client("autoscaling")
    scaling.create_launch_configuration(LaunchConfigurationName="l", ImageId="ami-12c6146b", InstanceType="t2.micro")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="gpu",
        LaunchConfigurationName="l",
        MinSize=0,
        MaxSize=1,
        DesiredCapacity=0,
        AvailabilityZones=["eu-central-1a"],
    )
    registry = boto3.client("ecr")
    registry.create_repository(repositoryName="team/ghostpen")
    for tag in ("older", "newer"):
        manifest = {"schemaVersion": 2, "layers": [], "config": {"digest": tag, "size": 1}}
        registry.put_image(
            repositoryName="team/ghostpen",
            imageTag=tag,
            imageManifest=json.dumps(manifest),
            imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
        )
    place = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket="texts", CreateBucketConfiguration=place)
    boto3.client("logs").create_log_group(logGroupName="/ghostpen")
    roles = boto3.client("iam")
    roles.create_role(RoleName="github", AssumeRolePolicyDocument=json.dumps(TRUST))
    own = json.dumps(TRUST).replace("oidc-provider/token.actions.githubusercontent.com", "root")
    roles.create_role(RoleName="other", AssumeRolePolicyDocument=own)
    boto3.client("cloudformation").create_stack(StackName="made", TemplateBody=json.dumps(STACK))
    yield
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST"), timeout=60).close()


def make_look_ups(note: Callable[[str], None], *, names: tuple[str, ...] = ("aws",), **environ: str) -> LookUps:
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return LookUps(Programs({**os.environ, **own, **environ}, 60), names, note=note)


def test_each_question_finds_what_the_account_has(account: None, tmp_path: Path) -> None:
    notes: list[str] = []
    settings = tmp_path / "config"
    settings.write_text("[default]\nregion = eu-west-3\n")
    look_ups = make_look_ups(notes.append, AWS_CONFIG_FILE=str(settings))

    found = {
        key: [(p.value, p.source) for p in look_ups.find(question, VALUES)] for key, question in QUESTIONS.items()
    }

    made = "output of the stack made"
    role = f"arn:aws:iam::{ACCOUNT}:role"
    assert found == {
        "aws.region": [("eu-west-3", "")],
        "aws.account_id": [(ACCOUNT, "")],
        "group.name": [("gpu", "")],
        "image.repository": [("ghostpen", made), ("team/ghostpen", "")],
        "image.tag": [("newer", ""), ("older", "")],
        "storage.uri": [("s3://made/ghostpen", made), ("s3://texts", "")],
        "secrets.path": [("/ghostpen/stack", made)],
        "secrets.names": [],
        "logs.group": [("/ghostpen", ""), ("/ghostpen/stack", "")],
        "limits.max_runtime_s": [],
        "github.repository": [],
        "github.btr_role_arn": [(f"{role}/btr", made), (f"{role}/github", "")],
        "github.deploy_role_arn": [(f"{role}/github", "")],
        "github.cache_repository": [("team/ghostpen", "")],
        "github.environment": [],
    }
    assert [note for note in notes if not note.startswith("$ aws ")] == []
    assert len(notes) == len(set(notes))  # nothing is asked twice


def test_nothing_of_another_account_is_proposed(aws_environment: None) -> None:
    notes: list[str] = []
    look_ups = make_look_ups(notes.append)
    values = put_values(VALUES, {"aws.account_id": "210987654321"})

    assert [look_ups.find(QUESTIONS[key], values) for key in ("group.name", "image.tag", "storage.uri")] == [
        [],
        [],
        [],
    ]
    assert [note.split()[:3] for note in notes if note.startswith("$")] == [["$", "aws", "sts"]]
    assert notes[-1] == (f"aws is signed in to account {ACCOUNT}, not to 210987654321: nothing is looked up there")


@pytest.mark.parametrize("left_open", ["aws.region", "aws.account_id"])
def test_nothing_is_looked_up_before_account_and_region_are_known(left_open: str) -> None:
    notes: list[str] = []
    values = put_values(VALUES, {left_open: None})

    assert make_look_ups(notes.append).find(QUESTIONS["group.name"], values) == []
    assert [note for note in notes if "autoscaling" in note] == []


def test_program_that_was_not_allowed_is_not_run(aws_environment: None) -> None:
    notes: list[str] = []
    look_ups = make_look_ups(notes.append, names=())
    assert [look_ups.find(question, VALUES) for question in QUESTIONS.values()] == [[]] * len(QUESTIONS)
    assert notes == []


class SlowPrograms(Programs):
    """Programs of which none answers in time, or each is refused."""

    def __init__(self, *, passing: bool) -> None:
        super().__init__({}, 1)
        self.passing = passing

    def run(self, arguments: Any, *, stdin: str = "") -> str:
        if arguments[1] == "sts":
            return f'"{ACCOUNT}"'
        raise CloudError(f"{arguments[0]} did not", passing=self.passing)


def test_program_that_does_not_answer_is_not_asked_again() -> None:
    notes: list[str] = []
    look_ups = LookUps(SlowPrograms(passing=True), ["aws", "gh"], note=notes.append)

    assert [look_ups.find(QUESTIONS[key], VALUES) for key in ("group.name", "logs.group")] == [[], []]
    assert [note for note in notes if note.startswith("$ aws") and "sts" not in note] == [notes[1]]
    assert notes[2:] == ["not looked up: aws did not", "aws is not asked again"]
    look_ups.find(QUESTIONS["github.repository"], VALUES)
    assert notes[4].startswith("$ gh repo view")


class Answers(Programs):
    """Programs that all give one answer, but to the question whose account it is."""

    def __init__(self, answer: str) -> None:
        super().__init__({}, 1)
        self.answer = answer

    def run(self, arguments: Any, *, stdin: str = "") -> str:
        stacks = arguments[1] == "cloudformation"
        return f'"{ACCOUNT}"' if arguments[1] == "sts" else "[]" if stacks else self.answer


@pytest.mark.parametrize("answer", ["[]\n", '["no group", "\\u001b[2J"]\n'])
def test_answer_without_a_value_that_would_do_is_said(answer: str) -> None:
    notes: list[str] = []
    assert LookUps(Answers(answer), ["aws"], note=notes.append).find(QUESTIONS["group.name"], VALUES) == []
    assert notes[-1] == "there is none that would do"


def test_program_that_refuses_is_asked_the_next_question() -> None:
    notes: list[str] = []
    look_ups = LookUps(SlowPrograms(passing=False), ["aws"], note=notes.append)

    assert [look_ups.find(QUESTIONS[key], VALUES) for key in ("group.name", "logs.group")] == [[], []]
    assert len([note for note in notes if note.startswith("$")]) == 4  # account, stacks, group, logs
    assert notes.count("not looked up: aws did not") == 3


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ('["a", null, "b"]', ["a", "b"]),
        ('"a"', ["a"]),
        ("null", []),
        ("123456789012", ["123456789012"]),
        ("eu-central-1\n", ["eu-central-1"]),
        ("a\n\n b \n", ["a", "b"]),
        ("", []),
    ],
)
def test_answer_is_read_as_json_or_lines(answer: str, values: list[str]) -> None:
    assert parse_values(answer) == values


def test_command_is_filled_in_only_when_all_is_known() -> None:
    command = "aws x --name {image.repository} --query 'a[].{b: c}'"
    assert fill_in(command, {"image": {"repository": "a b"}}) == "aws x --name 'a b' --query 'a[].{b: c}'"
    assert fill_in(command, {"image": {}}) == ""
    assert fill_in("", {}) == ""


@pytest.mark.parametrize(
    ("description", "found"),
    [
        ("group.name", True),
        ("a group.name, of a kind", True),
        ("a group.name.", True),
        ("group.names", False),
        ("group.name.of", False),
        ("my.group.name", False),
        ("", False),
    ],
)
def test_output_is_for_the_setting_that_its_description_names(description: str, found: bool) -> None:
    outputs = [{"OutputKey": "A", "OutputValue": "gpu", "Description": description}]
    answer = json.dumps([["empty", None], ["made", outputs]])
    expected = [Proposal("gpu", "output of the stack made")] if found else []
    assert find_outputs(answer, QUESTIONS["group.name"]) == expected


def test_every_output_of_the_template_answers_a_question() -> None:
    _, _, outputs = (ROOT / "infra/ghostpen.yaml").read_text(encoding="utf-8").partition("\nOutputs:\n")
    answered = {
        description: [
            key
            for key, question in QUESTIONS.items()
            if find_outputs(json.dumps([["s", [{"OutputValue": "v", "Description": description}]]]), question)
        ]
        for description in re.findall(r"^    Description: (.+)$", outputs, re.MULTILINE)
    }

    assert [description for description, keys in answered.items() if not keys] == []
    to_decide = {"image.tag", "secrets.names", "limits.max_runtime_s", "github.repository", "github.environment"}
    assert {key for keys in answered.values() for key in keys} == set(QUESTIONS) - to_decide
