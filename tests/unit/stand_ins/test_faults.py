"""All faults together: the simulated world stays one, and the scheduled action alone brings it to its end."""

import time
from contextlib import suppress

from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given, settings
from tests.stand_ins.aws.catalogue import draw_faults, list_points
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import THROTTLED, CallFault, Fault, Meddling, MeddlingFault
from tests.stand_ins.aws.in_process import MachineLost, find_door
from tests.stand_ins.aws.modelled_instance import ModelledHost
from tests.stand_ins.aws.timeline import VirtualTime
from tests.stand_ins.aws.world import GroupSpec, World
from tests.unit.stand_ins.driver import GROUP, Driver

DAY_S = 86400
# Nothing but the scheduled action ends anything here: no timers on the instance.
BARE = World(groups=(GroupSpec(age_timer_s=None, idle_timer_s=None),))


def drive(faults: list[Fault], *, world: World) -> Simulator:
    """Let a driver without any care run into the faults, then let four days pass."""
    door = find_door("job")
    simulator = Simulator(VirtualTime(), ModelledHost, world=world, faults=Faults(faults))
    door.open(simulator)
    driver = Driver(simulator, door)
    with suppress(ClientError, BotoCoreError, KeyboardInterrupt, MachineLost, AssertionError), door.job():
        driver.run()
        driver.sleep(3000)
    simulator.timeline.run_until(simulator.timeline.now() + 4 * DAY_S)
    return simulator


def is_endless(fault: Fault) -> bool:
    """Say whether a fault keeps the scheduled action from ending the instance: somebody protected it."""
    return isinstance(fault, MeddlingFault) and fault.meddling is Meddling.PROTECT


def test_every_point_is_met_alone_and_the_scheduled_action_ends_what_it_left() -> None:
    points = list(list_points())
    assert len(set(map(repr, points))) == len(points) > 300
    for point in points:
        simulator = drive([point], world=BARE)
        assert is_endless(point) or simulator.list_leftovers() == [], point


@settings(max_examples=200)
@given(draw_faults(max_size=6))
def test_any_faults_together_are_ended_by_the_scheduled_action(faults: list[Fault]) -> None:
    simulator = drive([fault for fault in faults if not is_endless(fault)], world=BARE)
    assert simulator.list_leftovers() == []
    assert all(len(group.members) == 0 for group in simulator.groups.values())


def test_same_faults_give_the_same_requests_and_history() -> None:
    fault = CallFault("autoscaling:DescribeAutoScalingGroups", THROTTLED, nth=3)
    first, second = (drive([fault], world=World()) for _ in range(2))
    assert [(request.name, request.at) for request in first.requests] == [
        (request.name, request.at) for request in second.requests
    ]
    assert first.groups[GROUP].activities == second.groups[GROUP].activities


def test_deployment_of_sixty_calls_takes_a_fraction_of_a_second() -> None:
    start = time.process_time()
    count = 0
    for _ in range(20):
        count += len(drive([], world=World()).requests)
    took_s = (time.process_time() - start) / 20
    assert count / 20 > 50
    assert took_s < 0.3  # 1,000 of them in 300 s; measured: 0.02
