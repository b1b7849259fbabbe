"""The group: what is read of it, and what is asked of it."""

from datetime import timedelta
from typing import Any

import pytest
from tests.stand_ins.scripted import NOON, ScriptedClient, VirtualClock, refuse

from ghostpen.aws.fleet import Armed, Fleet, Member, read_machine
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import CloudError, NoCapacityError


def write_group(*instances: dict[str, Any], **changes: Any) -> dict[str, Any]:
    group = {
        "AutoScalingGroupName": "gpu",
        "MinSize": 0,
        "MaxSize": 1,
        "DesiredCapacity": len(instances),
        "AvailabilityZones": ["eu-central-1a", "eu-central-1b"],
        "Instances": list(instances),
        "SuspendedProcesses": [],
    }
    return {"AutoScalingGroups": [group | changes]}


def write_instance(lifecycle: str = "InService", **changes: Any) -> dict[str, Any]:
    instance = {
        "InstanceId": "i-0a",
        "InstanceType": "g6.2xlarge",
        "AvailabilityZone": "eu-central-1b",
        "LifecycleState": lifecycle,
        "HealthStatus": "Healthy",
        "ProtectedFromScaleIn": False,
    }
    return instance | changes


def write_activity(number: int, status: str, message: str = "") -> dict[str, Any]:
    return {
        "ActivityId": f"a{number}",
        "StatusCode": status,
        "StatusMessage": message,
        "Cause": "a user request",
        "StartTime": NOON,
    }


def test_group_is_read_with_all_that_decides() -> None:
    policy = {
        "LaunchTemplate": {"Overrides": [{"InstanceType": "g6.2xlarge"}, {"InstanceType": "g5.2xlarge"}]},
        "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 0},
    }
    answer = write_group(
        write_instance(ProtectedFromScaleIn=True),
        MixedInstancesPolicy=policy,
        SuspendedProcesses=[{"ProcessName": "Launch", "SuspensionReason": "Administratively suspended"}],
        NewInstancesProtectedFromScaleIn=True,
        WarmPoolConfiguration={"MinSize": 1},
    )
    state = Fleet(ScriptedClient("autoscaling", describe_auto_scaling_groups=answer), "gpu").read_group()

    assert (state.desired, state.min_size, state.max_size) == (1, 0, 1)
    assert state.instances == (Member("i-0a", "InService", "Healthy", "g6.2xlarge", "eu-central-1b", protected=True),)
    assert state.suspended == {"Launch": "Administratively suspended"}
    assert (state.protected, state.warm_pool, state.spot) == (True, True, True)
    assert (state.zones, state.types) == (("eu-central-1a", "eu-central-1b"), ("g6.2xlarge", "g5.2xlarge"))


def test_group_without_a_policy_is_on_demand_and_names_no_type() -> None:
    state = Fleet(ScriptedClient("autoscaling", describe_auto_scaling_groups=write_group()), "gpu").read_group()
    assert (state.types, state.spot, state.warm_pool, state.protected) == ((), False, False, False)


def test_group_that_is_not_there_says_what_to_correct() -> None:
    client = ScriptedClient("autoscaling", describe_auto_scaling_groups={"AutoScalingGroups": []})

    with pytest.raises(CloudError, match=r"^group gpu: there is no Auto Scaling group of this name in eu-central-1"):
        Fleet(client, "gpu").read_group()


@pytest.mark.parametrize(
    ("lifecycle", "in_service", "leaving"),
    [
        ("Pending", False, False),
        ("InService", True, False),
        ("Terminating", False, True),
        ("Terminating:Wait", False, True),
        ("Terminated", False, True),
        ("Standby", False, False),
    ],
)
def test_member_knows_whether_it_works_or_leaves(lifecycle: str, in_service: bool, leaving: bool) -> None:
    member = Member("i-0a", lifecycle, "Healthy", "g6.2xlarge", "eu-central-1a", protected=False)
    assert (member.is_in_service, member.is_leaving) == (in_service, leaving)


def test_desired_capacity_does_not_wait_for_a_cooldown() -> None:
    client = ScriptedClient("autoscaling")
    Fleet(client, "gpu").set_desired(1)

    assert client.calls == [
        (
            "set_desired_capacity",
            {"AutoScalingGroupName": "gpu", "DesiredCapacity": 1, "HonorCooldown": False},
        )
    ]


def test_refusal_names_the_group_and_the_right() -> None:
    client = ScriptedClient("autoscaling", set_desired_capacity=refuse("AccessDenied"))

    with pytest.raises(CloudError) as caught:
        Fleet(client, "gpu").set_desired(0)
    assert caught.value.message == (
        "group gpu: access denied; the credentials in use need autoscaling:SetDesiredCapacity on it"
    )
    assert not caught.value.passing


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (refuse("ScalingActivityInProgress"), True),
        (refuse("ResourceContention", status=500), True),
        (refuse("Throttling"), True),
        (refuse("ServiceUnavailable", status=503), True),
        (refuse("ExpiredToken", status=403), False),
        (refuse("ValidationError"), False),
    ],
)
def test_refusal_says_whether_it_may_pass(error: Exception, passing: bool) -> None:
    with pytest.raises(CloudError) as caught:
        Fleet(ScriptedClient("autoscaling", set_desired_capacity=error), "gpu").set_desired(0)
    assert caught.value.passing is passing


def test_arming_puts_an_end_on_the_group_under_the_run_s_name() -> None:
    client = ScriptedClient("autoscaling")

    assert Fleet(client, "gpu").arm("austen", NOON) == NOON
    assert client.list_calls("put_scheduled_update_group_action") == [
        {
            "AutoScalingGroupName": "gpu",
            "ScheduledActionName": "ghostpen-austen",
            "StartTime": NOON,
            "MinSize": 0,
            "DesiredCapacity": 0,
        }
    ]


def test_arming_at_a_taken_time_takes_the_next_minute() -> None:
    client = ScriptedClient("autoscaling", put_scheduled_update_group_action=[refuse("AlreadyExists"), {}])
    assert Fleet(client, "gpu").arm("austen", NOON) == NOON + timedelta(seconds=61)


def test_arming_that_is_refused_is_an_error() -> None:
    client = ScriptedClient("autoscaling", put_scheduled_update_group_action=refuse("AlreadyExists"))

    with pytest.raises(CloudError, match="AlreadyExists"):
        Fleet(client, "gpu").arm("austen", NOON)
    assert len(client.calls) == 3


def write_actions(*names: str, **changes: Any) -> dict[str, Any]:
    return {
        "ScheduledUpdateGroupActions": [{"ScheduledActionName": name, "StartTime": NOON} | changes for name in names]
    }


def test_armed_runs_are_those_of_our_own_actions() -> None:
    client = ScriptedClient(
        "autoscaling", describe_scheduled_actions=write_actions("ghostpen-austen", "nightly", "ghostpen-smoke")
    )
    assert Fleet(client, "gpu").read_armed() == [Armed("austen", NOON), Armed("smoke", NOON)]


def test_recurring_action_of_a_like_name_is_no_run() -> None:
    actions = write_actions("ghostpen-nightly", Recurrence="0 3 * * *")
    assert Fleet(ScriptedClient("autoscaling", describe_scheduled_actions=actions), "gpu").read_armed() == []


def test_disarming_what_has_fired_is_fine() -> None:
    client = ScriptedClient(
        "autoscaling", delete_scheduled_action=refuse("ValidationError"), describe_scheduled_actions=write_actions()
    )
    Fleet(client, "gpu").disarm("austen")
    assert client.list_calls("delete_scheduled_action") == [
        {"AutoScalingGroupName": "gpu", "ScheduledActionName": "ghostpen-austen"}
    ]


def test_disarming_that_leaves_the_action_is_an_error() -> None:
    client = ScriptedClient(
        "autoscaling",
        delete_scheduled_action=refuse("ValidationError"),
        describe_scheduled_actions=write_actions("ghostpen-austen"),
    )
    with pytest.raises(CloudError, match="DeleteScheduledAction was refused"):
        Fleet(client, "gpu").disarm("austen")


@pytest.fixture
def waiting() -> Waiting:
    clock = VirtualClock()
    return Waiting(10, clock=clock.read, sleep=clock.sleep)


def test_instance_that_comes_is_the_one_in_service(waiting: Waiting) -> None:
    client = ScriptedClient(
        "autoscaling",
        describe_auto_scaling_groups=[
            write_group(DesiredCapacity=1),
            write_group(write_instance("Pending")),
            write_group(write_instance("Terminating", InstanceId="i-old"), write_instance()),
        ],
        describe_scaling_activities={"Activities": []},
    )
    member = Fleet(client, "gpu").wait_for_instance(waiting, known=(), limit_s=60, report=print)
    assert member.instance_id == "i-0a"


def test_capacity_that_fails_is_told_once_and_old_failures_are_not(waiting: Waiting) -> None:
    told: list[str] = []
    client = ScriptedClient(
        "autoscaling",
        describe_auto_scaling_groups=write_group(DesiredCapacity=1),
        describe_scaling_activities=[
            {"Activities": [write_activity(1, "Failed", "of yesterday")]},
            {
                "Activities": [
                    write_activity(4, "Failed", "no g6 in 1a"),
                    write_activity(3, "Failed", "no g6 in 1b"),
                    write_activity(2, "Failed", "no g6 in 1a"),
                    write_activity(1, "Failed", "of yesterday"),
                ]
            },
        ],
    )
    with pytest.raises(NoCapacityError) as caught:
        Fleet(client, "gpu").wait_for_instance(waiting, known={"a1"}, limit_s=30, report=told.append)
    assert told == [
        "the group could not launch an instance: no g6 in 1a",
        "the group could not launch an instance: no g6 in 1b",
    ]
    assert caught.value.message.startswith(
        "group gpu got no instance within 30 s: no g6 in 1a; no g6 in 1b; try again"
    )


def test_capacity_that_never_comes_without_a_word_says_so(waiting: Waiting) -> None:
    client = ScriptedClient(
        "autoscaling",
        describe_auto_scaling_groups=write_group(DesiredCapacity=1),
        describe_scaling_activities={"Activities": [write_activity(1, "InProgress")]},
    )
    with pytest.raises(NoCapacityError, match="within 30 s: it did not say why; try again later"):
        Fleet(client, "gpu").wait_for_instance(waiting, known=(), limit_s=30, report=print)


def test_machine_is_read_from_ec2() -> None:
    instance = {
        "InstanceType": "g6.2xlarge",
        "Placement": {"AvailabilityZone": "eu-central-1b"},
        "LaunchTime": NOON,
        "InstanceLifecycle": "spot",
        "StateReason": {"Code": "Server.SpotInstanceTermination"},
    }
    client = ScriptedClient("ec2", describe_instances={"Reservations": [{"Instances": [instance]}]})
    machine = read_machine(client, "i-0a")

    assert machine is not None
    assert (machine.type, machine.zone, machine.launched_at) == ("g6.2xlarge", "eu-central-1b", NOON)
    assert (machine.spot, machine.state_reason) == (True, "Server.SpotInstanceTermination")


@pytest.mark.parametrize("answer", [refuse("InvalidInstanceID.NotFound"), {"Reservations": []}])
def test_machine_that_ec2_does_not_know_is_none(answer: Any) -> None:
    assert read_machine(ScriptedClient("ec2", describe_instances=answer), "i-0a") is None
