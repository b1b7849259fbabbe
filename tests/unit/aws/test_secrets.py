"""Secrets: where their values come from, how they stand in Parameter Store, and that they go."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from tests.stand_ins.scripted import ScriptedClient, refuse

from ghostpen.aws.secrets import Secrets, collect_values
from ghostpen.errors import CloudError, ConfigError


def test_values_come_from_the_environment() -> None:
    assert collect_values(["B", "A"], {"A": "1", "B": "2", "C": "3"}) == {"B": "2", "A": "1"}


def test_all_values_that_are_missing_or_wrong_are_in_one_message_without_a_value() -> None:
    environ = {"EMPTY": "", "LINES": "first-line\nsecond", "LONG": "x" * 8193, "FINE": "fine"}

    with pytest.raises(ConfigError) as caught:
        collect_values(["NONE", "EMPTY", "LINES", "LONG", "FINE"], environ)
    assert caught.value.message.startswith(
        "secrets.names: NONE is not set in the environment; EMPTY is not set in the environment; "
        "LINES holds a line break or a control character; LONG is longer than 8192 bytes; set each to one line"
    )
    assert "first-line" not in caught.value.message


def test_parameter_is_encrypted_and_ends_by_itself() -> None:
    client = ScriptedClient("ssm")
    berlin = timezone(timedelta(hours=1))
    Secrets(client, "/ghostpen", "austen").put(
        {"WANDB_API_KEY": "k3y"}, expires_at=datetime(2026, 11, 25, 1, 30, tzinfo=berlin)
    )

    (parameters,) = client.list_calls("put_parameter")
    assert json.loads(parameters.pop("Policies")) == [
        {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": "2026-11-25T00:30:00.000Z"}}
    ]
    assert parameters == {
        "Name": "/ghostpen/austen/WANDB_API_KEY",
        "Value": "k3y",
        "Type": "SecureString",
        "Tier": "Advanced",
        "Overwrite": True,
    }


def test_deletion_takes_ten_names_at_once() -> None:
    client = ScriptedClient("ssm")
    Secrets(client, "/ghostpen", "austen").delete([f"S{number}" for number in range(12)])

    calls = client.list_calls("delete_parameters")
    assert [len(call["Names"]) for call in calls] == [10, 2]
    assert calls[1]["Names"] == ["/ghostpen/austen/S10", "/ghostpen/austen/S11"]


def test_no_secret_no_call() -> None:
    client = ScriptedClient("ssm")
    secrets = Secrets(client, "/ghostpen", "austen")
    secrets.put({}, expires_at=datetime(2026, 11, 25, tzinfo=UTC))
    secrets.delete([])
    assert client.calls == []


def test_refusal_names_the_parameter_and_not_its_value() -> None:
    client = ScriptedClient("ssm", put_parameter=refuse("AccessDeniedException"))

    with pytest.raises(CloudError) as caught:
        Secrets(client, "/ghostpen", "austen").put(
            {"KEY": "k3y-value"}, expires_at=datetime(2026, 11, 25, tzinfo=UTC)
        )
    assert caught.value.message == (
        "parameter /ghostpen/austen/KEY: access denied; the credentials in use need ssm:PutParameter on it"
    )
