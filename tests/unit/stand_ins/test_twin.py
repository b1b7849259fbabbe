"""The modelled instance against the real script: the same orders, the same mishaps, the same end.

The script is `ghostpen.aws`'s own run.sh, in real processes; the orders are rendered by `ghostpen.aws.handover`.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.stand_ins.aws.core import HostMaker, Simulator
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import InstancePlan, Mishap, Pull, Smoke
from tests.stand_ins.aws.in_process import find_door
from tests.stand_ins.aws.instances import CommandResult, Instance
from tests.stand_ins.aws.machines import QUICK_DELAYS, QUICK_PLAN, make_machines
from tests.stand_ins.aws.modelled_instance import ModelledHost
from tests.stand_ins.aws.server import AwsServer
from tests.stand_ins.aws.timeline import VirtualTime
from tests.stand_ins.aws.world import GroupSpec, World
from tests.unit.stand_ins.driver import BUCKET, PREFIX, SECRET, SETTINGS

from ghostpen.aws import handover

STORAGE = f"s3://{BUCKET}/{PREFIX.partition('/runs/')[0]}"
LIMIT_S = 60
# In place of the image's program: quick, or at work until it is told to stop.
DONE = [sys.executable, "-c", "print('done')"]
BUSY = ["/bin/sh", "-c", "trap 'exit 143' TERM; while :; do sleep 0.1; done"]
WORLD = World(delays=replace(QUICK_DELAYS, stop_grace_s=30.0), groups=(GroupSpec(desired=1),))


@dataclass(frozen=True)
class Scene:
    """What happens, told to both: the plan, and for real processes the program that has to be so."""

    name: str
    plan: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = tuple(DONE)
    settings: dict[str, str] = field(default_factory=dict)
    in_the_middle: Callable[[Simulator, Instance], None] | None = None
    orders: tuple[str, ...] = ("smoke", "start")
    expected: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return self.name


def interrupt(simulator: Simulator, instance: Instance) -> None:
    simulator.ec2.strike(instance, Mishap.SPOT)


def scale_in(simulator: Simulator, _: Instance) -> None:
    simulator.group.set_desired(0)


ENDLESS = {"run_s": 1e6, "upload_s": 0.1}
SCENES = [
    Scene("goes well", {"run_s": 1.0, "upload_s": 0.1}, expected=([0, 0], "completed", 0, False)),
    Scene("fails", {"exit_code": 7, "run_s": 1.0}, expected=([0, 0], "container-failed", 7, False)),
    Scene(
        "is killed for memory", {"out_of_memory": True, "run_s": 1.0}, expected=([0, 0], "out-of-memory", 137, True)
    ),
    Scene(
        "takes too long", ENDLESS, tuple(BUSY), {"MAX_RUNTIME_S": "1"}, expected=([0, 0], "max-runtime", 143, False)
    ),
    Scene(
        "takes too long and is deaf",
        ENDLESS | {"ignores_sigterm": True},
        tuple(BUSY),
        {"MAX_RUNTIME_S": "1", "GRACE_S": "1"},
        expected=([0, 0], "max-runtime", 137, False),
    ),
    Scene(
        "is interrupted",
        ENDLESS,
        tuple(BUSY),
        in_the_middle=interrupt,
        expected=([0, 0], "spot-interruption", 143, False),
    ),
    Scene(
        "is shut down",
        ENDLESS | {"terminate_s": 60.0},
        tuple(BUSY),
        in_the_middle=scale_in,
        expected=([0, 0], "stopped", 143, False),
    ),
    Scene("lacks a secret", settings={"SECRET_NAMES": "NONE"}, expected=([0, 0], "start-failed", None, False)),
    Scene("has no driver", {"smoke": Smoke.NO_DRIVER}, orders=("smoke",), expected=([22],)),
    Scene("has no CUDA", {"smoke": Smoke.NO_CUDA}, orders=("smoke",), expected=([22],)),
    Scene("can not pull for the smoke test", {"pull": Pull.FAILS}, orders=("smoke",), expected=([23],)),
    Scene(
        "can not pull for the run",
        {"pull": Pull.FAILS},
        orders=("start",),
        expected=([0], "image-pull-failed", None, False),
    ),
]
REAL_ONLY = {"run_s", "upload_s"}  # a real program takes the time that it takes


class Stage:
    """One account with one instance, on which a scene is played."""

    def __init__(self, simulator: Simulator, sleep: Callable[[float], None], client: Callable[[str], Any]) -> None:
        self.simulator = simulator
        self.sleep = sleep
        self.client = client

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        end = self.simulator.timeline.now() + LIMIT_S
        while not (found := condition()) and self.simulator.timeline.now() < end:
            self.sleep(0.1)
        assert found
        return found

    def play(self, scene: Scene) -> tuple[Any, ...]:
        """Play a scene: the orders' exit codes, and how the run ended where one was started."""
        (instance,) = self.wait_for(lambda: [i for i in self.simulator.list_living() if i.agent.connected])
        script = handover.read_script()
        settings = SETTINGS | {
            "REGION": "eu-central-1", "REGISTRY": SETTINGS["IMAGE"].partition("/")[0], "STORAGE_URI": STORAGE,
            "CONFIG_URI": f"{STORAGE}/runs/run-1/instance/run.toml", "LOG_GROUP": "/ghostpen/runs", "NEED_GB": "20",
            "STATUS_URI": f"{STORAGE}/runs/run-1/instance/status.json",
        } | scene.settings  # fmt: skip
        content = "".join(f"{name}={value}\n" for name, value in settings.items()).encode()
        for name, body in {handover.SCRIPT_NAME: script, handover.SETTINGS_NAME: content}.items():
            self.client("s3").put_object(Bucket=BUCKET, Key=f"{PREFIX}instance/{name}", Body=body)
        self.client("ssm").put_parameter(Name=SECRET, Value="geheim", Type="SecureString")
        sums = handover.compute_sums({handover.SCRIPT_NAME: script, handover.SETTINGS_NAME: content})
        exit_codes = [self._order(instance, action, sums) for action in scene.orders]
        if "start" not in scene.orders:
            return (exit_codes,)
        if scene.in_the_middle is not None:
            self.wait_for(lambda: (self._read_status() or {}).get("phase") == "running")
            with self.simulator.timeline.lock:
                scene.in_the_middle(self.simulator, instance)
        status = self.wait_for(lambda: (s := self._read_status()) and s["phase"] == "ended" and s)
        self.wait_for(lambda: not self.simulator.list_living())
        assert self.simulator.group.desired == 0
        if not scene.settings.get("SECRET_NAMES"):
            assert self.simulator.parameters.stored == {}
        return exit_codes, status["reason"], status["container_exit_code"], status["oom_killed"]

    def _order(self, instance: Instance, action: str, sums: dict[str, str]) -> int:
        command = handover.render_command(
            action,
            storage_uri=STORAGE,
            region="eu-central-1",
            run_id="run-1",
            instance_id=instance.id,
            sums=sums,
        )
        results: list[CommandResult] = []
        with self.simulator.timeline.lock:
            instance.host.execute(command, results.append)
        self.wait_for(lambda: results)
        return results[0].exit_code

    def _read_status(self) -> Any:
        s3 = self.client("s3")
        try:
            answer = s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}instance/status.json")
        except s3.exceptions.NoSuchKey:
            return None
        return json.loads(answer["Body"].read())


def make_faults(scene: Scene, plan: InstancePlan) -> Faults:
    return Faults(plan=replace(plan, **scene.plan))


def play_modelled(scene: Scene, host: HostMaker) -> tuple[Any, ...]:
    clock = VirtualTime()
    simulator = Simulator(clock, host, world=WORLD, faults=make_faults(scene, QUICK_PLAN))
    find_door("job").open(simulator)
    return Stage(simulator, clock.sleep, find_door("job").client).play(scene)


def play_real(scene: Scene) -> tuple[Any, ...]:
    import boto3

    real = replace(scene, plan={name: value for name, value in scene.plan.items() if name not in REAL_ONLY})
    faults = make_faults(real, QUICK_PLAN)
    with (
        make_machines(command=scene.command) as machines,
        AwsServer(machines, world=WORLD, faults=faults).serve() as aws,
    ):
        environment = aws.make_environment("job")
        session = boto3.Session(environment["AWS_ACCESS_KEY_ID"], "secret", region_name="eu-central-1")
        clients = {service: session.client(service, endpoint_url=aws.url) for service in ("s3", "ssm")}
        return Stage(aws.simulator, time.sleep, clients.__getitem__).play(scene)


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_modelled_instance_ends_as_expected(scene: Scene) -> None:
    assert play_modelled(scene, ModelledHost) == scene.expected


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_real_script_ends_as_the_modelled_instance_does(scene: Scene) -> None:
    assert play_real(scene) == scene.expected
