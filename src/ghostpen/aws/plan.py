"""Which steps a deployment takes from where things stand. Pure: `facts` has asked AWS, `deployment` acts.

All state is in AWS, so a plan can be made anew from any machine at any moment: a run that is under way is gone on
with, one that has finished is only looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from ghostpen.aws.facts import Facts, Request
from ghostpen.aws.handover import Handover, make_handover_id
from ghostpen.aws.preflight import find_own
from ghostpen.aws.settings import DeployConfig, Guards, compute_guards


class Step(Enum):
    """What is done, in this order; a plan leaves out what is done already."""

    SETTLE = "wait for the last end"
    CLAIM = "arm the dead-man switch"
    HAND_OVER = "hand over"
    SCALE_UP = "desired capacity 1"
    WAIT_INSTANCE = "wait for capacity"
    WAIT_ONLINE = "wait for the agent"
    SMOKE = "GPU smoke test"
    START = "start the run"
    FOLLOW = "run"
    VERIFY = "verify results"


BRING_UP = (Step.CLAIM, Step.HAND_OVER, Step.SCALE_UP, Step.WAIT_INSTANCE, Step.WAIT_ONLINE, Step.SMOKE)
RUN = (Step.START, Step.FOLLOW, Step.VERIFY)


@dataclass(frozen=True)
class DeployPlan:
    """What will be done, and with what."""

    steps: tuple[Step, ...]
    handover: Handover
    guards: Guards
    armed_at: datetime | None  # the run's own scheduled action, where it is on the group already
    takes_over: bool  # the group is this run's already: whatever happens, it has to go down
    known_id: str = ""  # of what was handed over for the run last; another one by then is another deployment's

    @property
    def goes_on(self) -> bool:
        """Say whether it goes on with what an earlier deployment has handed over."""
        return Step.CLAIM not in self.steps and self.steps != (Step.VERIFY,)


def plan_deploy(facts: Facts, config: DeployConfig, request: Request, *, now: datetime) -> DeployPlan:
    """Decide the steps. Whether the deployment may begin at all is `preflight`'s matter."""
    own = find_own(facts, request)
    busy = facts.group.desired > 0 or bool(facts.group.instances)
    known = facts.handover
    known_id = known.handover_id if known else ""
    if own is not None and known is not None and known.mode == request.mode:
        steps = _plan_under_way(facts, known, busy=busy)
        if steps is not None:
            guards = compute_guards(config, max_runtime_s=known.container_s)
            return DeployPlan(steps, known, guards, own.at, takes_over=True, known_id=known_id)
    guards = compute_guards(config, max_runtime_s=request.max_runtime_s)
    handover = Handover(
        handover_id=make_handover_id(now),
        mode=request.mode,
        image=f"{config.registry}/{config.image.repository}@{facts.digest}",
        container_s=guards.container_s,
        tests_before=facts.tests,
        control=request.control and facts.has_contrast,
    )
    armed_at = own.at if own else None
    if request.mode == "train" and facts.has_training and not busy:
        return DeployPlan((Step.VERIFY,), handover, guards, armed_at, takes_over=own is not None, known_id=known_id)
    steps = BRING_UP + (() if request.mode == "smoke" else RUN)
    steps = (Step.SETTLE, *steps) if busy else steps
    return DeployPlan(steps, handover, guards, armed_at, takes_over=busy, known_id=known_id)


def _plan_under_way(facts: Facts, known: Handover, *, busy: bool) -> tuple[Step, ...] | None:
    """Plan how to go on with what an earlier deployment of the run has begun; None where nothing is left of it."""
    up = facts.group.desired > 0  # else what is listed is on its way out
    if known.over or (known.mode == "smoke" and not up):
        return None
    if known.mode == "smoke":
        return (Step.WAIT_INSTANCE, Step.WAIT_ONLINE, Step.SMOKE)
    status = facts.status if facts.status and facts.status.handover_id == known.handover_id else None
    if status is not None and status.has_ended and (busy or status.reason == "completed"):
        return (Step.FOLLOW, Step.VERIFY)  # it has come to its end while nobody looked
    if (
        status is not None
        and up
        and any(member.instance_id == status.instance_id for member in facts.group.instances)
    ):
        return (Step.FOLLOW, Step.VERIFY)
    return (Step.WAIT_INSTANCE, Step.WAIT_ONLINE, Step.SMOKE, *RUN) if up else None


def list_conflicts(plan: DeployPlan, facts: Facts, request: Request) -> list[str]:
    """List what is asked for, and what the run that stands there can't be given any more; each says what to do."""
    problems = []
    if facts.changes and (facts.has_begun or plan.goes_on):
        problems.append(
            f"run {request.run_id} has other settings ({'; '.join(facts.changes)}): take another --run-id for these, "
            "or leave --config out to go on with its own"
        )
    asked_s, known_s = request.max_runtime_s, plan.handover.container_s
    if plan.goes_on and facts.group.desired > 0 and asked_s not in (None, known_s):
        problems.append(
            f"run {request.run_id} is under way and has {known_s} s, so --max-runtime {asked_s} comes too late: "
            f"leave it out, or end the run first (ghostpen down --run-id {request.run_id})"
        )
    return problems


def render_plan(plan: DeployPlan, config: DeployConfig, request: Request) -> list[str]:
    """Say each step in a line, with its deadline: what --dry-run prints."""
    waits, group, guards = config.timeouts, config.group.name, plan.guards
    names = ", ".join(request.secrets) or "none"
    texts = {
        Step.SETTLE: f"wait until group {group} is at 0, within {waits.terminate_s} s",
        Step.CLAIM: f"put the scheduled action ghostpen-{request.run_id} on {group}: desired 0 after "
        f"{guards.first_action_s} s, whatever happens",
        Step.HAND_OVER: f"put script and settings into {config.storage.uri}, secrets ({names}) into "
        f"{config.secrets.path}/{request.run_id}",
        Step.SCALE_UP: f"set the desired capacity of {group} to 1",
        Step.WAIT_INSTANCE: f"wait for an instance, within {waits.capacity_s} s",
        Step.WAIT_ONLINE: f"wait for its SSM agent, within {waits.online_s} s",
        Step.SMOKE: f"test the GPU, from the host and inside {plan.handover.image} (free memory: "
        f"{request.need_gb:g} GB), within {waits.smoke_s} s",
        Step.START: f"start the run in mode {request.mode}: {guards.container_s} s at most, then {waits.grace_s} s "
        f"to upload; the instance's timer after {guards.timer_s} s, the scheduled action after {guards.action_s} s",
        Step.FOLLOW: "follow it to its end"
        if request.follow_for_s is None
        else f"follow it for {request.follow_for_s:g} s, then let it go on by itself",
        Step.VERIFY: f"hold its results in {config.storage.uri}/runs/{request.run_id} against their manifests",
    }
    ends = [
        f"set the desired capacity of {group} to 0, and see it there without an instance for {waits.settle_s} s, "
        f"within {waits.terminate_s} s",
        "delete the secrets, take the scheduled action off",
    ]
    touches = plan.takes_over or Step.SCALE_UP in plan.steps
    lines = [*(texts[step] for step in plan.steps), *(ends if touches else ends[1:])]
    return [f"{number}. {line}" for number, line in enumerate(lines, start=1)]
