"""Makes the hosts whose scripts really run, below one folder, and goes with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.stand_ins.aws.core import Simulator
from tests.stand_ins.aws.faults import InstancePlan
from tests.stand_ins.aws.instances import Instance
from tests.stand_ins.aws.processes import ProcessHost
from tests.stand_ins.aws.world import Delays

# For tests that wait: an instance in a second or two.
QUICK_DELAYS = Delays(
    react_s=0.1, request_s=0.1, retry_s=0.5, longest_retry_s=2.0, health_check_s=0.5, schedule_lag_s=0.1,
    command_s=0.1, invocation_visible_s=0.2, ping_lost_s=2.0, expiration_lag_s=0.5, spot_warning_s=20.0,
    stop_grace_s=1.5,
)  # fmt: skip
QUICK_PLAN = InstancePlan(in_service_s=0.4, agent_online_s=0.3, pull_s=0.2, terminate_s=2.0)


class Machines:
    """Make the host of each instance, below one folder.

    Args:
        command: what a container runs in place of the image's entrypoint, such as (python, "-m", "ghostpen").
        container_environment: what the image would set; a container gets nothing else of the tests' environment.
        engine: the client of a container engine, such as (podman, "--remote", "--url", ADDRESS), where containers are
            to be containers of the image that the registry has; it then needs no `command`.
    """

    def __init__(
        self,
        root: Path,
        *,
        command: Sequence[str] = (),
        container_environment: Mapping[str, str] | None = None,
        engine: Sequence[str] = (),
    ) -> None:
        self.root = root
        self._engine = tuple(engine)
        self._command = tuple(command)
        self._container_environment = dict(container_environment or {})

    def __call__(self, simulator: Simulator, instance: Instance) -> ProcessHost:
        settings = {
            "command": self._command,
            "container_environment": self._container_environment,
            "engine": self._engine,
        }
        return ProcessHost(simulator, instance, self.root / instance.id, settings)


@contextmanager
def make_machines(
    *,
    command: Sequence[str] = (),
    container_environment: Mapping[str, str] | None = None,
    engine: Sequence[str] = (),
) -> Iterator[Machines]:
    """Make machines in a folder that goes with them; pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="ghostpen-machines-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)
        yield Machines(Path(folder), command=command, container_environment=container_environment, engine=engine)
