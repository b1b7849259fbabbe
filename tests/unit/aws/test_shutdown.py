"""The end: the group is seen at 0 without an instance, or it is shouted that it was not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.stand_ins.scripted import NOON, ScriptedClient, VirtualClock, refuse

from ghostpen.aws.fleet import Fleet
from ghostpen.aws.shutdown import shut_down
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import ShutdownNotConfirmedError


class Group:
    """A group of one instance that leaves 20 seconds after it is told to, with all that can go otherwise."""

    def __init__(self, *, desired: int = 1, instance: str | None = "InService", leaves_after_s: float = 20) -> None:
        self.clock = VirtualClock()
        self.desired, self.min_size = desired, 0
        self.lifecycle = instance
        self.protected = self.stuck = self.launching = False
        self.leaves_after_s = leaves_after_s
        self.leaves_at: Any = None
        self.before: Callable[[], None] = lambda: None  # what the world does, at every look
        self.told: list[str] = []
        self.client = ScriptedClient(
            "autoscaling",
            set_desired_capacity=self.set_desired,
            describe_auto_scaling_groups=self.describe,
            describe_scaling_activities=lambda **_: {
                "Activities": [
                    {"ActivityId": "a", "StatusCode": "InProgress", "StartTime": NOON} for _ in range(self.launching)
                ]
            },
            terminate_instance_in_auto_scaling_group=self.terminate,
        )

    def set_desired(self, *, DesiredCapacity: int, **_: Any) -> dict[str, Any]:
        self.desired = DesiredCapacity
        if not self.protected and not self.stuck:
            self.leave()
        return {}

    def leave(self) -> None:
        if self.lifecycle is not None and self.leaves_at is None:
            self.lifecycle = "Terminating"
            self.leaves_at = self.clock.now + timedelta(seconds=self.leaves_after_s)

    def terminate(self, *, ShouldDecrementDesiredCapacity: bool, **_: Any) -> Any:
        if ShouldDecrementDesiredCapacity and self.desired == self.min_size:
            return refuse("ValidationError", message="desiredSize equals minSize")
        self.desired -= ShouldDecrementDesiredCapacity
        self.leave()
        return {}

    def describe(self, **_: Any) -> dict[str, Any]:
        self.before()
        if self.leaves_at is not None and self.clock.now >= self.leaves_at:
            self.lifecycle, self.leaves_at = None, None
        members = [
            {"InstanceId": "i-0a", "LifecycleState": self.lifecycle, "ProtectedFromScaleIn": self.protected}
            for _ in range(self.lifecycle is not None)
        ]
        group = {
            "AutoScalingGroupName": "gpu", "MinSize": self.min_size, "MaxSize": 1, "DesiredCapacity": self.desired,
            "Instances": members, "SuspendedProcesses": [],
        }  # fmt: skip
        return {"AutoScalingGroups": [group]}

    def shut_down(self, *, limit_s: float = 600, settle_s: float = 30) -> float:
        """Shut down, and return after how many seconds the group was empty."""
        waiting = Waiting(10, clock=self.clock.read, sleep=self.clock.sleep)
        since = shut_down(
            Fleet(self.client, "gpu"), waiting, limit_s=limit_s, settle_s=settle_s, report=self.told.append
        )
        return (since - NOON).total_seconds()

    def seconds(self) -> float:
        return (self.clock.now - NOON).total_seconds()

    def count(self, operation: str) -> int:
        return len(self.client.list_calls(operation))


def test_running_group_goes_to_zero_and_is_watched_until_it_is_empty() -> None:
    group = Group()

    assert group.shut_down() == 20
    assert (group.desired, group.lifecycle, group.seconds()) == (0, None, 50)  # 30 more, to be sure
    assert group.count("set_desired_capacity") == 1
    assert group.count("terminate_instance_in_auto_scaling_group") == 0
    assert group.told == []


def test_group_that_is_empty_is_asked_for_zero_all_the_same() -> None:
    group = Group(desired=0, instance=None)

    assert group.shut_down() == 0
    assert group.client.list_calls("set_desired_capacity") == [
        {"AutoScalingGroupName": "gpu", "DesiredCapacity": 0, "HonorCooldown": False}
    ]


def test_refusals_are_tried_again_and_told_once() -> None:
    group = Group()
    refusals = iter([refuse("ScalingActivityInProgress")] * 3)
    set_desired = group.set_desired
    group.client._scripts["set_desired_capacity"] = [lambda **given: next(refusals, None) or set_desired(**given)]
    group.client._scripts["terminate_instance_in_auto_scaling_group"] = [refuse("ScalingActivityInProgress")]

    assert group.shut_down() == 50
    assert group.count("set_desired_capacity") == 4
    assert len([line for line in group.told if "SetDesiredCapacity was refused" in line]) >= 1


def test_group_that_may_not_be_set_is_emptied_by_ending_its_instance() -> None:
    group = Group()
    group.client._scripts["set_desired_capacity"] = [refuse("AccessDenied")]

    assert group.shut_down() == 20
    assert (group.desired, group.lifecycle) == (0, None)
    assert group.client.list_calls("terminate_instance_in_auto_scaling_group") == [
        {"InstanceId": "i-0a", "ShouldDecrementDesiredCapacity": True}
    ]


def test_protected_instance_is_ended_by_its_id() -> None:
    group = Group()
    group.protected = True

    assert group.shut_down() == 20
    # Desired is 0 already, where AWS refuses to decrement.
    assert group.client.list_calls("terminate_instance_in_auto_scaling_group") == [
        {"InstanceId": "i-0a", "ShouldDecrementDesiredCapacity": False}
    ]


def test_instance_that_does_not_go_by_itself_is_ended_after_a_while() -> None:
    group = Group()
    group.stuck = True  # as with the process Terminate suspended

    assert group.shut_down() == 90 + 20


def test_instance_that_arrives_after_the_call_is_waited_out() -> None:
    group = Group(desired=1, instance=None)

    def launch() -> None:
        if group.clock.now == NOON + timedelta(seconds=20):
            group.lifecycle = "Pending"
            group.leave()

    group.before = launch
    assert group.shut_down() == 40


def test_launch_under_way_counts_as_an_instance() -> None:
    group = Group(desired=0, instance=None)
    group.launching = True

    def end_launch() -> None:
        group.launching = group.seconds() < 100

    group.before = end_launch
    assert group.shut_down() == 100


def test_call_to_one_that_arrives_late_is_answered_with_zero_again() -> None:
    group = Group(desired=0, instance=None)

    def raise_late() -> None:
        if group.seconds() == 10:
            group.desired, group.lifecycle = 1, "Pending"

    group.before = raise_late
    assert group.shut_down() == 40  # seen at 10, asked at 20, gone 20 seconds later
    assert group.count("set_desired_capacity") == 2


def test_group_that_stays_up_is_shouted_with_what_to_run_by_hand() -> None:
    group = Group(leaves_after_s=10_000)

    with pytest.raises(ShutdownNotConfirmedError) as caught:
        group.shut_down(limit_s=60)
    assert caught.value.exit_code == 29
    assert "was not seen at desired capacity 0 without an instance within 60 s" in caught.value.message
    assert "(desired 0, instances: i-0a Terminating)" in caught.value.message
    assert (
        "`aws autoscaling set-desired-capacity --region eu-central-1 --auto-scaling-group-name gpu "
        "--desired-capacity 0`" in caught.value.message
    )


def test_group_that_never_answers_is_shouted_with_the_last_error() -> None:
    group = Group()
    for operation in ("set_desired_capacity", "describe_auto_scaling_groups", "describe_scaling_activities"):
        group.client._scripts[operation] = [refuse("ExpiredToken", status=403)]

    with pytest.raises(ShutdownNotConfirmedError, match=r"the group could not be read; .*\(ExpiredToken\)"):
        group.shut_down(limit_s=60)
    assert group.count("set_desired_capacity") == 7  # at 0, 10, ... 60 seconds


def test_bug_in_a_look_does_not_end_the_tries() -> None:
    group = Group()
    answers = iter([{"AutoScalingGroups": [{"no": "name"}]}])
    describe = group.describe
    group.client._scripts["describe_auto_scaling_groups"] = [lambda **given: next(answers, None) or describe(**given)]

    assert group.shut_down() == 20
    assert group.told == ["'AutoScalingGroupName'; trying again"]


def test_interruption_reaches_whoever_asked_after_the_group_was_told() -> None:
    group = Group()

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    waiting = Waiting(10, clock=group.clock.read, sleep=interrupt)
    with pytest.raises(KeyboardInterrupt):
        shut_down(Fleet(group.client, "gpu"), waiting, limit_s=600, settle_s=30, report=print)
    assert group.desired == 0
