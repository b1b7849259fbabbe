"""What the deployment and its instance say to each other, as the modelled instance reads and writes it.

The words are those of `src/ghostpen/aws/handover.py` and `src/ghostpen/aws/instance/run.sh`: whoever changes them
there changes them here. Nothing else in the simulator knows them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum

EXIT_SMOKE, EXIT_PULL, EXIT_START = 22, 23, 32
SCRIPT_NAME, SETTINGS_NAME, STATUS_NAME = "run.sh", "settings.env", "status.json"
RUN_LOG = ("step 160 of 160", "done")  # the container's last lines


class OrderKind(StrEnum):
    """What a shell command asks for."""

    SMOKE = "smoke"
    START = "start"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Order:
    """A shell command, understood: what it starts, and the run's place in S3."""

    kind: OrderKind
    bucket: str = ""
    run_prefix: str = ""  # PREFIX/runs/RUN_ID/

    def locate(self, name: str) -> str:
        """Give the key of a file of the hand-over."""
        return f"{self.run_prefix}instance/{name}"


def read_order(script: str) -> Order:
    """Understand a command by the marks that it carries."""
    place = re.search(rf"s3://(?P<bucket>[a-z0-9.-]+)/(?P<prefix>\S*runs/[a-z0-9-]+/)instance/{SCRIPT_NAME}", script)
    action = re.search(rf"{SCRIPT_NAME} (smoke|start) ", script)
    if place is None or action is None:
        return Order(OrderKind.UNKNOWN)
    return Order(OrderKind(action[1]), place["bucket"], place["prefix"])


@dataclass(frozen=True)
class RunSettings:
    """The part of settings.env that the modelled run needs."""

    handover_id: str
    run_id: str
    mode: str
    control: bool
    image: str
    secrets_path: str
    secret_names: tuple[str, ...]
    max_runtime_s: float
    grace_s: float
    timer_s: float
    smoke_s: float
    smoke_timer_s: float

    @property
    def secrets(self) -> list[str]:
        """Name the parameters that hold the secrets."""
        return [f"{self.secrets_path}/{name}" for name in self.secret_names]


def read_settings(text: str) -> RunSettings:
    """Read settings.env: NAME=VALUE lines; a missing name is a mistake of the deployment."""
    values = dict(line.split("=", 1) for line in text.splitlines())
    return RunSettings(
        handover_id=values["HANDOVER_ID"],
        run_id=values["RUN_ID"],
        mode=values["MODE"],
        control=values["CONTROL"] == "yes",
        image=values["IMAGE"],
        secrets_path=values["SECRETS_PATH"],
        secret_names=tuple(values["SECRET_NAMES"].split()),
        max_runtime_s=float(values["MAX_RUNTIME_S"]),
        grace_s=float(values["GRACE_S"]),
        timer_s=float(values["TIMER_S"]),
        smoke_s=float(values["SMOKE_S"]),
        smoke_timer_s=float(values["SMOKE_TIMER_S"]),
    )


@dataclass
class Status:
    """What the script tells in status.json."""

    handover_id: str
    image: str
    instance_id: str
    type: str
    zone: str
    phase: str = ""
    reason: str = ""
    container_exit_code: int | None = None
    oom_killed: bool = False
    times: dict[str, float] = field(default_factory=dict)
    last_log_lines: tuple[str, ...] = ()

    def render(self) -> bytes:
        return (json.dumps(self.__dict__) + "\n").encode()
