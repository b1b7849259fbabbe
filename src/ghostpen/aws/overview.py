"""What is on a group right now, for a person: the group, its instance, who holds it and how far that run is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ghostpen.aws.fleet import Activity, Armed, Fleet, GroupState, Machine, read_machine
from ghostpen.aws.handover import InstanceStatus, read_is_over, read_status
from ghostpen.aws.logs import LogReader
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import CloudError


@dataclass(frozen=True)
class RunOverview:
    """A run that holds the group."""

    armed: Armed
    status: InstanceStatus | None
    progress: dict[str, Any]  # the container's own status.json; empty where it has not written one


@dataclass(frozen=True)
class Overview:
    """All of it at one moment."""

    group: GroupState
    machines: dict[str, Machine]
    runs: tuple[RunOverview, ...]
    failure: Activity | None  # the newest launch that failed, while one is wanted


def read_overview(fleet: Fleet, ec2: Any, *, store: ObjectStore | None) -> Overview:
    """Look. Without a store, what the run says of itself is not known.

    Raises:
        CloudError: there is no such group, a refusal, or no answer.
    """
    group = fleet.read_group()
    machines = {member.instance_id: read_machine(ec2, member.instance_id) for member in group.instances}
    failures = [activity for activity in fleet.read_activities() if activity.has_failed]
    return Overview(
        group=group,
        machines={name: machine for name, machine in machines.items() if machine is not None},
        runs=tuple(_read_run(store, armed) for armed in fleet.read_armed()),
        failure=failures[0] if failures and group.desired and not group.instances else None,
    )


def _read_run(store: ObjectStore | None, armed: Armed) -> RunOverview:
    if store is None:
        return RunOverview(armed, None, {})
    content = store.read_object(f"runs/{armed.run_id}/status.json")
    try:
        progress = json.loads(content or b"{}")
    except ValueError:
        progress = {}
    return RunOverview(armed, read_status(store, armed.run_id), progress if isinstance(progress, dict) else {})


def render_overview(overview: Overview, *, now: datetime) -> list[str]:
    """Render it, a line for each thing that is there; the group is always."""
    group = overview.group
    kinds = f", {', '.join(group.types)}" if group.types else ""
    lines = [f"group {group.name}: desired {group.desired} of {group.min_size} to {group.max_size}{kinds}"]
    lines += [f"  process {name} is suspended: {reason}" for name, reason in sorted(group.suspended.items())]
    for member in group.instances:
        machine = overview.machines.get(member.instance_id)
        age = f", {_render_age(now, machine.launched_at)} old" if machine else ""
        lines.append(f"instance {member.instance_id}: {member.lifecycle}, {member.type} in {member.zone}{age}")
    if not group.instances:
        lines.append("no instance")
    if overview.failure is not None:
        lines.append(f"  the last launch failed: {overview.failure.message}")
    for run in overview.runs:
        lines.append(
            f"run {run.armed.run_id}: the group goes to 0 at {run.armed.at:%Y-%m-%d %H:%M:%S} UTC at the latest"
        )
        lines += _render_run(run, now=now)
    return lines if overview.runs else [*lines, "no run holds the group"]


def _render_run(run: RunOverview, *, now: datetime) -> list[str]:
    lines = []
    if run.status is not None:
        since = run.status.times.get(run.status.phase)
        ago = f" for {max(0.0, now.timestamp() - since):.0f} s" if since is not None else ""
        reason = f" ({run.status.reason})" if run.status.reason else ""
        lines.append(f"  {run.status.phase}{reason}{ago} on {run.status.instance_id}")
    shown = {name: run.progress.get(name) for name in ("mode", "attempt", "phase", "role", "step", "updated_at")}
    said = ", ".join(f"{name} {value}" for name, value in shown.items() if value is not None)
    return [*lines, f"  container: {said}"] if said else lines


def _render_age(now: datetime, since: datetime) -> str:
    seconds = int((now - since).total_seconds())
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def find_run(fleet: Fleet) -> str:
    """Find the one run that holds the group.

    Raises:
        CloudError: none does, or several; or a refusal, or no answer.
    """
    armed = fleet.read_armed()
    if len(armed) != 1:
        listed = ", ".join(holder.run_id for holder in armed) or "no run"
        raise CloudError(f"{listed} holds group {fleet.group}: name the run whose output is wanted")
    return armed[0].run_id


def follow_logs(
    reader: LogReader, waiting: Waiting, fleet: Fleet, store: ObjectStore, *, run_id: str, show: Callable[[str], None]
) -> None:
    """Show lines as they come, until the run is over or does not hold the group any more; its guards end both.

    Raises:
        CloudError: a refusal.
    """
    over = False
    while not over:
        # Asked first, so that the lines of the end are shown too.
        over = waiting.insist(lambda: _is_over(fleet, store, run_id))
        for line in waiting.insist(reader.read_new):
            show(line)
        if not over:
            waiting.sleep(waiting.poll_s)


def _is_over(fleet: Fleet, store: ObjectStore, run_id: str) -> bool:
    holds = any(armed.run_id == run_id for armed in fleet.read_armed())
    return not holds or read_is_over(store, run_id)
