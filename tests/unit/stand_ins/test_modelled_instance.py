"""The twin of the instance's script: what each way to end leaves in S3 and in the group."""

from typing import Any

import pytest
from tests.stand_ins.aws.faults import (
    THROTTLED,
    CallFault,
    Fault,
    Incident,
    InstanceFault,
    Mishap,
    Phase,
    Pull,
    Results,
    Smoke,
)
from tests.stand_ins.aws.in_process import InProcessDoor
from tests.stand_ins.aws.modelled_instance import ModelledHost
from tests.stand_ins.aws.world import GroupSpec, World
from tests.unit.stand_ins.conftest import OpenSimulator
from tests.unit.stand_ins.driver import BUCKET, PREFIX, Driver

RESULTS = ["results/author", "results/control"]
TERMINATE = "autoscaling:TerminateInstanceInAutoScalingGroup"


@pytest.fixture
def make_driver(open_simulator: OpenSimulator, door: InProcessDoor) -> Any:
    def make(*faults: Fault, world: World | None = None, **settings: str) -> Driver:
        return Driver(open_simulator(*faults, world=world, host=ModelledHost), door, **settings)

    return make


def plan(**changes: Any) -> InstanceFault:
    return InstanceFault(tuple(changes.items()))


def befall(mishap: Mishap, phase: Phase, after_s: float = 0) -> InstanceFault:
    return InstanceFault((), (Incident(mishap, phase, after_s),))


def read_end(driver: Driver) -> tuple[str, int | None]:
    status = driver.read_status()
    assert status["phase"] == "ended"
    return status["reason"], status["container_exit_code"]


def test_run_that_goes_well_leaves_results_and_no_instance_and_no_secret(make_driver: Any) -> None:
    driver = make_driver()
    driver.run()
    assert driver.simulator.list_leftovers() != []
    driver.sleep(3600)
    assert read_end(driver) == ("completed", 0)
    assert driver.list_bundles() == ["attempts/1", *RESULTS]
    assert driver.simulator.list_leftovers() == ["action ghostpen-run-1"]  # the driver takes nothing off
    assert driver.simulator.find_in_requests("geheim") == []
    status = driver.read_status()
    assert list(status["times"]) == ["starting", "pulling", "running", "ended"]
    assert status["handover_id"] == "h-1"


def test_mode_test_leaves_a_numbered_report(make_driver: Any) -> None:
    driver = make_driver(MODE="test")
    driver.simulator.buckets.write(BUCKET, f"{PREFIX}tests/1/manifest.json", b"{}")
    driver.run()
    driver.sleep(3600)
    assert driver.list_bundles() == ["attempts/1", "tests/1", "tests/2"]


def test_second_start_starts_nothing(make_driver: Any) -> None:
    driver = make_driver()
    instance_id = driver.run()
    again = driver.order(instance_id, "start")
    assert (again["Status"], again["StandardOutputContent"]) == ("Success", "the run was started before\n")
    driver.sleep(3600)
    assert driver.list_bundles() == ["attempts/1", *RESULTS]


@pytest.mark.parametrize(
    ("fault", "exit_code"),
    [
        (plan(smoke=Smoke.NO_DRIVER), 22),
        (plan(smoke=Smoke.NO_CUDA), 22),
        (plan(smoke=Smoke.NO_MEMORY), 22),
        (plan(pull=Pull.FAILS), 23),
    ],
)
def test_smoke_that_fails_leaves_with_its_exit_code(make_driver: Any, fault: Fault, exit_code: int) -> None:
    driver = make_driver(fault)
    instance_id = driver.go_up()
    driver.wait_for_agent(instance_id)
    shown = driver.order(instance_id, "smoke")
    assert (shown["Status"], shown["ResponseCode"]) == ("Failed", exit_code)
    assert shown["StandardErrorContent"]


def test_smoke_that_gets_stuck_is_timed_out_and_the_idle_timer_ends_the_instance(make_driver: Any) -> None:
    driver = make_driver(plan(smoke=Smoke.STUCK))
    instance_id = driver.go_up()
    driver.wait_for_agent(instance_id)
    assert driver.order(instance_id, "smoke")["StatusDetails"] == "Execution Timed Out"
    driver.sleep(3600)
    assert driver.simulator.list_living() == []
    assert driver.simulator.group.desired == 0


@pytest.mark.parametrize(
    ("fault", "end", "bundles"),
    [
        (plan(exit_code=1), ("container-failed", 1), ["attempts/1"]),
        (plan(out_of_memory=True), ("out-of-memory", 137), ["attempts/1"]),
        (plan(run_s=1e6), ("max-runtime", 143), ["attempts/1"]),
        (plan(run_s=1e6, ignores_sigterm=True), ("max-runtime", 137), []),
        (plan(upload_s=1000.0), ("completed", 0), ["attempts/1", *RESULTS]),
        (plan(run_s=3000.0, upload_s=1000.0), ("max-runtime", 137), []),
        (plan(results=Results.MISSING), ("completed", 0), ["attempts/1"]),
        (plan(results=Results.TORN), ("completed", 0), ["attempts/1"]),
        (plan(results=Results.CORRUPT), ("completed", 0), ["attempts/1", *RESULTS]),
        (befall(Mishap.SPOT, Phase.RUN, 100), ("spot-interruption", 143), ["attempts/1"]),
        (befall(Mishap.SPOT, Phase.PULL), ("spot-interruption", 143), ["attempts/1"]),
    ],
    ids=lambda value: str(value)[:60],
)
def test_run_that_ends_badly_says_how_and_gives_the_instance_back(
    make_driver: Any, fault: Fault, end: tuple[str, int], bundles: list[str]
) -> None:
    driver = make_driver(fault)
    driver.run()
    driver.sleep(5000)
    assert read_end(driver) == end
    assert driver.list_bundles() == bundles
    assert driver.simulator.list_living() == []


def test_torn_and_corrupt_results_differ_from_complete_ones_in_what_is_there(make_driver: Any) -> None:
    def list_keys(fault: Fault) -> list[str]:
        driver = make_driver(fault)
        driver.run()
        driver.sleep(5000)
        place = f"{PREFIX}results/author/"
        keys = driver.simulator.buckets.objects[BUCKET]
        return sorted(key.rpartition("/")[2] for key in keys if key.startswith(place))

    assert list_keys(plan(results=Results.COMPLETE)) == ["manifest.json", "manifest.json", "metrics.jsonl"]
    assert list_keys(plan(results=Results.TORN)) == ["manifest.json", "metrics.jsonl"]  # the run folder's own one
    assert list_keys(plan(results=Results.CORRUPT)) == ["manifest.json"]


def test_missing_secret_is_a_start_that_failed(make_driver: Any) -> None:
    driver = make_driver(SECRET_NAMES="WANDB_API_KEY HF_TOKEN")
    driver.run()
    driver.sleep(600)
    assert read_end(driver) == ("start-failed", None)
    assert driver.simulator.list_leftovers() == ["action ghostpen-run-1"]


@pytest.mark.parametrize("mishap", [Mishap.HANGS, Mishap.DIES])
def test_instance_that_is_stopped_in_the_middle_says_nothing_and_is_ended_or_replaced(
    make_driver: Any, mishap: Mishap
) -> None:
    driver = make_driver(befall(mishap, Phase.RUN, 100))
    driver.run()
    driver.sleep(1000)
    assert driver.read_status()["phase"] == "running"
    assert len(driver.simulator.list_living()) == 1  # the same one that hangs, or its idle replacement
    driver.sleep(9000)  # the scheduled action
    assert driver.simulator.list_living() == []


def test_failed_exit_hook_leaves_the_instance_to_its_own_timer(make_driver: Any) -> None:
    driver = make_driver(plan(ends_itself=False), world=World(groups=(GroupSpec(idle_timer_s=None),)))
    driver.run()
    driver.sleep(4000)
    assert read_end(driver) == ("completed", 0)
    assert len(driver.simulator.list_living()) == 1
    driver.sleep(1000)  # TIMER_S is 4620
    assert driver.simulator.list_living() == []
    assert driver.read_status()["reason"] == "max-runtime"


def test_instance_that_the_group_does_not_end_tries_again_then_shuts_itself_down(make_driver: Any) -> None:
    passing = make_driver(CallFault(TERMINATE, THROTTLED, times=3, by_instance=True))
    passing.run()
    passing.sleep(3600)
    assert (passing.simulator.group.desired, passing.simulator.list_living()) == (0, [])
    lasting = make_driver(CallFault(TERMINATE, THROTTLED, times=1000, by_instance=True))
    first = lasting.run()
    lasting.sleep(3600)
    assert [instance.id == first for instance in lasting.simulator.list_living()] == [
        False
    ]  # the group's replacement


def test_instance_at_desired_0_is_given_back_without_lowering_it_further(make_driver: Any) -> None:
    driver = make_driver(world=World(groups=(GroupSpec(protected=True),)))
    driver.run()
    driver.simulator.group.set_desired(0)  # protected: it runs on
    driver.sleep(3600)
    assert read_end(driver) == ("completed", 0)
    assert driver.simulator.list_living() == []


def test_terminated_instance_stops_its_container_and_is_killed(make_driver: Any) -> None:
    driver = make_driver(plan(upload_s=10.0))
    driver.run()
    driver.sleep(60)
    driver.simulator.group.set_desired(0)
    driver.sleep(300)
    assert read_end(driver) == ("stopped", 143)
    slow = make_driver(plan(upload_s=60.0))
    slow.run()
    slow.sleep(60)
    slow.simulator.group.set_desired(0)
    slow.sleep(300)
    assert slow.read_status()["phase"] == "stopping"  # SIGKILL came after 30 s


def test_command_that_is_not_understood_fails_visibly(make_driver: Any) -> None:
    driver = make_driver()
    instance_id = driver.go_up()
    driver.wait_for_agent(instance_id)
    shown = driver.order(instance_id, "dance")
    assert shown["ResponseCode"] == 127
