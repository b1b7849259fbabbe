"""Commands on the instance: what SSM's answers mean, and that each wait ends."""

from typing import Any

import pytest
from tests.stand_ins.scripted import ScriptedClient, VirtualClock, refuse

from ghostpen.aws.remote import CommandResult, Remote
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import CloudError, InstanceLostError, InstanceNeverOnlineError

ONLINE = {"InstanceInformationList": [{"PingStatus": "Online"}]}
SENT = {"Command": {"CommandId": "c" * 36}}


def write_result(
    status: str, details: str | None = None, code: int = 0, out: str = "", err: str = ""
) -> dict[str, Any]:
    return {
        "Status": status,
        "StatusDetails": details or status,
        "ResponseCode": code,
        "StandardOutputContent": out,
        "StandardErrorContent": err,
    }


def stay() -> None:
    """Tell that the instance is there."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def make_remote(clock: VirtualClock, **scripts: Any) -> tuple[Remote, ScriptedClient]:
    client = ScriptedClient("ssm", **scripts)
    return Remote(client, "i-0123456789abcdef0", Waiting(10, clock=clock.read, sleep=clock.sleep)), client


def test_agent_that_registers_late_is_waited_for(clock: VirtualClock) -> None:
    answers = [{"InstanceInformationList": []}, {"InstanceInformationList": [{"PingStatus": "Inactive"}]}, ONLINE]
    remote, client = make_remote(clock, describe_instance_information=answers)

    remote.wait_for_online(limit_s=600, check=stay)
    assert clock.sleeps == [10, 10]
    assert client.calls[0][1] == {"Filters": [{"Key": "InstanceIds", "Values": ["i-0123456789abcdef0"]}]}


def test_agent_that_never_answers_ends_at_the_deadline(clock: VirtualClock) -> None:
    remote, _ = make_remote(clock, describe_instance_information={"InstanceInformationList": []})

    with pytest.raises(InstanceNeverOnlineError, match="its SSM agent did not answer within 60 s"):
        remote.wait_for_online(limit_s=60, check=stay)
    assert sum(clock.sleeps) == 60


def test_instance_that_goes_ends_the_wait(clock: VirtualClock) -> None:
    remote, _ = make_remote(clock, describe_instance_information={"InstanceInformationList": []})

    def check() -> None:
        if len(clock.sleeps) == 2:
            raise InstanceLostError("gone")

    with pytest.raises(InstanceLostError):
        remote.wait_for_online(limit_s=600, check=check)


def test_command_that_leaves_well_gives_its_output(clock: VirtualClock) -> None:
    remote, client = make_remote(
        clock,
        send_command=SENT,
        get_command_invocation=[
            refuse("InvocationDoesNotExist"),
            write_result("Pending"),
            write_result("InProgress"),
            write_result("Delayed"),
            write_result("Success", out="fine\n"),
        ],
    )
    result = remote.run_command("set -eu\ntrue", timeout_s=1800, comment="smoke", check=stay)

    assert result == CommandResult("left", 0, "fine\n", "")
    assert result.succeeded
    assert client.list_calls("send_command") == [
        {
            "InstanceIds": ["i-0123456789abcdef0"],
            "DocumentName": "AWS-RunShellScript",
            "Parameters": {"commands": ["set -eu", "true"], "executionTimeout": ["1800"]},
            "TimeoutSeconds": 60,
            "Comment": "smoke",
        }
    ]


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (write_result("Failed", code=22), "left"),
        (write_result("TimedOut", "Execution Timed Out", code=-1), "timed out"),
        (write_result("TimedOut", "ExecutionTimedOut", code=-1), "timed out"),
        (write_result("TimedOut", "DeliveryTimedOut", code=-1), "undelivered"),
        (write_result("TimedOut", "Delivery Timed Out", code=-1), "undelivered"),
        (write_result("Failed", "Undeliverable", code=-1), "undelivered"),
        (write_result("Failed", "Terminated", code=-1), "undelivered"),
        (write_result("Cancelled", code=-1), "cancelled"),
    ],
)
def test_command_that_does_not_leave_well_says_how(clock: VirtualClock, answer: dict[str, Any], end: str) -> None:
    remote, _ = make_remote(clock, send_command=SENT, get_command_invocation=answer)
    result = remote.run_command("false", timeout_s=5, comment="smoke", check=stay)

    assert (result.end, result.exit_code, result.succeeded) == (end, answer["ResponseCode"], False)


def test_command_for_an_agent_that_is_not_ready_is_sent_again(clock: VirtualClock) -> None:
    remote, client = make_remote(
        clock,
        send_command=[refuse("InvalidInstanceId"), refuse("InvalidInstanceId"), SENT],
        get_command_invocation=write_result("Success"),
    )
    assert remote.run_command("true", timeout_s=5, comment="start", check=stay).succeeded
    assert len(client.list_calls("send_command")) == 3


def test_command_that_no_agent_takes_ends(clock: VirtualClock) -> None:
    remote, _ = make_remote(clock, send_command=refuse("InvalidInstanceId"))

    with pytest.raises(InstanceNeverOnlineError, match="took no command within 60 s"):
        remote.run_command("true", timeout_s=5, comment="start", check=stay)


def test_command_that_never_ends_is_cancelled_at_the_deadline(clock: VirtualClock) -> None:
    remote, client = make_remote(
        clock,
        send_command=SENT,
        get_command_invocation=write_result("InProgress"),
        cancel_command=refuse("Throttling"),
    )
    with pytest.raises(InstanceNeverOnlineError, match="no word of how `smoke` ended within 220 s"):
        remote.run_command("sleep 9", timeout_s=100, comment="smoke", check=stay)
    assert client.list_calls("cancel_command") == [{"CommandId": "c" * 36, "InstanceIds": ["i-0123456789abcdef0"]}]


def test_refusal_names_the_right(clock: VirtualClock) -> None:
    remote, _ = make_remote(clock, send_command=refuse("AccessDeniedException"))

    with pytest.raises(CloudError, match=r"need ssm:SendCommand on it"):
        remote.run_command("true", timeout_s=5, comment="start", check=stay)
