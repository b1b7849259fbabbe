"""One EC2 instance: what it is, and what is on it. `ec2.py` moves it from one state to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tests.stand_ins.aws.agents import Agent
from tests.stand_ins.aws.faults import InstancePlan, Phase
from tests.stand_ins.aws.world import GroupSpec


class State(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


STATE_CODES = {State.PENDING: 0, State.RUNNING: 16, State.SHUTTING_DOWN: 32, State.TERMINATED: 48}


@dataclass(frozen=True)
class CommandResult:
    """What a shell command left."""

    exit_code: int
    output: str = ""
    errors: str = ""


class Execution(Protocol):
    """A shell command that is running."""

    def cancel(self) -> None:
        """Kill it; `done` is then called with the exit code of a kill."""


class Host(Protocol):
    """What runs on an instance: a model of it, or real processes."""

    def boot(self) -> None:
        """EC2 says running: run the user data."""

    def execute(self, script: str, done: Callable[[CommandResult], None]) -> Execution:
        """Run a shell script; call `done`, holding the timeline's lock, when it has ended."""

    def terminate(self) -> None:
        """Send SIGTERM to everything."""

    def kill(self) -> None:
        """Let everything be gone at once."""

    def freeze(self) -> None:
        """Let everything stand still."""

    def start_timer(self, seconds: float, command: Sequence[str], *, log: str) -> None:
        """Run a command of the machine after a time."""

    def warn_of_spot(self) -> None:
        """The metadata now show the notice of a spot interruption."""


@dataclass
class Instance:
    """One machine. `agent` and `host` are what is on it."""

    id: str
    number: int
    type: str
    zone: str
    spot: bool
    group: GroupSpec
    plan: InstancePlan
    agent: Agent
    launched_at: float
    state: State = State.PENDING
    running_at: float | None = None
    stopped_at: float | None = None  # billing ends when it shuts down
    reason: tuple[str, str] | None = None  # StateReason: code, message
    spot_taken_at: float | None = None  # there is a notice of an interruption
    forgotten: bool = False  # terminated for so long that AWS shows it no more
    host: Host = field(init=False)
    on_running: list[Callable[[], object]] = field(default_factory=list)
    on_end: list[Callable[[], object]] = field(default_factory=list)  # when it shuts down
    on_gone: list[Callable[[], object]] = field(default_factory=list)  # when it is terminated
    announce: Callable[[Phase], None] = field(init=False)  # the host says where it is; mishaps wait for that

    @property
    def alive(self) -> bool:
        return self.state in {State.PENDING, State.RUNNING}
