"""Who may become which role: GitHub's token, claim by claim."""

from typing import Any

import pytest
from tests.unit.infra.iam import Request, find_allowing
from tests.unit.infra.template import PROVIDER_ARN, render

ISSUER = "token.actions.githubusercontent.com"
# The claims that AWS compares: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
COMPARED_BY_AWS = {"aud", "sub", "repository", "repository_id", "ref", "environment", "workflow", "job_workflow_ref"}

OLD, NEW = "repo:acme/prose", "repo:acme@11/prose@22"


def ask(**claims: str) -> Request:
    """Make the request of a job on main of acme/prose, some claims changed."""
    token = {"aud": "sts.amazonaws.com", "repository_id": "22", "ref": "refs/heads/main", **claims}
    return Request(
        "sts:AssumeRoleWithWebIdentity", context={f"{ISSUER}:{name}": text for name, text in token.items()}
    )


def read_trust(properties: dict[str, dict[str, Any]], role: str) -> list[dict[str, Any]]:
    return properties[role]["AssumeRolePolicyDocument"]["Statement"]


@pytest.mark.parametrize("repository", [OLD, NEW])
@pytest.mark.parametrize(("role", "subject"), [("BtrRole", "ref:refs/heads/main"), ("DeployRole", "environment:gpu")])
def test_job_in_its_place_is_trusted_in_both_forms_of_the_subject(
    role: str, subject: str, repository: str, properties: dict[str, dict[str, Any]]
) -> None:
    assert find_allowing(read_trust(properties, role), ask(sub=f"{repository}:{subject}"))


@pytest.mark.parametrize("role", ["BtrRole", "DeployRole"])
@pytest.mark.parametrize("repository", [OLD, NEW])
@pytest.mark.parametrize(
    "subject", ["pull_request", "ref:refs/heads/feature", "ref:refs/tags/v1", "environment:other"]
)
def test_job_elsewhere_is_not_trusted(
    role: str, repository: str, subject: str, properties: dict[str, dict[str, Any]]
) -> None:
    assert not find_allowing(read_trust(properties, role), ask(sub=f"{repository}:{subject}"))


@pytest.mark.parametrize(("role", "subject"), [("BtrRole", "environment:gpu"), ("DeployRole", "ref:refs/heads/main")])
def test_job_of_the_one_workflow_is_not_trusted_with_the_others_role(
    role: str, subject: str, properties: dict[str, dict[str, Any]]
) -> None:
    assert not find_allowing(read_trust(properties, role), ask(sub=f"{OLD}:{subject}"))


@pytest.mark.parametrize(("role", "subject"), [("BtrRole", "ref:refs/heads/main"), ("DeployRole", "environment:gpu")])
@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://github.com/acme"},
        {"repository_id": "23"},  # the name was given up, and somebody else took it
        {"sub": "repo:evil/prose"},
        {"sub": "repo:acme@12/prose@22"},
        {"sub": "repo:acme/prose2"},
    ],
    ids=str,
)
def test_token_of_another_repository_or_audience_is_not_trusted(
    role: str, subject: str, claims: dict[str, str], properties: dict[str, dict[str, Any]]
) -> None:
    changed = {**claims, "sub": f"{claims.get('sub', OLD)}:{subject}"}
    assert not find_allowing(read_trust(properties, role), ask(**changed))


def test_deployment_from_another_branch_is_not_trusted_though_it_names_the_environment(
    properties: dict[str, dict[str, Any]],
) -> None:
    assert not find_allowing(
        read_trust(properties, "DeployRole"), ask(sub=f"{NEW}:environment:gpu", ref="refs/heads/feature")
    )


@pytest.mark.parametrize("role", ["BtrRole", "DeployRole"])
def test_only_claims_that_aws_compares_are_asked_for(role: str, properties: dict[str, dict[str, Any]]) -> None:
    (statement,) = read_trust(properties, role)
    assert set(statement["Condition"]) == {"StringEquals"}  # no wildcard anywhere
    assert set(statement["Condition"]["StringEquals"]) <= {f"{ISSUER}:{claim}" for claim in COMPARED_BY_AWS}


def test_provider_is_made_where_none_is_named_and_used_where_one_is() -> None:
    made, used = render(), render(OidcProviderArn=PROVIDER_ARN)
    assert "OidcProvider" in made["Resources"] and "OidcProvider" not in used["Resources"]
    for stack in (made, used):
        for role in ("BtrRole", "DeployRole"):
            (statement,) = stack["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert statement["Principal"] == {"Federated": PROVIDER_ARN}


def test_instance_role_is_for_ec2_alone(properties: dict[str, dict[str, Any]]) -> None:
    (statement,) = read_trust(properties, "InstanceRole")
    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert properties["InstanceProfile"]["Roles"] == ["ghost-instance"]
