"""Ending whatever is on a group, with nothing but its name: `ghostpen down`, and the last step of a workflow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ghostpen.aws.fleet import Fleet
from ghostpen.aws.secrets import Secrets
from ghostpen.aws.settings import SecretsConfig, TimeoutsConfig
from ghostpen.aws.shutdown import shut_down
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import CloudError


@dataclass(frozen=True)
class DownOutcome:
    """What was done; `emptied_at` is None where the group was left alone."""

    emptied_at: datetime | None
    run_ids: tuple[str, ...]  # whose scheduled actions were taken off
    notes: tuple[str, ...] = ()


def take_down(
    fleet: Fleet,
    waiting: Waiting,
    *,
    waits: TimeoutsConfig,
    report: Callable[[str], None],
    run_id: str | None = None,
    ssm: object | None = None,
    secrets: SecretsConfig | None = None,
) -> DownOutcome:
    """Set the group to 0, see it there, delete the secrets that are known, take the scheduled actions off.

    Args:
        run_id: only if this run alone holds the group: a job that was refused must not end the run it was refused
            for. Where both have a scheduled action on it, only the named run's is taken off.
        ssm: boto3's client, and `secrets` the settings, if the secrets' names are known.

    Raises:
        ShutdownNotConfirmedError: the group was not seen at 0.
        CloudError: there is no such group, a refusal, or no answer.
    """
    fleet.read_group()  # a wrong name must not be waited for
    armed = fleet.read_armed()
    if run_id is not None and all(holder.run_id != run_id for holder in armed):
        holders = ", ".join(holder.run_id for holder in armed) or "no run"
        report(f"run {run_id} does not hold group {fleet.group} ({holders} does); left alone")
        return DownOutcome(None, ())
    if run_id is not None and len(armed) > 1:
        if others := _withdraw(fleet, waiting, run_id=run_id):
            report(
                f"group {fleet.group} is held by {', '.join(others)}, too, and was left alone: only the scheduled "
                f"action of run {run_id} was taken off; `ghostpen down` without --run-id ends all of it"
            )
            return DownOutcome(None, (run_id,))
        # The other one was just being refused: the group is this run's. The action guards it again until it is at 0;
        # that it can't be put back must not keep the group from going there.
        with contextlib.suppress(CloudError):
            waiting.insist(lambda: fleet.arm(run_id, next(own.at for own in armed if own.run_id == run_id)))
        armed = waiting.insist(fleet.read_armed)
    run_ids = tuple(holder.run_id for holder in armed) if run_id is None else (run_id,)
    emptied_at = shut_down(fleet, waiting, limit_s=waits.terminate_s, settle_s=waits.settle_s, report=report)
    notes = []
    # An action that is not as it was seen is a deployment's that has begun since.
    moved = {holder.run_id for holder in waiting.insist(fleet.read_armed) if holder not in armed}
    run_ids = tuple(name for name in run_ids if name not in moved)
    for name in run_ids:
        if secrets is not None:
            try:
                Secrets(ssm, secrets.path, name).delete(secrets.names)
            except CloudError as error:
                notes.append(
                    f"the secrets of run {name} could not be deleted, and end by themselves: {error.message}"
                )
        fleet.disarm(name)
    return DownOutcome(emptied_at, run_ids, tuple(notes))


def _withdraw(fleet: Fleet, waiting: Waiting, *, run_id: str) -> list[str]:
    """Take a run's scheduled action off; list the other runs, whose actions guard the group then."""
    waiting.insist(lambda: fleet.disarm(run_id))
    return [holder.run_id for holder in waiting.insist(fleet.read_armed) if holder.run_id != run_id]
