"""Systems Manager's agents and Run Command, in the places where moto answers Success to everything."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import Incident, InstanceFault, Mishap, Phase
from tests.stand_ins.aws.instances import CommandResult, Instance
from tests.stand_ins.aws.timeline import VirtualTime
from tests.unit.stand_ins.conftest import GROUP, OpenSimulator, QuietHost


def launch(simulator: Simulator, clock: VirtualTime, *, wait_s: float = 120) -> Instance:
    """Start an instance; after 3 + 2 + 20 s EC2 says running, after 45 s more its agent is online."""
    simulator.group.set_desired(1)
    clock.sleep(wait_s)
    return simulator.ec2.list_instances()[0]


def find_host(instance: Instance) -> QuietHost:
    assert isinstance(instance.host, QuietHost)
    return instance.host


def list_agents(ssm: Any, instance_id: str) -> list[str]:
    filters = [{"Key": "InstanceIds", "Values": [instance_id]}]
    answer = ssm.describe_instance_information(Filters=filters)
    return [agent["PingStatus"] for agent in answer["InstanceInformationList"]]


def send(ssm: Any, instance_id: str, *commands: str, **options: Any) -> str:
    parameters = {"commands": list(commands or ("true",))} | options.pop("parameters", {})
    command = ssm.send_command(
        InstanceIds=[instance_id], DocumentName="AWS-RunShellScript", Parameters=parameters, **options
    )["Command"]
    return str(command["CommandId"])


def read(ssm: Any, command_id: str, instance_id: str) -> Any:
    return ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)


# -- agents --


def test_agent_is_not_listed_until_it_has_registered(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(), clock, wait_s=60)
    assert instance.state == "running"
    assert list_agents(ssm, instance.id) == []
    with pytest.raises(ssm.exceptions.InvalidInstanceId, match="not in a valid state for account 123456789012"):
        send(ssm, instance.id)
    clock.sleep(30)
    assert list_agents(ssm, instance.id) == ["Online"]


def test_agent_that_never_comes_is_never_listed(open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any) -> None:
    instance = launch(open_simulator(InstanceFault((("agent_online_s", None),))), clock, wait_s=7200)
    assert list_agents(ssm, instance.id) == []


def test_lost_agent_is_called_online_for_five_more_minutes(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(InstanceFault((), (Incident(Mishap.AGENT_LOST, Phase.BOOT, 100),))), clock)
    clock.sleep(60)
    assert list_agents(ssm, instance.id) == ["Online"]
    clock.sleep(300)
    assert list_agents(ssm, instance.id) == ["ConnectionLost"]


def test_command_to_an_unknown_instance_is_refused(open_simulator: OpenSimulator, ssm: Any) -> None:
    open_simulator()
    with pytest.raises(ssm.exceptions.InvalidInstanceId):
        send(ssm, "i-0123456789abcdef0")


# -- a command's way --


def test_command_runs_and_shows_its_output_only_at_its_end(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(), clock)
    command_id = send(ssm, instance.id, "echo a", "exit 3", parameters={"workingDirectory": ["/tmp/x y"]})
    with pytest.raises(ssm.exceptions.InvocationDoesNotExist):
        read(ssm, command_id, instance.id)
    clock.sleep(2)
    shown = read(ssm, command_id, instance.id)
    assert (shown["Status"], shown["ResponseCode"], shown["StandardOutputContent"]) == ("InProgress", -1, "")
    assert find_host(instance).scripts == ["cd '/tmp/x y' || exit 1\necho a\nexit 3\n"]
    find_host(instance).done[0](CommandResult(3, "a" * 30000, "b" * 30000))
    shown = read(ssm, command_id, instance.id)
    assert (shown["Status"], shown["StatusDetails"], shown["ResponseCode"]) == ("Failed", "Failed", 3)
    assert (len(shown["StandardOutputContent"]), len(shown["StandardErrorContent"])) == (24000, 8000)


def test_command_that_ends_with_0_is_a_success(open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any) -> None:
    instance = launch(open_simulator(), clock)
    command_id = send(ssm, instance.id)
    clock.sleep(2)
    find_host(instance).done[0](CommandResult(0, "fine\n"))
    shown = read(ssm, command_id, instance.id)
    assert (shown["Status"], shown["ResponseCode"], shown["StandardOutputContent"]) == ("Success", 0, "fine\n")


def test_execution_timeout_kills_the_command(open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any) -> None:
    instance = launch(open_simulator(), clock)
    command_id = send(ssm, instance.id, parameters={"executionTimeout": ["60"]})
    clock.sleep(55)
    assert read(ssm, command_id, instance.id)["Status"] == "InProgress"
    clock.sleep(10)
    shown = read(ssm, command_id, instance.id)
    assert (shown["Status"], shown["StatusDetails"]) == ("TimedOut", "Execution Timed Out")
    assert find_host(instance).events[-1] == "cancel"


@pytest.mark.parametrize("wrong", ["4", "172801", "1h", "-5"])
def test_execution_timeout_out_of_range_silently_becomes_an_hour(
    wrong: str, open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(), clock)
    command_id = send(ssm, instance.id, parameters={"executionTimeout": [wrong]})
    clock.sleep(3590)
    assert read(ssm, command_id, instance.id)["Status"] == "InProgress"
    clock.sleep(20)
    assert read(ssm, command_id, instance.id)["StatusDetails"] == "Execution Timed Out"


def test_command_to_a_silent_agent_is_delayed_then_delivered(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(InstanceFault((), (Incident(Mishap.AGENT_AWAY, Phase.BOOT, 100),))), clock)
    clock.sleep(10)  # the agent went 5 s ago, and AWS does not know
    command_id = send(ssm, instance.id)
    clock.sleep(2)
    assert read(ssm, command_id, instance.id)["Status"] == "Delayed"
    clock.sleep(420)
    assert read(ssm, command_id, instance.id)["Status"] == "InProgress"


def test_command_that_no_agent_takes_in_time_is_a_delivery_timeout_and_never_runs(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(InstanceFault((), (Incident(Mishap.AGENT_AWAY, Phase.BOOT, 100),))), clock)
    clock.sleep(10)
    command_id = send(ssm, instance.id, TimeoutSeconds=60)
    clock.sleep(65)
    shown = read(ssm, command_id, instance.id)
    assert (shown["Status"], shown["StatusDetails"]) == ("TimedOut", "Delivery Timed Out")
    clock.sleep(600)
    assert find_host(instance).scripts == []


def test_command_whose_instance_ends_before_delivery_is_undeliverable(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    simulator = open_simulator(InstanceFault((), (Incident(Mishap.AGENT_LOST, Phase.BOOT, 100),)))
    instance = launch(simulator, clock)
    clock.sleep(10)
    command_id = send(ssm, instance.id)
    simulator.ec2.terminate(instance)
    clock.sleep(5)
    assert read(ssm, command_id, instance.id)["StatusDetails"] == "Undeliverable"


def test_command_that_ran_when_its_instance_died_is_in_progress_until_its_time_is_over(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    simulator = open_simulator()
    instance = launch(simulator, clock)
    command_id = send(ssm, instance.id, parameters={"executionTimeout": ["900"]})
    clock.sleep(5)
    simulator.ec2.strike(instance, Mishap.DIES)
    clock.sleep(880)
    assert read(ssm, command_id, instance.id)["Status"] == "InProgress"
    clock.sleep(20)
    assert read(ssm, command_id, instance.id)["StatusDetails"] == "Execution Timed Out"


def test_result_of_a_command_waits_for_an_agent_that_is_away(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    simulator = open_simulator()
    instance = launch(simulator, clock)
    command_id = send(ssm, instance.id)
    clock.sleep(5)
    simulator.ec2.strike(instance, Mishap.AGENT_AWAY)
    find_host(instance).done[0](CommandResult(0))
    assert read(ssm, command_id, instance.id)["Status"] == "InProgress"
    clock.sleep(430)
    assert read(ssm, command_id, instance.id)["Status"] == "Success"


def test_cancelled_command_is_killed(open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any) -> None:
    instance = launch(open_simulator(), clock)
    command_id = send(ssm, instance.id)
    clock.sleep(5)
    ssm.cancel_command(CommandId=command_id)
    clock.sleep(5)
    assert read(ssm, command_id, instance.id)["Status"] == "Cancelled"
    assert find_host(instance).events[-1] == "cancel"


# -- refusals --


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"commands": []}, "InvalidParameters"),
        ({"commands": ["true"], "timeout": ["5"]}, "InvalidParameters"),
        ({"commands": ["x" * 65536]}, "MaxDocumentSizeExceeded"),
    ],
)
def test_wrong_parameters_are_refused(
    parameters: dict[str, list[str]], code: str, open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(), clock)
    with pytest.raises(ClientError) as error:
        ssm.send_command(InstanceIds=[instance.id], DocumentName="AWS-RunShellScript", Parameters=parameters)
    assert error.value.response["Error"]["Code"] == code


def test_unknown_document_and_command_are_refused(
    open_simulator: OpenSimulator, clock: VirtualTime, ssm: Any
) -> None:
    instance = launch(open_simulator(), clock)
    with pytest.raises(ssm.exceptions.InvalidDocument):
        ssm.send_command(InstanceIds=[instance.id], DocumentName="Other")
    with pytest.raises(ssm.exceptions.InvalidCommandId):
        ssm.cancel_command(CommandId="0" * 36)


# -- EC2's view --


def test_ec2_shows_state_reason_and_group_and_forgets_after_an_hour(
    open_simulator: OpenSimulator, clock: VirtualTime, door: Any
) -> None:
    simulator = open_simulator()
    instance = launch(simulator, clock)
    ec2 = door.client("ec2")
    filters = [{"Name": "tag:aws:autoscaling:groupName", "Values": [GROUP]}]
    (reservation,) = ec2.describe_instances(Filters=filters)["Reservations"]
    assert reservation["Instances"][0]["State"] == {"Code": 16, "Name": "running"}
    simulator.ec2.strike(instance, Mishap.SPOT)
    clock.sleep(119)
    assert instance.state == "running"
    clock.sleep(5)
    (reservation,) = ec2.describe_instances(InstanceIds=[instance.id])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "terminated"
    assert reservation["Instances"][0]["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    clock.sleep(3700)
    with pytest.raises(ClientError, match="InvalidInstanceID.NotFound"):
        ec2.describe_instances(InstanceIds=[instance.id])


def test_terminated_instance_gets_sigterm_then_sigkill(open_simulator: OpenSimulator, clock: VirtualTime) -> None:
    simulator = open_simulator()
    instance = launch(simulator, clock)
    simulator.group.set_desired(0)
    clock.sleep(10)
    assert find_host(instance).events == ["boot", "terminate"]
    clock.sleep(30)
    assert find_host(instance).events == ["boot", "terminate", "kill"]
