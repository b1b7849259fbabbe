"""The shutdown guarantee layer by layer, each alone: the table of docs/deploy.md, as far as it can be tried here.

(a) the group's scheduled action, (b) timers on the instance, (c) the script's own end, (d) the command and `down`.
All but one are taken away; the one that is left must end the machine, or, where the table says no, does not.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.deploying import Account
from tests.stand_ins.aws.faults import (
    DENIED,
    AnswerLost,
    CallFault,
    Fault,
    Incident,
    InstanceFault,
    JobLost,
    Mishap,
    MomentFault,
    Phase,
)
from tests.stand_ins.aws.in_process import MachineLost
from tests.stand_ins.aws.world import GroupSpec, World

AFTER_S = 6 * 3600.0
BEGUN_S = 100.0  # after the group went up: by then the preflight is over
RUNNING_S = 600.0
JOB_LOST = MomentFault(RUNNING_S, JobLost(applied=False))
NO_HOOK = ("ends_itself", False)
NO_TIMERS = CallFault(
    "autoscaling:TerminateInstanceInAutoScalingGroup", DENIED, times=10_000, by_instance=True
)  # every call of the instance that would end it


def make(*faults: Fault, scheduled: bool, boot_timers: bool = False) -> Account:
    """Make an account whose group fires no scheduled action, and whose instances have no timers, unless wanted."""
    timers: dict[str, Any] = {} if boot_timers else {"age_timer_s": None, "idle_timer_s": None}
    account = Account(*faults, world=World(groups=(GroupSpec(**timers),)))
    if not scheduled:
        account.clock.call_later(BEGUN_S, lambda: account.simulator.group.suspend("ScheduledActions"))
    return account


def deploy(account: Account) -> str:
    try:
        return account.deploy().word
    except MachineLost:
        return "lost"


def is_up(account: Account) -> bool:
    return bool(account.simulator.list_living())


def happen(mishap: Mishap, phase: Phase = Phase.RUN) -> Incident:
    return Incident(mishap, phase)


# -- (d) the command alone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "incidents", "word"),
    [
        ((NO_HOOK,), (), "completed"),
        ((NO_HOOK, ("exit_code", 1)), (), "container-failed"),
        ((NO_HOOK, ("run_s", 86400.0)), (), "max-runtime"),
        ((NO_HOOK,), (happen(Mishap.AGENT_LOST),), "completed"),
        ((NO_HOOK,), (happen(Mishap.HANGS, Phase.SMOKE),), "instance-never-online"),
        ((NO_HOOK,), (happen(Mishap.DIES),), "instance-lost"),
    ],
    ids=["well", "fails", "too long", "agent lost", "hangs", "dies"],
)
def test_command_alone_ends_it(changes: Any, incidents: tuple[Incident, ...], word: str) -> None:
    account = make(NO_TIMERS, InstanceFault(changes, incidents), scheduled=False)

    assert deploy(account) == word
    assert not is_up(account)
    assert account.simulator.group.desired == 0


def test_command_alone_does_not_end_it_when_its_machine_is_lost() -> None:
    account = make(NO_TIMERS, InstanceFault((NO_HOOK,)), JOB_LOST, scheduled=False)

    assert deploy(account) == "lost"
    account.pass_time(AFTER_S)
    assert account.simulator.group.desired == 1


# -- (c) the script's own end alone, the command lost ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "incidents"),
    [
        ((), ()),
        ((("exit_code", 1),), ()),
        ((("run_s", 86400.0),), ()),
        ((("run_s", 86400.0), ("ignores_sigterm", True)), ()),
        ((), (happen(Mishap.AGENT_LOST),)),
    ],
    ids=["well", "fails", "too long", "ignores SIGTERM", "agent lost"],
)
def test_script_s_end_alone_ends_it(changes: Any, incidents: tuple[Incident, ...]) -> None:
    account = make(InstanceFault(changes, incidents), JOB_LOST, scheduled=False)

    assert deploy(account) == "lost"
    account.pass_time(7200 + 120 + 60)  # before any timer
    assert (is_up(account), account.simulator.group.desired) == (False, 0)


@pytest.mark.parametrize("mishap", [Mishap.HANGS])
def test_script_s_end_alone_does_not_end_a_machine_that_hangs(mishap: Mishap) -> None:
    account = make(InstanceFault((), (happen(mishap),)), JOB_LOST, scheduled=False)
    deploy(account)
    account.pass_time(AFTER_S)
    assert is_up(account)


# -- (b) timers alone, the command lost, the script's end broken -------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "incidents"),
    [
        ((NO_HOOK,), ()),
        ((NO_HOOK, ("exit_code", 1)), ()),
        ((NO_HOOK, ("run_s", 86400.0), ("ignores_sigterm", True)), ()),
        ((NO_HOOK,), (happen(Mishap.AGENT_LOST),)),
    ],
    ids=["well", "fails", "too long", "agent lost"],
)
def test_run_s_timer_alone_ends_it(changes: Any, incidents: tuple[Incident, ...]) -> None:
    account = make(InstanceFault(changes, incidents), JOB_LOST, scheduled=False)
    deploy(account)
    account.pass_time(AFTER_S)
    assert (is_up(account), account.simulator.group.desired) == (False, 0)


def test_timer_of_the_image_alone_ends_what_was_lost_before_the_first_command() -> None:
    lost = CallFault("ssm:DescribeInstanceInformation", JobLost(applied=True))
    account = make(lost, scheduled=False, boot_timers=True)

    assert deploy(account) == "lost"
    account.pass_time(AFTER_S)
    assert (is_up(account), account.simulator.group.desired) == (False, 0)


def test_timers_alone_do_not_end_a_machine_that_hangs() -> None:
    account = make(InstanceFault((NO_HOOK,), (happen(Mishap.HANGS),)), JOB_LOST, scheduled=False, boot_timers=True)
    deploy(account)
    account.pass_time(AFTER_S)
    assert is_up(account)


# -- (a) the scheduled action alone ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        (JOB_LOST, InstanceFault((NO_HOOK,))),
        (JOB_LOST, InstanceFault((NO_HOOK, ("exit_code", 1)))),
        (JOB_LOST, InstanceFault((NO_HOOK, ("run_s", 86400.0)))),
        (JOB_LOST, InstanceFault((), (happen(Mishap.HANGS),))),
        (JOB_LOST, InstanceFault((), (happen(Mishap.AGENT_LOST),))),
        (JOB_LOST, InstanceFault((), (Incident(Mishap.DIES, Phase.RUN, 1000.0),))),  # replaced by the group
        (CallFault("autoscaling:SetDesiredCapacity", JobLost(applied=True)),),
        (CallFault("ssm:SendCommand", JobLost(applied=True)),),
    ],
    ids=[
        "well",
        "fails",
        "too long",
        "hangs",
        "agent lost",
        "dies and is replaced",
        "lost at once",
        "lost in the smoke test",
    ],
)
def test_scheduled_action_alone_ends_it(faults: tuple[Fault, ...]) -> None:
    account = make(*faults, NO_TIMERS, scheduled=True)

    assert deploy(account) == "lost"
    assert account.simulator.group.desired == 1
    account.pass_time(AFTER_S)
    assert (is_up(account), account.simulator.group.desired) == (False, 0)


def test_scheduled_action_is_there_before_the_group_can_go_up() -> None:
    for applied in (False, True):
        account = Account(CallFault("autoscaling:SetDesiredCapacity", JobLost(applied)))
        deploy(account)
        assert account.simulator.group.schedule.actions.keys() == {"ghostpen-emma"}


def test_answer_that_is_lost_leaves_no_group_up() -> None:
    account = Account(CallFault("autoscaling:SetDesiredCapacity", AnswerLost(), times=5))
    deploy(account)
    assert (is_up(account), account.simulator.group.desired) == (False, 0)
