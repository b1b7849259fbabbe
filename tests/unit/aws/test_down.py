"""`ghostpen down`: ends what is on a group with nothing but its name, and only what it may."""

from datetime import timedelta

import pytest
from tests.deploying import Account
from tests.stand_ins.aws.faults import CallFault, JobLost
from tests.stand_ins.aws.in_process import MachineLost

from ghostpen.aws.down import DownOutcome, take_down
from ghostpen.aws.fleet import Fleet
from ghostpen.aws.settings import TimeoutsConfig
from ghostpen.aws.waiting import Waiting
from ghostpen.errors import CloudError


def down(account: Account, *, group: str = "gpu-runs", run_id: str | None = None, knows: bool = False) -> DownOutcome:
    clients = account.make_tools().clients
    waiting = Waiting(10, account.clock.now_utc, account.clock.sleep)
    return take_down(
        Fleet(clients.autoscaling, group), waiting, waits=TimeoutsConfig(), report=account.said.append, run_id=run_id,
        ssm=clients.ssm, secrets=account.config.secrets if knows else None,
    )  # fmt: skip


def lose_job(*, at: str = "ssm:SendCommand") -> Account:
    account = Account(CallFault(at, JobLost(applied=True)))
    with pytest.raises(MachineLost):
        account.deploy()
    return account


def test_down_after_a_lost_job_leaves_nothing() -> None:
    account = lose_job()
    with account.door.job():
        outcome = down(account, knows=True)

    assert outcome.run_ids == ("emma",)
    assert outcome.emptied_at is not None
    assert account.simulator.list_leftovers() == []


def test_down_with_nothing_but_the_group_s_name_leaves_secrets_to_their_own_end() -> None:
    account = lose_job()
    with account.door.job():
        down(account)

    assert account.simulator.list_leftovers() == ["parameter /ghostpen/emma/WANDB_API_KEY"]
    account.pass_time(6 * 3600)
    assert account.simulator.list_leftovers() == []


def test_down_twice_is_down() -> None:
    account = lose_job()
    with account.door.job():
        down(account, knows=True)
        outcome = down(account, knows=True)

    assert (outcome.run_ids, account.simulator.list_leftovers()) == ((), [])


def test_down_ends_what_somebody_started_by_hand() -> None:
    account = Account()
    account.simulator.group.set_desired(1)
    account.pass_time(100)
    down(account)
    assert account.simulator.list_leftovers() == []


def test_down_for_a_run_that_was_refused_leaves_the_other_one_alone() -> None:
    account = Account()
    account.deploy(follow_for_s=60.0)
    outcome = down(account, run_id="persuasion", knows=True)

    assert (outcome.emptied_at, outcome.run_ids) == (None, ())
    assert account.said[-1] == "run persuasion does not hold group gpu-runs (emma does); left alone"
    assert account.simulator.group.desired == 1


def put_action(account: Account, run_id: str) -> None:
    """Put what a deployment leaves whose machine is lost in its claim."""
    fleet = Fleet(account.make_tools().clients.autoscaling, "gpu-runs")
    fleet.arm(run_id, account.clock.now_utc() + timedelta(seconds=9000))


def test_down_for_a_run_that_is_not_alone_on_the_group_takes_off_its_action_only() -> None:
    account = Account()
    account.deploy(follow_for_s=60.0)
    put_action(account, "persuasion")
    outcome = down(account, run_id="persuasion", knows=True)

    assert (outcome.emptied_at, outcome.run_ids) == (None, ("persuasion",))
    assert account.said[-1].startswith("group gpu-runs is held by emma, too, and was left alone: only the scheduled")
    assert account.simulator.group.desired == 1
    assert list(account.simulator.group.schedule.actions) == ["ghostpen-emma"]


def test_down_beside_a_run_that_withdraws_meanwhile_ends_the_group() -> None:
    account = Account()
    account.deploy(follow_for_s=60.0)
    put_action(account, "persuasion")

    class Withdrawing(Fleet):
        """The other run's deployment takes its action off at the same moment."""

        def disarm(self, run_id: str) -> None:
            super().disarm(run_id)
            super().disarm("persuasion")

    clients, waiting = account.make_tools().clients, Waiting(10, account.clock.now_utc, account.clock.sleep)
    fleet = Withdrawing(clients.autoscaling, "gpu-runs")
    requests = len(account.simulator.requests)
    outcome = take_down(fleet, waiting, waits=TimeoutsConfig(), report=account.said.append, run_id="emma")

    assert (outcome.emptied_at is not None, outcome.run_ids) == (True, ("emma",))
    assert account.simulator.group.desired == 0
    assert account.simulator.group.schedule.actions == {}
    # Guarded again before it went down.
    calls = [request.operation for request in account.simulator.requests[requests:]]
    assert calls.index("PutScheduledUpdateGroupAction") < calls.index("SetDesiredCapacity")


def test_down_for_the_run_that_holds_the_group_ends_it() -> None:
    account = lose_job()
    with account.door.job():
        down(account, run_id="emma", knows=True)
    assert account.simulator.list_leftovers() == []


def test_down_for_a_run_that_ended_well_leaves_the_group_alone() -> None:
    account = Account()
    account.deploy()
    assert down(account, run_id="emma").emptied_at is None


def test_group_of_a_wrong_name_is_not_waited_for() -> None:
    account = Account()
    start = account.clock.now()

    with pytest.raises(CloudError, match="there is no Auto Scaling group of this name"):
        down(account, group="gpu-run")
    assert account.clock.now() - start < 5
