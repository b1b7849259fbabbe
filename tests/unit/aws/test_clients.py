"""The clients: one place, a deadline each, and no connection before one is used."""

import socket

import pytest

from ghostpen.aws.clients import Clients, make_clients
from ghostpen.aws.fleet import Fleet
from ghostpen.errors import CloudError


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("autoscaling", "autoscaling"),
        ("ec2", "ec2"),
        ("ecr", "ecr"),
        ("iam", "iam"),
        ("logs", "logs"),
        ("quotas", "service-quotas"),
        ("s3", "s3"),
        ("ssm", "ssm"),
        ("sts", "sts"),
    ],
)
def test_client_is_made_once_and_when_it_is_asked_for(name: str, service: str) -> None:
    made: list[str] = []
    clients = Clients(lambda asked: made.append(asked) or asked.upper())

    assert made == []
    assert getattr(clients, name) == getattr(clients, name) == service.upper()
    assert made == [service]


@pytest.mark.parametrize(("hurried", "limits"), [(False, (5, 20, 5)), (True, (1, 2, 1))])
def test_client_has_a_region_and_a_deadline_for_every_call(
    aws_environment: None, hurried: bool, limits: tuple[int, int, int]
) -> None:
    meta = make_clients("eu-west-1", hurried=hurried).autoscaling.meta

    assert meta.region_name == "eu-west-1"
    assert (meta.config.connect_timeout, meta.config.read_timeout) == limits[:2]
    assert meta.config.retries == {"total_max_attempts": limits[2], "mode": "standard"}


def test_client_goes_where_the_environment_says(aws_environment: None, s3_server: str) -> None:
    assert make_clients("eu-west-1").ssm.meta.endpoint_url == s3_server


def test_profile_that_is_not_there_is_one_line(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(CloudError, match=r"^credentials of AWS can't be used \(.*nobody.*\); sign in"):
        make_clients("eu-west-1")


def test_no_credentials_is_one_line(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    with pytest.raises(CloudError, match=r"^group gpu: credentials of AWS are needed, and none .* sign in") as caught:
        Fleet(make_clients("eu-west-1").autoscaling, "gpu").set_desired(0)
    assert not caught.value.passing


def test_server_that_does_not_answer_is_one_line_and_may_pass(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    with pytest.raises(CloudError, match=r"^group gpu: autoscaling did not answer: Could not connect") as caught:
        Fleet(make_clients("eu-west-1", hurried=True).autoscaling, "gpu").set_desired(0)
    assert caught.value.passing
