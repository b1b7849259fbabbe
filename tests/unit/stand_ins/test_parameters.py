"""Parameter Store: what a secret that was handed over goes through, and that it goes."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.stand_ins.aws.api import Request
from tests.stand_ins.aws.timeline import VirtualTime
from tests.unit.stand_ins.conftest import OpenSimulator

NAME = "/ghostpen/run-1/WANDB_API_KEY"


def put(ssm: Any, name: str = NAME, **options: Any) -> None:
    ssm.put_parameter(**{"Name": name, "Value": "geheim", "Type": "SecureString"} | options)


def render_expiration(at: datetime) -> str:
    policy = {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": at.isoformat(timespec="seconds")}}
    return json.dumps([policy])


def test_secret_is_readable_only_by_the_instance_and_with_decryption(open_simulator: OpenSimulator, ssm: Any) -> None:
    simulator = open_simulator()
    put(ssm)
    sealed, opened = (
        simulator.answer(
            Request("ssm", "GetParametersByPath", {"Path": "/ghostpen/run-1", "WithDecryption": readable}, "i-1")
        )["Parameters"][0]["Value"]
        for readable in (False, True)
    )
    assert "geheim" not in sealed
    assert opened == "geheim"
    with pytest.raises(ClientError, match="AccessDenied"):
        ssm.get_parameters_by_path(Path="/ghostpen/run-1")


def test_path_does_not_reach_below_itself_unless_recursive(
    open_simulator: OpenSimulator, door: Any, ssm: Any
) -> None:
    simulator = open_simulator()
    for name in ("/a/one", "/a/b/two", "/ab/three"):
        put(ssm, name)

    def read(**options: Any) -> list[str]:
        answer = simulator.answer(Request("ssm", "GetParametersByPath", {"Path": "/a", **options}, "i-1"))
        return [parameter["Name"] for parameter in answer["Parameters"]]

    assert read() == ["/a/one"]
    assert read(Recursive=True) == ["/a/b/two", "/a/one"]


def test_path_with_eleven_parameters_takes_two_pages(open_simulator: OpenSimulator, ssm: Any) -> None:
    simulator = open_simulator()
    for number in range(11):
        put(ssm, f"/a/{number:02}")
    first = simulator.answer(Request("ssm", "GetParametersByPath", {"Path": "/a"}, "i-1"))
    second = simulator.answer(
        Request("ssm", "GetParametersByPath", {"Path": "/a", "NextToken": first["NextToken"]}, "i-1")
    )
    assert [len(page["Parameters"]) for page in (first, second)] == [10, 1]
    assert "NextToken" not in second


def test_parameter_with_an_expiration_is_gone_soon_after_it(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    simulator = open_simulator()
    put(ssm, Tier="Advanced", Policies=render_expiration(clock.now_utc() + timedelta(hours=1)))
    clock.sleep(3590)
    assert simulator.list_leftovers() == [f"parameter {NAME}"]
    clock.sleep(120)
    assert simulator.list_leftovers() == []


def test_parameter_put_anew_has_the_new_expiration_alone(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    simulator = open_simulator()
    for hours in (1, 3):
        expiration = render_expiration(clock.now_utc() + timedelta(hours=hours))
        put(ssm, Tier="Advanced", Policies=expiration, Overwrite=True)
    clock.sleep(2 * 3600)
    assert list(simulator.parameters.stored) == [NAME]
    clock.sleep(2 * 3600)
    assert list(simulator.parameters.stored) == []


def test_delete_of_what_is_not_there_is_no_error(open_simulator: OpenSimulator, ssm: Any) -> None:
    open_simulator()
    put(ssm)
    answer = ssm.delete_parameters(Names=[NAME, "/ghostpen/run-1/OTHER"])
    assert (answer["DeletedParameters"], answer["InvalidParameters"]) == ([NAME], ["/ghostpen/run-1/OTHER"])


def test_put_over_an_existing_one_needs_overwrite(open_simulator: OpenSimulator, ssm: Any) -> None:
    open_simulator()
    put(ssm)
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        put(ssm)
    put(ssm, Overwrite=True)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"Policies": '[{"Type": "Expiration"}]', "Tier": "Standard"}, "ValidationException"),
        ({"Policies": "no JSON", "Tier": "Advanced"}, "ValidationException"),
        ({"Policies": '[{"Type": "Other", "Version": "1.0"}]', "Tier": "Advanced"}, "InvalidPolicyTypeException"),
        (
            {
                "Policies": '[{"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": "2020-01-01T00:00:00Z"}}]',  # noqa: E501
                "Tier": "Advanced",
            },
            "InvalidPolicyAttributeException",
        ),
        ({"Value": "x" * 4097}, "ValidationException"),
        ({"Value": "x" * 8193, "Tier": "Advanced"}, "ValidationException"),
        ({"Name": "no/leading/slash"}, "ValidationException"),
        ({"Name": "/aws/reserved"}, "ValidationException"),
        ({"Name": "/with blank"}, "ValidationException"),
        ({"Name": "/" + "/".join("abcdefghijklmnop")}, "HierarchyLevelLimitExceededException"),
    ],
)
def test_wrong_parameter_is_refused(
    options: dict[str, str], code: str, open_simulator: OpenSimulator, ssm: Any
) -> None:
    simulator = open_simulator()
    with pytest.raises(ClientError) as error:
        put(ssm, **options)
    assert error.value.response["Error"]["Code"] == code
    assert simulator.parameters.stored == {}


def test_eleven_names_are_too_many_to_delete(open_simulator: OpenSimulator, ssm: Any) -> None:
    open_simulator()
    with pytest.raises(ClientError, match="Validation"):
        ssm.delete_parameters(Names=[f"/a/{number}" for number in range(11)])
