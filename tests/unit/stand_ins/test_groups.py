"""Auto Scaling as `facts` of AWS have it, in the places where moto differs."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.stand_ins.aws.faults import Incident, InstanceFault, Mishap, NoCapacity, Phase, Shortage
from tests.stand_ins.aws.groups import ADMIN_SUSPENSION
from tests.stand_ins.aws.timeline import VirtualTime
from tests.stand_ins.aws.world import Delays, GroupSpec, World
from tests.unit.stand_ins.conftest import GROUP, OpenSimulator


def read_group(autoscaling: Any) -> Any:
    return autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][0]


def read_activities(autoscaling: Any) -> Any:
    return autoscaling.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"]


def scale(autoscaling: Any, desired: int, **options: Any) -> None:
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=desired, **options)


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def make_world(**spec: Any) -> World:
    return World(groups=(GroupSpec(**spec),))


# -- up and down --


def test_instance_after_desired_1_is_pending_then_in_service(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator()
    scale(autoscaling, 1)
    assert read_group(autoscaling)["Instances"] == []  # the group has not acted yet
    clock.sleep(10)
    (instance,) = read_group(autoscaling)["Instances"]
    assert (instance["LifecycleState"], instance["HealthStatus"]) == ("Pending", "Healthy")
    clock.sleep(60)
    (instance,) = read_group(autoscaling)["Instances"]
    assert instance["LifecycleState"] == "InService"
    (activity,) = read_activities(autoscaling)
    assert activity["StatusCode"] == "Successful"
    assert activity["Description"] == f"Launching a new EC2 instance: {instance['InstanceId']}"
    assert "changing the desired capacity from 0 to 1." in activity["Cause"]


def test_instance_after_desired_0_is_terminating_then_gone(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator()
    scale(autoscaling, 1)
    clock.sleep(60)
    scale(autoscaling, 0)
    clock.sleep(10)
    (instance,) = read_group(autoscaling)["Instances"]
    assert instance["LifecycleState"] == "Terminating"
    assert simulator.list_leftovers() == [f"{instance['InstanceId']} is shutting-down"]
    clock.sleep(60)
    assert read_group(autoscaling)["Instances"] == []
    assert simulator.list_leftovers() == []
    assert [activity["StatusCode"] for activity in read_activities(autoscaling)] == ["Successful", "Successful"]


def test_instance_whose_launch_was_pending_at_desired_0_still_comes_and_is_terminated(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator()
    scale(autoscaling, 1)
    clock.sleep(4)  # EC2 has been asked, 3 s after the change, and will answer 2 s later
    assert read_group(autoscaling)["Instances"] == []
    assert read_activities(autoscaling)[0]["StatusCode"] == "InProgress"
    scale(autoscaling, 0)
    clock.sleep(10)
    assert [instance["LifecycleState"] for instance in read_group(autoscaling)["Instances"]] == ["Pending"]
    clock.sleep(200)
    assert simulator.list_leftovers() == []


def test_launch_not_yet_begun_at_desired_0_never_is(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator()
    scale(autoscaling, 1)
    scale(autoscaling, 0)
    clock.sleep(600)
    assert read_activities(autoscaling) == []


def test_billed_seconds_run_from_running_to_shutting_down(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator(world=World(groups=(GroupSpec(),), delays=Delays(call_s=0)))
    scale(autoscaling, 1)
    clock.sleep(3 + 2 + 20 + 100)  # reaction, request, half of the boot
    scale(autoscaling, 0)
    clock.sleep(3 + 1000)
    assert simulator.compute_billed_s() == 103


# -- refusals --


def test_desired_above_max_is_a_validation_error(open_simulator: OpenSimulator, autoscaling: Any) -> None:
    open_simulator()
    with pytest.raises(ClientError) as error:
        scale(autoscaling, 2)
    assert refused(error) == (
        "ValidationError",
        "New SetDesiredCapacity value 2 is above max value 1 for the AutoScalingGroup.",
    )


def test_unknown_group_is_an_empty_list_or_a_validation_error(
    open_simulator: OpenSimulator, autoscaling: Any
) -> None:
    open_simulator()
    assert autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["other"])["AutoScalingGroups"] == []
    with pytest.raises(ClientError) as error:
        autoscaling.set_desired_capacity(AutoScalingGroupName="other", DesiredCapacity=0)
    assert refused(error)[0] == "ValidationError"


def test_change_that_honors_the_cooldown_is_refused_while_an_activity_blocks(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator()
    scale(autoscaling, 1)
    clock.sleep(60)
    with pytest.raises(autoscaling.exceptions.ScalingActivityInProgressFault):
        scale(autoscaling, 0, HonorCooldown=True)
    scale(autoscaling, 0, HonorCooldown=False)
    clock.sleep(100 + 300)
    scale(autoscaling, 1, HonorCooldown=True)


# -- no capacity --


def test_no_capacity_is_failed_activities_again_and_again_and_no_exception(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator(NoCapacity(), world=make_world(types=("g6e.xlarge",), zones=("eu-central-1a", "eu-central-1b")))
    scale(autoscaling, 1)
    clock.sleep(30)
    activities = read_activities(autoscaling)
    assert [activity["StatusCode"] for activity in activities] == ["Failed", "Failed"]  # one of each zone
    assert activities[-1]["StatusMessage"].startswith(
        "We currently do not have sufficient g6e.xlarge capacity in the Availability Zone you requested "
        "(eu-central-1a). Our system will be working on provisioning additional capacity."
    )
    assert len(activities[-1]["StatusMessage"]) == 255  # cut, as AWS cuts it
    clock.sleep(3600)
    assert read_group(autoscaling)["DesiredCapacity"] == 1
    # Tries 5, 65, 185, 425, 905, 1805, 2705, 3605 seconds after the change: 60 s doubled, up to 900 s.
    assert len(read_activities(autoscaling)) == 2 * 8


def test_no_capacity_in_one_zone_falls_over_to_the_next_and_leaves_a_failed_activity(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator(NoCapacity(zones=("eu-central-1a",)))
    scale(autoscaling, 1)
    clock.sleep(60)
    (instance,) = read_group(autoscaling)["Instances"]
    assert (instance["AvailabilityZone"], instance["InstanceType"]) == ("eu-central-1b", "g6e.xlarge")
    assert [activity["StatusCode"] for activity in read_activities(autoscaling)] == ["Successful", "Failed"]


def test_no_capacity_of_a_type_falls_over_to_the_next(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator(NoCapacity(shortage=Shortage.VCPU_LIMIT, types=("g6e.xlarge",)))
    scale(autoscaling, 1)
    clock.sleep(60)
    assert read_group(autoscaling)["Instances"][0]["InstanceType"] == "g6e.2xlarge"
    assert "current vCPU limit of 0" in read_activities(autoscaling)[-1]["StatusMessage"]


def test_no_capacity_that_ends_gives_an_instance_at_a_later_try(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator(NoCapacity(launches=2))
    scale(autoscaling, 1)
    clock.sleep(180)
    assert read_group(autoscaling)["Instances"] == []
    clock.sleep(60)
    assert read_group(autoscaling)["Instances"][0]["LifecycleState"] == "InService"


def test_launches_that_fail_for_over_a_day_are_suspended_by_aws(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator(NoCapacity())
    scale(autoscaling, 1)
    clock.sleep(86000)
    assert read_group(autoscaling)["SuspendedProcesses"] == []
    clock.sleep(3600)
    assert read_group(autoscaling)["SuspendedProcesses"] == [
        {"ProcessName": "Launch", "SuspensionReason": ADMIN_SUSPENSION}
    ]


def test_activities_come_newest_first_by_page_and_from_a_time_on(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator(NoCapacity(), world=make_world(types=("g6e.xlarge",), zones=("eu-central-1a",)))
    scale(autoscaling, 1)
    clock.sleep(200)  # tries after 5, 65 and 185 s
    first = autoscaling.describe_scaling_activities(AutoScalingGroupName=GROUP, MaxRecords=2)
    second = autoscaling.describe_scaling_activities(AutoScalingGroupName=GROUP, NextToken=first["NextToken"])
    times = [activity["StartTime"] for page in (first, second) for activity in page["Activities"]]
    assert times == sorted(times, reverse=True) and len(times) == 3 and "NextToken" not in second
    bound = (times[1] - timedelta(seconds=1)).isoformat()
    filters = [{"Name": "StartTimeLowerBound", "Values": [bound]}]
    late = autoscaling.describe_scaling_activities(AutoScalingGroupName=GROUP, Filters=filters)["Activities"]
    assert [activity["StartTime"] for activity in late] == times[:2]


# -- what dies is replaced --


def test_instance_that_dies_is_replaced_while_desired_is_1(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator(InstanceFault((), (Incident(Mishap.DIES, Phase.BOOT, 100),)))
    scale(autoscaling, 1)
    clock.sleep(130)
    (instance,) = read_group(autoscaling)["Instances"]
    assert instance["HealthStatus"] == "Healthy"  # the group has not noticed
    assert simulator.list_living() == []
    clock.sleep(120)
    (replacement,) = read_group(autoscaling)["Instances"]
    assert replacement["InstanceId"] != instance["InstanceId"]
    causes = [activity["Cause"] for activity in read_activities(autoscaling)]
    assert any("EC2 health check indicating it has been terminated or stopped" in cause for cause in causes)


def test_instance_that_dies_with_replace_unhealthy_suspended_stays_in_the_group_unhealthy(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator(
        InstanceFault((), (Incident(Mishap.DIES, Phase.BOOT, 100),)),
        world=make_world(suspended=("ReplaceUnhealthy",)),
    )
    scale(autoscaling, 1)
    clock.sleep(1000)
    (instance,) = read_group(autoscaling)["Instances"]
    assert instance["HealthStatus"] == "Unhealthy"
    assert len(simulator.ec2.list_instances()) == 1
    scale(autoscaling, 0)
    clock.sleep(10)
    assert read_group(autoscaling)["Instances"] == []


def test_instance_that_fails_to_boot_is_a_failed_activity_and_a_new_launch(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator(InstanceFault((("boot_fails", True),)))
    scale(autoscaling, 1)
    clock.sleep(200)
    assert [instance["LifecycleState"] for instance in read_group(autoscaling)["Instances"]] == ["InService"]
    first = read_activities(autoscaling)[-1]
    assert first["StatusCode"] == "Failed"
    assert "Instance became unhealthy while waiting for instance to be in InService state" in first["StatusMessage"]


# -- terminate-instance-in-auto-scaling-group --


def test_terminate_with_decrement_lowers_desired_and_nothing_replaces_it(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator()
    scale(autoscaling, 1)
    clock.sleep(60)
    instance_id = read_group(autoscaling)["Instances"][0]["InstanceId"]
    answer = autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
    )
    assert answer["Activity"]["StatusCode"] == "InProgress"
    clock.sleep(300)
    assert read_group(autoscaling)["DesiredCapacity"] == 0
    assert len(simulator.ec2.list_instances()) == 1
    assert simulator.list_leftovers() == []


def test_terminate_without_decrement_starts_another_gpu(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator()
    scale(autoscaling, 1)
    clock.sleep(60)
    instance_id = read_group(autoscaling)["Instances"][0]["InstanceId"]
    autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=instance_id, ShouldDecrementDesiredCapacity=False)
    clock.sleep(300)
    assert [instance.id == instance_id for instance in simulator.list_living()] == [False]


def test_terminate_with_decrement_at_the_minimum_is_refused(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    open_simulator()
    scale(autoscaling, 1)
    clock.sleep(60)
    instance_id = read_group(autoscaling)["Instances"][0]["InstanceId"]
    scale(autoscaling, 0)
    with pytest.raises(ClientError) as error:
        autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
        )
    assert refused(error)[0] == "ValidationError"
    assert "desiredSize equals minSize (0)" in refused(error)[1]


def test_terminate_of_an_instance_outside_of_any_group_is_refused(
    open_simulator: OpenSimulator, autoscaling: Any
) -> None:
    open_simulator()
    with pytest.raises(ClientError) as error:
        autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId="i-0123456789abcdef0", ShouldDecrementDesiredCapacity=True
        )
    assert refused(error) == (
        "ValidationError",
        "Instance Id not found - No managed instance found for instance ID: i-0123456789abcdef0",
    )


# -- what stands in the way of the end --


def test_protected_instance_survives_desired_0_but_not_a_terminate(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator(world=make_world(protected=True))
    scale(autoscaling, 1)
    clock.sleep(60)
    scale(autoscaling, 0)
    clock.sleep(600)
    group = read_group(autoscaling)
    assert (group["DesiredCapacity"], group["Instances"][0]["LifecycleState"]) == (0, "InService")
    activity = read_activities(autoscaling)[0]
    assert activity["StatusCode"] == "Cancelled"
    assert activity["Description"] == (
        "Could not scale to desired capacity because all remaining instances are protected from scale-in."
    )
    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=group["Instances"][0]["InstanceId"], ShouldDecrementDesiredCapacity=False
    )
    clock.sleep(100)
    assert simulator.list_leftovers() == []


def test_suspended_terminate_blocks_the_scale_in_until_resumed(
    open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any
) -> None:
    simulator = open_simulator(world=make_world(suspended=("Terminate",)))
    scale(autoscaling, 1)
    clock.sleep(60)
    scale(autoscaling, 0)
    clock.sleep(600)
    assert len(simulator.list_living()) == 1
    simulator.group.resume("Terminate")
    clock.sleep(100)
    assert simulator.list_leftovers() == []


def test_suspended_launch_starts_nothing(open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any) -> None:
    simulator = open_simulator(world=make_world(suspended=("Launch",)))
    scale(autoscaling, 1)
    clock.sleep(600)
    assert simulator.ec2.list_instances() == []
    assert read_activities(autoscaling) == []
