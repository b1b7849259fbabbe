"""Taking a group for one run: the dead-man switch first, and nobody else beside it.

Two deployments that begin at the same moment may both put their action; each looks again afterwards, so at least one
sees the other and withdraws, and never do both go on.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from ghostpen.aws.ending import Marks
from ghostpen.aws.fleet import Fleet
from ghostpen.aws.handover import read_handover, read_is_over, write_handover
from ghostpen.aws.plan import DeployPlan
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import ActiveRunError


def claim_group(
    fleet: Fleet, store: ObjectStore, waiting: Waiting, *, plan: DeployPlan, run_id: str, marks: Marks
) -> datetime:
    """Put the run's scheduled action on the group, take off those of runs that are over; return its time.

    Raises:
        ActiveRunError: another deployment came first; nothing of it was touched.
        CloudError: a refusal, or no answer.
    """
    if plan.armed_at is None and any(armed.run_id == run_id for armed in waiting.insist(fleet.read_armed)):
        raise _refuse(fleet, f"another deployment of run {run_id} has just begun")
    _check_empty(fleet, waiting, run_id=run_id, marks=marks)
    # Before the action, so that whoever sees the action knows that an older status.json says nothing of it.
    waiting.insist(lambda: write_handover(store, run_id, plan.handover))
    marks.handover_id = plan.handover.handover_id
    at = plan.guards.compute_action(waiting.clock(), first=True)
    marks.claimed = True
    armed_at = waiting.insist(lambda: fleet.arm(run_id, at))
    others = [armed.run_id for armed in waiting.insist(fleet.read_armed) if armed.run_id != run_id]
    for other in others:
        if not waiting.insist(partial(read_is_over, store, other)):
            raise _refuse(fleet, f"run {other} has just taken it")
        waiting.insist(partial(fleet.disarm, other))  # it would end this run at its own time
    _check_empty(fleet, waiting, run_id=run_id, marks=marks)
    found = waiting.insist(lambda: read_handover(store, run_id))
    if found is None or found.handover_id != plan.handover.handover_id:
        marks.keeps = True
        raise _refuse(fleet, f"another deployment, of run {run_id}, is at it")
    marks.sole = True
    return armed_at


def _check_empty(fleet: Fleet, waiting: Waiting, *, run_id: str, marks: Marks) -> None:
    group = waiting.insist(fleet.read_group)
    if group.desired > 0 or group.instances:
        marks.keeps = True
        raise _refuse(fleet, f"another deployment, of run {run_id} or by hand, is at it")


def _refuse(fleet: Fleet, why: str) -> ActiveRunError:
    return ActiveRunError(f"group {fleet.group}: {why}; wait for its end (ghostpen status), then deploy again")
