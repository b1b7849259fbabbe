"""The door without a socket: what botocore still does, faults at calls, and the record of requests."""

import signal
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError, ReadTimeoutError
from tests.stand_ins.aws.faults import (
    THROTTLED,
    AnswerLost,
    Away,
    CallFault,
    Interrupted,
    JobLost,
    MomentFault,
    Refused,
    Signalled,
    Unreachable,
)
from tests.stand_ins.aws.in_process import InProcessDoor, MachineLost
from tests.stand_ins.aws.timeline import VIRTUAL_START, VirtualTime
from tests.stand_ins.aws.world import Image, World
from tests.unit.stand_ins.conftest import GROUP, OpenSimulator

SET = "autoscaling:SetDesiredCapacity"


def scale(autoscaling: Any, desired: int = 1) -> None:
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=desired)


def test_wrong_parameters_are_refused_by_botocore_and_reach_nobody(
    open_simulator: OpenSimulator, autoscaling: Any
) -> None:
    simulator = open_simulator()
    with pytest.raises(ParamValidationError):
        autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity="1")
    assert simulator.requests == []


def test_call_takes_time(open_simulator: OpenSimulator, clock: VirtualTime, autoscaling: Any) -> None:
    open_simulator()
    scale(autoscaling)
    assert clock.now() - VIRTUAL_START == pytest.approx(0.2)


def test_request_is_recorded_with_parameters_headers_and_body(
    open_simulator: OpenSimulator, autoscaling: Any
) -> None:
    simulator = open_simulator()
    scale(autoscaling)
    (request,) = simulator.requests
    assert (request.name, request.caller) == (SET, "job")
    assert request.params == {"AutoScalingGroupName": GROUP, "DesiredCapacity": 1}
    assert "Boto3" in request.headers["User-Agent"]
    assert GROUP in request.body


def test_secret_is_found_in_every_request_but_the_one_that_stores_it_encrypted(
    open_simulator: OpenSimulator, door: InProcessDoor, ssm: Any
) -> None:
    simulator = open_simulator()
    ssm.put_parameter(Name="/a/b", Value="geheim", Type="SecureString")
    assert simulator.find_in_requests("geheim") == []
    ssm.put_parameter(Name="/a/c", Value="geheim", Type="String")
    ssm.put_parameter(Name="/a/geheim", Value="geheim", Type="SecureString")
    with pytest.raises(ClientError):
        ssm.send_command(InstanceIds=["i-0123456789abcdef0"], DocumentName="AWS-RunShellScript",
                         Parameters={"commands": ["echo geheim"]})  # fmt: skip
    door.client("s3").put_object(Bucket="runs-bucket", Key="runs/a/instance/x", Body=b"KEY=geheim")
    names = [request.name for request in simulator.find_in_requests("geheim")]
    assert names == ["ssm:PutParameter", "ssm:PutParameter", "ssm:SendCommand", "s3:PutObject"]


# -- faults at calls --


def test_nth_call_is_refused_and_nothing_has_happened(open_simulator: OpenSimulator, autoscaling: Any) -> None:
    simulator = open_simulator(CallFault(SET, THROTTLED, nth=2, times=2))
    scale(autoscaling, 0)
    for _ in range(2):
        with pytest.raises(ClientError, match="ThrottlingException.*Rate exceeded"):
            scale(autoscaling)
    assert simulator.group.desired == 0
    scale(autoscaling)
    assert simulator.group.desired == 1


def test_refusal_is_of_the_class_that_the_service_declares(open_simulator: OpenSimulator, autoscaling: Any) -> None:
    open_simulator(CallFault(SET, Refused("ResourceContention", "busy", 500)))
    with pytest.raises(autoscaling.exceptions.ResourceContentionFault) as error:
        scale(autoscaling)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_unreachable_endpoint_has_done_nothing_and_a_lost_answer_has(
    open_simulator: OpenSimulator, autoscaling: Any
) -> None:
    simulator = open_simulator(CallFault(SET, Unreachable()), CallFault(SET, AnswerLost(), nth=2))
    with pytest.raises(EndpointConnectionError, match="autoscaling.eu-central-1.amazonaws.com"):
        scale(autoscaling)
    assert simulator.group.desired == 0
    with pytest.raises(ReadTimeoutError):
        scale(autoscaling)
    assert simulator.group.desired == 1


@pytest.mark.parametrize(("applied", "desired"), [(False, 0), (True, 1)])
def test_interrupt_strikes_before_or_after_the_effect(
    applied: bool, desired: int, open_simulator: OpenSimulator, autoscaling: Any
) -> None:
    simulator = open_simulator(CallFault("*", Interrupted(KeyboardInterrupt, applied)))
    with pytest.raises(KeyboardInterrupt):
        scale(autoscaling)
    assert simulator.group.desired == desired
    scale(autoscaling)  # the clean-up's own call arrives


def test_lost_job_reaches_nobody_until_there_is_a_new_one(
    open_simulator: OpenSimulator, door: InProcessDoor, autoscaling: Any, ssm: Any
) -> None:
    simulator = open_simulator(CallFault("*", JobLost(applied=True)))
    with pytest.raises(MachineLost):
        scale(autoscaling)
    with pytest.raises(MachineLost):
        ssm.describe_instance_information()
    assert (simulator.group.desired, len(simulator.requests)) == (1, 1)
    with door.job():
        scale(autoscaling, 0)
    assert simulator.group.desired == 0


@pytest.mark.parametrize(
    ("failure", "raised"), [(Interrupted(KeyboardInterrupt, False), KeyboardInterrupt), (JobLost(False), MachineLost)]
)
def test_moment_strikes_whoever_sleeps_in_a_job_and_nobody_outside_of_one(
    failure: Interrupted | JobLost,
    raised: type[BaseException],
    open_simulator: OpenSimulator,
    clock: VirtualTime,
    door: InProcessDoor,
) -> None:
    open_simulator(MomentFault(10, failure), MomentFault(20, failure))
    with pytest.raises(raised), door.job():
        clock.sleep(15)
    assert clock.now() - VIRTUAL_START == 10
    clock.sleep(100)


def test_signal_is_taken_by_the_handler_and_ends_a_process_without_one(
    open_simulator: OpenSimulator, door: InProcessDoor, autoscaling: Any
) -> None:
    simulator = open_simulator()
    taken: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        simulator.faults.add(CallFault(SET, Signalled(number, applied=True)))
        with door.job(), door.handler(taken.append):
            scale(autoscaling)
    assert taken == [signal.SIGINT, signal.SIGTERM]

    for number, end in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, MachineLost)):
        simulator.faults.add(CallFault(SET, Signalled(number)))
        with pytest.raises(end), door.job():
            scale(autoscaling)


def test_machine_that_sleeps_goes_on_with_its_call_later(
    open_simulator: OpenSimulator, clock: VirtualTime, door: InProcessDoor, autoscaling: Any
) -> None:
    simulator = open_simulator(CallFault(SET, Away(3600.0)))
    clock.call_later(1800, lambda: simulator.group.suspend("Launch"))
    with door.job():
        scale(autoscaling)
    assert clock.now() - VIRTUAL_START > 3600
    assert simulator.group.desired == 1
    assert simulator.group.suspended


def test_moment_of_one_job_spares_the_next_one(
    open_simulator: OpenSimulator, clock: VirtualTime, door: InProcessDoor
) -> None:
    open_simulator()
    with door.job(MomentFault(10, JobLost(applied=False))):
        clock.sleep(5)
    with door.job():
        clock.sleep(20)


def test_fault_that_is_added_later_counts_from_then(open_simulator: OpenSimulator, autoscaling: Any) -> None:
    simulator = open_simulator()
    scale(autoscaling)
    simulator.faults.add(CallFault(SET, THROTTLED, nth=2))
    kept = simulator.faults.add(CallFault(SET, THROTTLED, nth=3))
    scale(autoscaling)
    with pytest.raises(ClientError, match="ThrottlingException"):
        scale(autoscaling)
    simulator.faults.remove(kept)
    scale(autoscaling)


def test_fault_of_any_operation_counts_all_calls(open_simulator: OpenSimulator, autoscaling: Any, ssm: Any) -> None:
    open_simulator(CallFault("*", THROTTLED, nth=2))
    scale(autoscaling)
    with pytest.raises(ClientError, match="ThrottlingException"):
        ssm.describe_instance_information()
    scale(autoscaling)


# -- the answers' own check --


def test_answer_that_breaks_the_services_model_fails_the_test(
    open_simulator: OpenSimulator, door: InProcessDoor
) -> None:
    wrong: Any = "large"
    open_simulator(world=World(repositories={"ghostpen": (Image("sha256:" + "1" * 64, size_bytes=wrong),)}))
    with pytest.raises(AssertionError, match="imageSizeInBytes"):
        door.client("ecr").describe_images(repositoryName="ghostpen")


def test_thousand_calls_take_seconds_at_most(open_simulator: OpenSimulator, autoscaling: Any) -> None:
    open_simulator()
    start = time.process_time()
    for _ in range(1000):
        autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
    assert time.process_time() - start < 5  # measured: 0.3 to 0.5; 60,000 calls may take 300 s
