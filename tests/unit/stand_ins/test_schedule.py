"""The dead-man switch's ground: one-time scheduled actions."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.stand_ins.aws.timeline import VirtualTime
from tests.stand_ins.aws.world import GroupSpec, World
from tests.unit.stand_ins.conftest import GROUP, OpenSimulator


def put(autoscaling: Any, name: str, at: datetime) -> None:
    autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=GROUP, ScheduledActionName=name, StartTime=at, MinSize=0, DesiredCapacity=0
    )


def list_actions(autoscaling: Any) -> dict[str, datetime]:
    answer = autoscaling.describe_scheduled_actions(AutoScalingGroupName=GROUP)
    return {action["ScheduledActionName"]: action["StartTime"] for action in answer["ScheduledUpdateGroupActions"]}


def scale_up(autoscaling: Any, clock: VirtualTime) -> None:
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)
    clock.sleep(60)


def test_action_fires_sets_desired_0_and_is_gone(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator()
    scale_up(autoscaling, clock)
    put(autoscaling, "ghostpen-a", clock.now_utc() + timedelta(seconds=600))
    clock.sleep(590)
    assert len(simulator.list_living()) == 1
    assert list(list_actions(autoscaling)) == ["ghostpen-a"]
    clock.sleep(120)
    assert simulator.list_leftovers() == []
    assert list_actions(autoscaling) == {}
    cause = autoscaling.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"][0]["Cause"]
    assert (
        "a scheduled action update of AutoScalingGroup constraints to min: 0, max: 1, desired: 0 "
        "changing the desired capacity from 1 to 0." in cause
    )


def test_action_in_the_past_is_refused(open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any) -> None:
    open_simulator()
    with pytest.raises(ClientError, match="ValidationError.*Given start time is in the past"):
        put(autoscaling, "ghostpen-a", clock.now_utc() - timedelta(seconds=1))


def test_action_put_again_moves(open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any) -> None:
    simulator = open_simulator()
    scale_up(autoscaling, clock)
    put(autoscaling, "ghostpen-a", clock.now_utc() + timedelta(seconds=600))
    later = clock.now_utc().replace(microsecond=0) + timedelta(seconds=6000)
    put(autoscaling, "ghostpen-a", later)
    assert list_actions(autoscaling) == {"ghostpen-a": later}
    clock.sleep(5900)
    assert len(simulator.list_living()) == 1
    clock.sleep(300)
    assert simulator.list_leftovers() == []


def test_second_action_at_the_same_minute_is_refused(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator()
    at = clock.now_utc().replace(second=10) + timedelta(hours=1)
    put(autoscaling, "ghostpen-a", at)
    with pytest.raises(autoscaling.exceptions.AlreadyExistsFault):
        put(autoscaling, "ghostpen-b", at + timedelta(seconds=20))
    put(autoscaling, "ghostpen-b", at + timedelta(seconds=60))


def test_action_taken_off_does_not_fire_and_is_refused_a_second_time(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator()
    scale_up(autoscaling, clock)
    put(autoscaling, "ghostpen-a", clock.now_utc() + timedelta(seconds=600))
    autoscaling.delete_scheduled_action(AutoScalingGroupName=GROUP, ScheduledActionName="ghostpen-a")
    clock.sleep(900)
    assert len(simulator.list_living()) == 1
    with pytest.raises(ClientError, match="ValidationError.*Scheduled action name not found"):
        autoscaling.delete_scheduled_action(AutoScalingGroupName=GROUP, ScheduledActionName="ghostpen-a")


@pytest.mark.parametrize("process", ["ScheduledActions", "Terminate"])
def test_action_of_a_group_with_a_suspended_process_ends_nothing(
    process: str, open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator(world=World(groups=(GroupSpec(suspended=(process,)),)))
    scale_up(autoscaling, clock)
    put(autoscaling, "ghostpen-a", clock.now_utc() + timedelta(seconds=600))
    clock.sleep(900)
    assert len(simulator.list_living()) == 1
