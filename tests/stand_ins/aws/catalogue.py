"""Every point at which something may go wrong, for tests that draw from them.

`list_points` names one of each kind; `draw_faults` is a hypothesis strategy that also varies when they strike.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st
from tests.stand_ins.aws.faults import (
    DENIED,
    INTERNAL,
    THROTTLED,
    AnswerLost,
    CallFault,
    Failure,
    Fault,
    Incident,
    InstanceFault,
    Interrupted,
    JobLost,
    Meddling,
    MeddlingFault,
    Mishap,
    MomentFault,
    NoCapacity,
    Phase,
    Pull,
    Refused,
    Results,
    Shortage,
    Smoke,
    Unreachable,
)
from tests.stand_ins.aws.rights import DEPLOY_ACTIONS

# Of the deployment, as botocore names services and operations.
JOB_OPERATIONS = tuple(
    sorted(
        action.replace("servicequotas:", "service-quotas:").replace("s3:ListBucket", "s3:ListObjectsV2")
        for action in DEPLOY_ACTIONS
    )
)
INSTANCE_OPERATIONS = (
    "autoscaling:TerminateInstanceInAutoScalingGroup",
    "s3:GetObject",
    "s3:PutObject",
    "ssm:DeleteParameters",
    "ssm:GetParametersByPath",
)
CONTENTION = Refused("ResourceContention", "You already have a pending update to a resource.", 500)
PASSING: tuple[Failure, ...] = (THROTTLED, INTERNAL, CONTENTION, Unreachable(), AnswerLost())
ENDINGS = tuple(
    ending for applied in (False, True) for ending in (Interrupted(KeyboardInterrupt, applied), JobLost(applied))
)
PLAN_CHANGES: tuple[tuple[tuple[str, object], ...], ...] = (
    (("in_service_s", 700.0),),
    (("boot_fails", True),),
    (("agent_online_s", 500.0),),
    (("agent_online_s", None),),
    *((("smoke", smoke),) for smoke in Smoke if smoke is not Smoke.PASSES),
    *((("pull", pull),) for pull in Pull if pull is not Pull.WORKS),
    (("pull_s", 1500.0),),
    (("run_s", 10 * 86400.0),),
    (("run_s", 10 * 86400.0), ("ignores_sigterm", True)),
    *((("exit_code", code),) for code in (1, 2, 137)),
    (("out_of_memory", True),),
    (("upload_s", 1000.0),),
    *((("results", results),) for results in Results if results is not Results.COMPLETE),
    (("ends_itself", False),),
    (("ends_itself", False), ("boot_timers_work", False)),
    (("terminate_s", 900.0),),
)
CAPACITY: tuple[NoCapacity, ...] = (
    *(NoCapacity(shortage) for shortage in Shortage),
    NoCapacity(launches=1),
    NoCapacity(launches=4),
    NoCapacity(zones=("eu-central-1a",)),
    NoCapacity(types=("g6e.xlarge",)),
)


def list_points() -> Iterator[Fault]:
    """List one fault of each kind at each point."""
    for operation in JOB_OPERATIONS:
        for failure in (*PASSING, DENIED, *ENDINGS):
            yield CallFault(operation, failure)
    for operation in INSTANCE_OPERATIONS:
        for failure in (*PASSING, DENIED):
            yield CallFault(operation, failure, by_instance=True)
            yield CallFault(operation, failure, times=1000, by_instance=True)
    for ending in ENDINGS[:2]:
        yield MomentFault(600.0, ending)
    yield from CAPACITY
    for changes in PLAN_CHANGES:
        yield InstanceFault(changes)
    for mishap in Mishap:
        for phase in Phase:
            yield InstanceFault((), (Incident(mishap, phase),))
    for meddling in Meddling:
        yield MeddlingFault(meddling, 600.0)


def draw_call_faults() -> st.SearchStrategy[Fault]:
    """Draw a call of the job that fails, passing or for long."""
    return st.builds(
        CallFault,
        operation=st.sampled_from(JOB_OPERATIONS),
        failure=st.sampled_from((*PASSING, DENIED)),
        nth=st.integers(1, 12),
        times=st.sampled_from((1, 2, 10)),
    )


def draw_endings() -> st.SearchStrategy[Fault]:
    """Draw a moment or a call at which the job is interrupted or lost."""
    calls = st.builds(CallFault, operation=st.just("*"), failure=st.sampled_from(ENDINGS), nth=st.integers(1, 200))
    steps = st.builds(
        CallFault, operation=st.sampled_from(JOB_OPERATIONS), failure=st.sampled_from(ENDINGS), nth=st.integers(1, 3)
    )
    moments = st.builds(MomentFault, after_s=st.floats(0, 4000), failure=st.sampled_from(ENDINGS[:2]))
    return st.one_of(calls, steps, moments)


def draw_instance_faults() -> st.SearchStrategy[Fault]:
    """Draw what goes wrong on an instance, or with its own calls."""
    incidents = st.builds(
        Incident,
        mishap=st.sampled_from(Mishap),
        phase=st.sampled_from(Phase),
        after_s=st.sampled_from((0.0, 3.0, 30.0, 100.0, 1000.0)),
    )
    number = st.integers(1, 2)
    return st.one_of(
        st.builds(InstanceFault, changes=st.sampled_from(PLAN_CHANGES), nth=number),
        st.builds(InstanceFault, changes=st.just(()), incidents=st.tuples(incidents), nth=number),
        st.builds(
            CallFault,
            operation=st.sampled_from(INSTANCE_OPERATIONS),
            failure=st.sampled_from((*PASSING, DENIED)),
            nth=st.integers(1, 4),
            times=st.sampled_from((1, 3, 1000)),
            by_instance=st.just(True),
        ),
    )


def draw_faults(*, max_size: int = 4) -> st.SearchStrategy[list[Fault]]:
    """Draw any faults together."""
    meddling = st.builds(MeddlingFault, meddling=st.sampled_from(Meddling), after_s=st.floats(0, 4000))
    one = st.one_of(draw_call_faults(), draw_endings(), st.sampled_from(CAPACITY), draw_instance_faults(), meddling)
    return st.lists(one, max_size=max_size)
