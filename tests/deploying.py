"""A deployment against the simulated account: everything that `ghostpen deploy` puts together, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.stand_ins.aws.bundles import render_bundle
from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import Fault, InstancePlan
from tests.stand_ins.aws.in_process import InProcessDoor, find_door
from tests.stand_ins.aws.modelled_instance import ModelledHost
from tests.stand_ins.aws.timeline import VirtualTime
from tests.stand_ins.aws.world import World

from ghostpen.aws.clients import Clients
from ghostpen.aws.deployment import Tools, execute_deploy, prepare_deploy
from ghostpen.aws.facts import Request
from ghostpen.aws.outcome import DeployOutcome
from ghostpen.aws.settings import DeployConfig
from ghostpen.aws.stopping import Stopping
from ghostpen.settings import apply_overrides, build_settings

BUCKET, PREFIX, SECRET = "runs-bucket", "book", "k3y-of-wandb"
SETTINGS: dict[str, Any] = {
    "aws": {"region": "eu-central-1", "account_id": "123456789012"},
    "group": {"name": "gpu-runs"},
    "image": {"repository": "ghostpen", "tag": "v1"},
    "storage": {"uri": f"s3://{BUCKET}/{PREFIX}"},
    "secrets": {"path": "/ghostpen", "names": ["WANDB_API_KEY"]},
    "logs": {"group": "/ghostpen/runs"},
    "limits": {"max_runtime_s": 7200},
}


class Account:
    """A simulated account with prepared data in it, and deployments from one machine after the other."""

    def __init__(
        self,
        *faults: Fault,
        world: World | None = None,
        plan: InstancePlan | None = None,
        contrast: bool = True,
        overrides: Sequence[str] = (),
        clock: VirtualTime | None = None,
        make_simulator: Callable[..., Simulator] = Simulator,
    ) -> None:
        self.clock = clock or VirtualTime()
        self.simulator = make_simulator(self.clock, ModelledHost, world=world, faults=Faults(faults, plan=plan))
        self.door = find_door("job")
        self.door.open(self.simulator)
        self.config = self.configure(*overrides)
        self.said: list[str] = []
        self.log: list[str] = []
        data = {"manifest.json": b"{}", "train.jsonl": b"{}\n"} | (
            {"contrast_train.jsonl": b"{}\n"} if contrast else {}
        )
        for name, content in render_bundle(data, info={}, created_at="2026-11-24").items():
            self.put(f"data/{name}", content)

    def configure(self, *overrides: str) -> DeployConfig:
        values = {section: dict(settings) for section, settings in SETTINGS.items()}
        apply_overrides(values, overrides, root=DeployConfig)
        return build_settings(DeployConfig, values)

    def put(self, name: str, content: bytes) -> None:
        """Put an object below storage.uri, past the API."""
        self.simulator.buckets.write(BUCKET, f"{PREFIX}/{name}", content)

    def read(self, name: str) -> bytes | None:
        return self.simulator.buckets.read(BUCKET, f"{PREFIX}/{name}")

    def make_tools(self, door: InProcessDoor | None = None) -> Tools:
        clients = Clients((door or self.door).client)
        return Tools(
            clients, clients, report=self.said.append, show_log=self.log.append, clock=self.clock.now_utc,
            sleep=self.clock.sleep,
        )  # fmt: skip

    def make_request(self, **changes: Any) -> Request:
        values: dict[str, Any] = {
            "mode": "train", "run_id": "emma", "run_config": b'name = "emma"\n', "follow_for_s": 9000.0,
            "secrets": {"WANDB_API_KEY": SECRET},
        } | changes  # fmt: skip
        return Request(**values)

    def deploy(self, *, stopping: Stopping | None = None, **changes: Any) -> DeployOutcome:
        """Deploy from a machine of its own, as the command does."""
        request, tools = self.make_request(**changes), self.make_tools()
        with self.door.job():
            plan = prepare_deploy(self.config, request, tools=tools)
            return execute_deploy(plan, self.config, request, tools=tools, stopping=stopping)

    def pass_time(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now() + seconds)

    def count(self, name: str, **params: Any) -> int:
        """Count the requests of an operation with these parameters."""
        return sum(
            request.name == name and params.items() <= dict(request.params).items()
            for request in self.simulator.requests
        )
