"""The simulator: one account of AWS as a state machine, behind `answer`.

    doors (in_process.py, server.py)  ->  Simulator.answer(request)  ->  rights, faults, one service's handler
                                          timeline: launches, agents, schedules, expirations, programs on instances

It answers the operations that ghostpen makes, and refuses all others by name. What it takes for AWS's behaviour is
pinned by `tests/unit/stand_ins`; what it does not model stands in this folder's README.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.stand_ins.aws.account import Account
from tests.stand_ins.aws.api import Answer, ApiError, Handler, Request
from tests.stand_ins.aws.autoscaling import AutoScaling
from tests.stand_ins.aws.commands import Commands
from tests.stand_ins.aws.ec2 import Ec2
from tests.stand_ins.aws.ec2_api import Ec2Api
from tests.stand_ins.aws.fault_book import Faults
from tests.stand_ins.aws.faults import Meddling
from tests.stand_ins.aws.groups import Group
from tests.stand_ins.aws.instances import Host, Instance, State
from tests.stand_ins.aws.logs import Logs
from tests.stand_ins.aws.objects import Buckets
from tests.stand_ins.aws.parameters import ParameterStore
from tests.stand_ins.aws.rights import check_right
from tests.stand_ins.aws.timeline import Timeline
from tests.stand_ins.aws.world import World

HostMaker = Callable[["Simulator", Instance], Host]


class Simulator:
    """One account. Its parts are public: a test may look at them, and push them."""

    def __init__(
        self, timeline: Timeline, make_host: HostMaker, *, world: World | None = None, faults: Faults | None = None
    ) -> None:
        self.timeline = timeline
        self.world = world or World()
        self.faults = faults or Faults()
        self.requests: list[Request] = []
        self.url = ""  # where the HTTP door is, if there is one
        self.ec2 = Ec2(self.world, timeline, self.faults, lambda instance: make_host(self, instance))
        self.groups = {
            spec.name: Group(spec, timeline=timeline, ec2=self.ec2, faults=self.faults, delays=self.world.delays)
            for spec in self.world.groups
        }
        self.parameters = ParameterStore(self.world, timeline)
        self.buckets = Buckets(self.world.buckets, timeline)
        self.logs = Logs(self.world, timeline)
        account = Account(self.world, timeline)
        self._handlers: dict[str, dict[str, Handler]] = {
            "autoscaling": AutoScaling(self.world, self.groups).list_handlers(),
            "ec2": Ec2Api(self.world, self.ec2).list_handlers(),
            "ssm": Commands(self.world, timeline, self.ec2).list_handlers() | self.parameters.list_handlers(),
            "s3": self.buckets.list_handlers(),
            "logs": self.logs.list_handlers(),
            "sts": account.list_sts_handlers(),
            "iam": account.list_iam_handlers(),
            "ecr": account.list_ecr_handlers(),
            "service-quotas": account.list_quota_handlers(),
        }

        for fault in self.faults.list_meddling():
            timeline.call_later(fault.after_s, partial(self.meddle, fault.meddling))

    def meddle(self, meddling: Meddling) -> None:
        """Do what somebody else does to the groups."""
        for group in self.groups.values():
            for member in group.members:
                if meddling is Meddling.PROTECT:
                    member.protected = True
                elif meddling is Meddling.TERMINATE:
                    self.ec2.terminate(member.instance)
            if meddling is Meddling.SCALE_IN:
                group.set_desired(group.min_size)

    def answer(self, request: Request) -> Answer:
        """Do what a request asks for.

        Raises:
            ApiError: the service refuses, or the simulator has no such operation.
        """
        with self.timeline.lock:
            self.check_right(request)
            handler = self._handlers.get(request.service, {}).get(request.operation)
            if handler is None:
                raise ApiError("NotImplemented", f"the simulator has no {request.name}", status=501)
            return handler(request)

    def check_right(self, request: Request) -> None:
        """Refuse what the caller's role may not do.

        Raises:
            ApiError: it may not.
        """
        check_right(request, self.world)

    def record(self, request: Request) -> None:
        """Keep a request as it came in, also one that will be refused."""
        self.requests.append(request)

    # -- what tests ask --

    @property
    def group(self) -> Group:
        """Give the only group."""
        (group,) = self.groups.values()
        return group

    def list_living(self) -> list[Instance]:
        """List the instances that cost money, or will."""
        return [instance for instance in self.ec2.list_instances() if instance.alive]

    def compute_billed_s(self) -> float:
        """Add up the seconds that instances ran, as EC2 bills them."""
        now = self.timeline.now()
        return sum(
            (now if instance.stopped_at is None else instance.stopped_at) - instance.running_at
            for instance in self.ec2.list_instances()
            if instance.running_at is not None
        )

    def list_leftovers(self) -> list[str]:
        """Say what a deployment must not leave behind: capacity, instances, encrypted parameters, armed actions."""
        left = [f"desired {group.desired}" for group in self.groups.values() if group.desired]
        left += [
            f"{instance.id} is {instance.state}"
            for instance in self.ec2.list_instances()
            if instance.state is not State.TERMINATED
        ]
        left += [
            f"parameter {parameter.name}"
            for parameter in self.parameters.stored.values()
            if parameter.type == "SecureString"
        ]
        return left + [f"action {name}" for group in self.groups.values() for name in group.schedule.actions]

    def find_in_requests(self, secret: str) -> list[Request]:
        """Find the requests that a secret stands in, but for the value of a parameter that is stored encrypted."""
        return [request for request in self.requests if secret in _render_for_search(request)]


def _render_for_search(request: Request) -> str:
    params = dict(request.params)
    body = request.body
    if request.name == "ssm:PutParameter" and params.get("Type") == "SecureString":
        params.pop("Value", None)
        body = ""  # says the same
    return f"{request.name} {params!r} {dict(request.headers)!r} {body}"
