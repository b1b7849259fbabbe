"""Following a run on its instance: what it says of itself, what it writes, and whether it is still there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn

from ghostpen.aws.fleet import Fleet, read_machine
from ghostpen.aws.handover import STATUS_NAME, Handover, InstanceStatus, locate, read_status
from ghostpen.aws.logs import LogReader
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.waiting import DeadlineError, Waiting
from ghostpen.errors import (
    CloudError,
    ContainerFailedError,
    ContainerMemoryError,
    DeployError,
    ImagePullError,
    InstanceLostError,
    MaxRuntimeError,
    SpotInterruptionError,
    StartFailedError,
)

_SPOT_REASONS = {"Server.SpotInstanceTermination", "Server.SpotInstanceShutdown"}
_GO_ON = "the same --run-id goes on from the newest checkpoint"


class Watch:
    """One instance of the group, while a deployment waits for it."""

    def __init__(self, fleet: Fleet, ec2: Any, instance_id: str) -> None:
        """Take the group, and boto3's ec2 client or what answers like it."""
        self._fleet = fleet
        self._ec2 = ec2
        self.instance_id = instance_id

    def read_lifecycle(self) -> Literal["there", "leaving", "gone"]:
        """Say whether the group still has it.

        Raises:
            CloudError: a refusal, or no answer.
        """
        for member in self._fleet.read_group().instances:
            if member.instance_id == self.instance_id:
                return "leaving" if member.is_leaving else "there"
        return "gone"

    def check(self) -> None:
        """Raise where there is nothing to wait for any more.

        Raises:
            SpotInterruptionError, InstanceLostError: it is going, or gone.
            CloudError: a refusal, or no answer.
        """
        if self.read_lifecycle() != "there":
            self.explain_loss()

    def explain_loss(self, remark: str = "") -> NoReturn:
        """Say why it is gone, as far as AWS tells, and what else is remarkable.

        Raises:
            SpotInterruptionError, InstanceLostError: always one of them.
        """
        try:
            machine = read_machine(self._ec2, self.instance_id)
            causes = [activity.cause for activity in self._fleet.read_activities()]
        except CloudError as error:
            machine, causes = None, [f"why is not known: {error.message}"]
        if machine is not None and machine.state_reason in _SPOT_REASONS:
            raise SpotInterruptionError(f"AWS took the spot instance {self.instance_id} back; {_GO_ON}")
        cause = next((cause for cause in causes if "taken out of service" in cause or "not known" in cause), "")
        because = f" ({'; '.join(part for part in (cause, remark) if part)})" if cause or remark else ""
        raise InstanceLostError(f"instance {self.instance_id} was gone before the run was over{because}; {_GO_ON}")


@dataclass(frozen=True)
class _Seen:
    status: InstanceStatus | None  # None: nothing more is waited for


class Follower:
    """Follow one attempt from its start to its end."""

    def __init__(
        self, watch: Watch, store: ObjectStore, logs: LogReader, *, run_id: str, handover: Handover,
        report: Callable[[str], None], show_log: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Take where to look; `report` is told a change, `show_log` each line of the container."""
        self._watch = watch
        self._store = store
        self._logs = logs
        self._run_id = run_id
        self._handover = handover
        self._report = report
        self._show_log = show_log
        self._phase = ""
        self._logs_trouble = ""

    def follow(self, waiting: Waiting, *, until: datetime, let_go_at: datetime | None) -> InstanceStatus | None:
        """Wait for the end; None where it is time to let the run go on by itself.

        Raises:
            SpotInterruptionError, InstanceLostError: the instance is gone without a last word.
            MaxRuntimeError: nothing has ended it until then.
            CloudError: a refusal.
        """

        def look() -> _Seen | None:
            status = self._read_status()
            self._show_new_lines()
            if status is not None and status.has_ended:
                return _Seen(status)
            # In this order: an instance writes its last word, and then goes.
            if self._watch.read_lifecycle() == "gone":
                last = self._read_status()
                if last is not None and last.has_ended:
                    return _Seen(last)
                place = f"{self._store.location}/{locate(self._run_id, STATUS_NAME)}"
                self._watch.explain_loss("" if self._phase else f"it never wrote {place}: may its role s3:PutObject?")
            return _Seen(None) if let_go_at is not None and waiting.clock() >= let_go_at else None

        try:
            return waiting.wait_for(look, limit_s=(until - waiting.clock()).total_seconds()).status
        except DeadlineError as error:
            raise MaxRuntimeError(
                f"run {self._run_id} was not over at {until:%H:%M:%S} UTC, when its scheduled action ends it{error}; "
                f"{_GO_ON}"
            ) from error

    def _read_status(self) -> InstanceStatus | None:
        status = read_status(self._store, self._run_id)
        ours = (self._handover.handover_id, self._watch.instance_id)
        if status is None or (status.handover_id, status.instance_id) != ours:
            return None
        if status.phase != self._phase:
            self._phase = status.phase
            self._report(f"{self._watch.instance_id}: {status.phase}{f' ({status.reason})' if status.reason else ''}")
        return status

    def _show_new_lines(self) -> None:
        """Show what is new; a log that can't be read is told of once, and is no reason to end a run."""
        try:
            for line in self._logs.read_new():
                self._show_log(line)
        except CloudError as error:
            if error.message != self._logs_trouble:
                self._logs_trouble = error.message
                self._report(f"the container's output can't be shown: {error.message}")


def explain_end(status: InstanceStatus) -> DeployError | None:
    """Say what the instance's last word means; None where the container has done its work."""
    code, name = status.container_exit_code, status.instance_id
    lines = f"; its last lines: {' | '.join(status.last_log_lines[-5:])}" if status.last_log_lines else ""
    match status.reason:
        case "completed":
            return None
        case "out-of-memory":
            how = "for memory" if status.oom_killed else f"with exit code {code}, as for memory"
            return ContainerMemoryError(
                f"the container was killed {how}: take an instance type with more, or smaller batches{lines}"
            )
        case "max-runtime":
            return MaxRuntimeError(f"the run took longer than it may and was stopped; {_GO_ON}{lines}")
        case "spot-interruption":
            return SpotInterruptionError(f"AWS takes the spot instance {name} back; {_GO_ON}{lines}")
        case "image-pull-failed":
            return ImagePullError(f"instance {name} could not get the image: it needs the right to pull, and room")
        case "start-failed":
            return StartFailedError(
                f"instance {name} could not start the container: its secrets, or docker run{lines}"
            )
        case "stopped":
            return InstanceLostError(f"instance {name} was shut down before the run was over; {_GO_ON}{lines}")
        case _:
            said = "docker did not answer any more" if code is None else f"the container left with exit code {code}"
            return ContainerFailedError(f"{said}{lines}")
