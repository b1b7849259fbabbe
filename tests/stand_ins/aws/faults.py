"""What may go wrong: at a call, at a launch, on an instance. Plain data; the simulator reads it.

A fault says where it strikes and what happens there. `catalogue.py` lists one of each for tests that draw them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# -- at the API's door -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refused:
    """The service answers with an error, and nothing has happened."""

    code: str
    message: str = "injected"
    status: int = 400


THROTTLED = Refused("ThrottlingException", "Rate exceeded")
DENIED = Refused("AccessDeniedException", "User is not authorized to perform this operation", 403)
INTERNAL = Refused("InternalFailure", "The request processing has failed because of an unknown error.", 500)


@dataclass(frozen=True)
class Unreachable:
    """No connection: nothing has happened."""


@dataclass(frozen=True)
class AnswerLost:
    """The service did it, and the answer never arrived."""


@dataclass(frozen=True)
class Interrupted:
    """The process that calls gets this exception: KeyboardInterrupt, or what its SIGTERM handler raises."""

    exception: type[BaseException]
    applied: bool  # whether the service has done what was asked for


@dataclass(frozen=True)
class Signalled:
    """The process that calls is sent a signal, by its number: its handler runs, and may raise."""

    number: int
    applied: bool = False


@dataclass(frozen=True)
class Away:
    """The machine that calls sleeps: a lid is closed, a runner stalls; its process goes on later."""

    seconds: float
    applied: bool = False


@dataclass(frozen=True)
class JobLost:
    """The machine that calls is gone: no later call arrives either, until there is a new one."""

    applied: bool


Ending = Interrupted | Signalled | Away | JobLost
Failure = Refused | Unreachable | AnswerLost | Ending


@dataclass(frozen=True)
class CallFault:
    """The n-th call of an operation by one kind of caller fails, and `times - 1` after it."""

    operation: str  # "autoscaling:SetDesiredCapacity"; "*" counts all calls
    failure: Failure
    nth: int = 1
    times: int = 1
    by_instance: bool = False  # calls of instances, not of the job

    def strikes(self, number: int) -> bool:
        return self.nth <= number < self.nth + self.times


@dataclass(frozen=True)
class MomentFault:
    """What strikes the calling process at a moment, whatever it does then: mostly it sleeps."""

    after_s: float  # from the simulation's start
    failure: Ending


# -- at a launch -------------------------------------------------------------------------------------------------


class Shortage(StrEnum):
    """The status messages of failed launches; {type}, {zone} and {others} are filled in. Source: AWS's own texts."""

    CAPACITY = (
        "We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}). Our "
        "system will be working on provisioning additional capacity. You can currently get {type} capacity by not "
        "specifying an Availability Zone in your request or choosing {others}. Launching EC2 instance failed."
    )
    VCPU_LIMIT = (
        "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket that "
        "the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to "
        "request an adjustment to this limit. Launching EC2 instance failed."
    )
    SPOT = "There is no Spot capacity available that matches your request. Launching EC2 instance failed."
    TEMPLATE = (
        "The image id '[ami-0123456789abcdef0]' does not exist. Launching EC2 instance failed."  # a deleted image
    )


@dataclass(frozen=True)
class NoCapacity:
    """Launches of these types in these zones are refused, the first `launches` times or always."""

    shortage: Shortage = Shortage.CAPACITY
    launches: int | None = None
    types: tuple[str, ...] | None = None
    zones: tuple[str, ...] | None = None

    def refuses(self, launch: int, type_name: str, zone: str) -> bool:
        return (
            (self.launches is None or launch <= self.launches)
            and (self.types is None or type_name in self.types)
            and (self.zones is None or zone in self.zones)
        )


# -- on an instance ----------------------------------------------------------------------------------------------


class Phase(StrEnum):
    """Where an instance is; mishaps are timed from a phase's start."""

    BOOT = "boot"  # EC2 says running
    SMOKE = "smoke"
    PULL = "pull"  # of the unit
    RUN = "run"  # the container
    UPLOAD = "upload"
    END = "end"  # before it ends itself


class Mishap(StrEnum):
    """What befalls a machine."""

    DIES = "dies"  # as of a hardware failure, or `shutdown -h` by anyone
    SPOT = "spot interruption"  # the notice; the machine is taken Delays.spot_warning_s later
    HANGS = "hangs"  # its programs stand still and its agent is silent; EC2 calls it running
    AGENT_LOST = "agent lost"  # for good
    AGENT_AWAY = "agent away"  # for AGENT_AWAY_S


AGENT_AWAY_S = 420.0


@dataclass(frozen=True)
class Incident:
    """A mishap at a moment."""

    mishap: Mishap
    phase: Phase
    after_s: float = 0.0


class Smoke(StrEnum):
    """What the GPU smoke test meets."""

    PASSES = "passes"
    NO_DRIVER = "nvidia-smi fails"
    NO_CUDA = "CUDA fails in the image"
    NO_MEMORY = "too little free GPU memory"
    STUCK = "nvidia-smi does not return"


class Pull(StrEnum):
    """What the image pull meets."""

    WORKS = "works"
    FAILS = "fails"
    STUCK = "does not return"


class Results(StrEnum):
    """What stands in S3 after a container that ended with 0."""

    COMPLETE = "complete"
    MISSING = "missing"  # no results bundle
    TORN = "torn"  # files without a manifest
    CORRUPT = "corrupt"  # a manifest that lists what is not there


@dataclass(frozen=True)
class InstancePlan:
    """How one instance behaves from its launch to its end."""

    in_service_s: float = 40.0  # after the launch
    boot_fails: bool = False
    agent_online_s: float | None = 45.0  # after EC2 says running; None: never
    incidents: tuple[Incident, ...] = ()
    smoke: Smoke = Smoke.PASSES
    pull: Pull = Pull.WORKS
    pull_s: float = 240.0
    run_s: float = 1800.0
    exit_code: int = 0
    out_of_memory: bool = False
    ignores_sigterm: bool = False
    upload_s: float = 30.0
    results: Results = Results.COMPLETE
    ends_itself: bool = True  # False: the container's exit hook does not work
    boot_timers_work: bool = True
    terminate_s: float = 45.0  # shutting-down -> terminated, and out of the group


@dataclass(frozen=True)
class InstanceFault:
    """The n-th instance to be launched behaves otherwise than planned."""

    changes: tuple[tuple[str, Any], ...]
    incidents: tuple[Incident, ...] = ()
    nth: int = 1

    def apply(self, plan: InstancePlan) -> InstancePlan:
        changed = dataclasses.replace(plan, **dict(self.changes))
        return dataclasses.replace(changed, incidents=changed.incidents + self.incidents)


# -- by other people ---------------------------------------------------------------------------------------------


class Meddling(StrEnum):
    """What somebody else may do to the group."""

    PROTECT = "protects its instances from scale-in"
    SCALE_IN = "sets desired capacity to 0"
    TERMINATE = "terminates its instances in EC2"


@dataclass(frozen=True)
class MeddlingFault:
    """Somebody else does something to the group, at a moment."""

    meddling: Meddling
    after_s: float  # from the simulation's start


Fault = CallFault | MomentFault | NoCapacity | InstanceFault | MeddlingFault
