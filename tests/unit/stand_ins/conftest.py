"""The simulator in process: a virtual clock, boto3's clients, and answers held against botocore's own models."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.stand_ins.aws.core import HostMaker, Simulator
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.in_process import SERVICES, InProcessDoor, find_door
from tests.stand_ins.aws.instances import CommandResult, Execution, Instance
from tests.stand_ins.aws.timeline import VirtualTime
from tests.stand_ins.aws.world import World

GROUP = "gpu-runs"


class QuietHost:
    """A host on which a command ends when the test says so."""

    def __init__(self, simulator: Simulator, instance: Instance) -> None:
        self.scripts: list[str] = []
        self.done: list[Callable[[CommandResult], None]] = []
        self.events: list[str] = []

    def boot(self) -> None:
        self.events.append("boot")

    def execute(self, script: str, done: Callable[[CommandResult], None]) -> Execution:
        self.scripts.append(script)
        self.done.append(done)
        return self

    def cancel(self) -> None:
        self.events.append("cancel")
        self.done[-1](CommandResult(137))

    def terminate(self) -> None:
        self.events.append("terminate")

    def kill(self) -> None:
        self.events.append("kill")

    def freeze(self) -> None:
        self.events.append("freeze")

    def start_timer(self, seconds: float, command: Sequence[str], *, log: str) -> None:
        self.events.append("timer")

    def warn_of_spot(self) -> None:
        self.events.append("spot")


@pytest.fixture(scope="module", autouse=True)
def checked_answers() -> Iterator[None]:
    """Hold every answer against the output that botocore's model of the service describes."""
    from botocore.validate import ParamValidator

    def check(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if http_response.status_code < 300 and model.output_shape is not None:
            answer = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
            problems = ParamValidator().validate(answer, model.output_shape)
            unknown = set(answer) - set(model.output_shape.members)
            assert not problems.has_errors(), f"{model.name}: {problems.generate_report()}"
            assert not unknown, f"{model.name} has no {unknown}"

    clients = [find_door(caller).client(service) for caller in ("job", "owner") for service in SERVICES]
    for client in clients:
        client.meta.events.register("after-call", check)
    yield
    for client in clients:  # other packages' tests use the same ones
        client.meta.events.unregister("after-call", check)


@pytest.fixture
def clock() -> VirtualTime:
    return VirtualTime()


OpenSimulator = Callable[..., Simulator]


@pytest.fixture
def open_simulator(clock: VirtualTime) -> OpenSimulator:
    """Give what makes a simulator of a world, and puts it behind both doors."""

    def make(*faults: Any, world: World | None = None, host: HostMaker = QuietHost, **options: Any) -> Simulator:
        simulator = Simulator(clock, host, world=world, faults=Faults(faults, **options))
        find_door("job").open(simulator)
        find_door("owner").open(simulator)
        return simulator

    return make


@pytest.fixture
def door() -> InProcessDoor:
    return find_door("job")


@pytest.fixture
def autoscaling(door: InProcessDoor) -> Any:
    return door.client("autoscaling")


@pytest.fixture
def ssm(door: InProcessDoor) -> Any:
    return door.client("ssm")
