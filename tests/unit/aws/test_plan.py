"""Which steps are taken from where things stand; what --dry-run prints."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.stand_ins.scripted import NOON

from ghostpen.aws.facts import Facts, Holder, Request
from ghostpen.aws.fleet import GroupState, Member
from ghostpen.aws.handover import Handover, InstanceStatus
from ghostpen.aws.plan import BRING_UP, RUN, DeployPlan, Step, plan_deploy, render_plan
from ghostpen.aws.settings import DeployConfig

DIGEST = "sha256:" + "1" * 64
EARLIER = Handover("earlier", "train", "image", 600, ("1",), control=True)
TRAIN = Request("train", "emma", secrets={"WANDB_API_KEY": "k3y"})
EMPTY = GroupState("gpu", 0, 0, 1, (), {}, False, False, (), (), False)
MEMBER = Member("i-0a", "InService", "Healthy", "g6.2xlarge", "eu-central-1a", protected=False)
UP = replace(EMPTY, desired=1, instances=(MEMBER,))
COMING = replace(EMPTY, desired=1)
LEAVING = replace(EMPTY, instances=(replace(MEMBER, lifecycle="Terminating"),))
AT_ZERO = replace(EMPTY, instances=(MEMBER,))  # told to go, and not gone yet
UNSTARTED = (Step.WAIT_INSTANCE, Step.WAIT_ONLINE, Step.SMOKE, *RUN)
OWN = (Holder("emma", NOON + timedelta(hours=2), over=False),)


def make_facts(**changes: Any) -> Facts:
    facts = Facts(
        account_id="123456789012", caller="arn", max_session_s=None, digest=DIGEST, has_data=True, has_contrast=True,
        has_training=False, has_both_trainings=False, has_run_config=False, changes=(), has_begun=False, tests=(),
        group=EMPTY, holders=(), handover=None, status=None, types={},
    )  # fmt: skip
    return replace(facts, **changes)


def say(phase: str, reason: str = "", **changes: Any) -> InstanceStatus:
    values = {"handover_id": "earlier", "instance_id": "i-0a", "phase": phase, "reason": reason} | changes
    return InstanceStatus.model_validate(values)


def plan(facts: Facts, config: DeployConfig, request: Request = TRAIN) -> DeployPlan:
    return plan_deploy(facts, config, request, now=NOON)


def test_nothing_there_is_begun_from_the_start(deploy_config: DeployConfig) -> None:
    planned = plan(make_facts(), deploy_config)

    assert planned.steps == BRING_UP + RUN
    assert (planned.takes_over, planned.armed_at) == (False, None)
    assert planned.handover == Handover(
        "20261124T120000.000000Z",
        "train",
        f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/ghostpen@{DIGEST}",
        3600,
        (),
        control=True,
    )


@pytest.mark.parametrize(
    ("facts", "steps", "takes_over"),
    [
        # The same run, begun and not yet started on its instance.
        ({"group": COMING}, UNSTARTED, True),
        ({"group": UP}, UNSTARTED, True),
        ({"group": UP, "status": say("running", handover_id="older")}, UNSTARTED, True),
        # A replacement of the instance that it ran on.
        ({"group": UP, "status": say("running", instance_id="i-lost")}, UNSTARTED, True),
        # Started.
        ({"group": UP, "status": say("pulling")}, (Step.FOLLOW, Step.VERIFY), True),
        ({"group": UP, "status": say("running")}, (Step.FOLLOW, Step.VERIFY), True),
        ({"group": UP, "status": say("ended", "completed")}, (Step.FOLLOW, Step.VERIFY), True),
        ({"group": LEAVING, "status": say("ended", "container-failed")}, (Step.FOLLOW, Step.VERIFY), True),
        ({"group": COMING, "status": say("ended", "spot-interruption")}, (Step.FOLLOW, Step.VERIFY), True),
        # Over while nobody looked.
        ({"status": say("ended", "completed")}, (Step.FOLLOW, Step.VERIFY), True),
        # Ended badly while nobody looked, and gone: from the newest checkpoint.
        ({"status": say("ended", "container-failed")}, BRING_UP + RUN, False),
        ({"status": say("running")}, BRING_UP + RUN, False),
        # On its way down: waited for.
        ({"group": AT_ZERO, "status": say("running")}, (Step.SETTLE, *BRING_UP, *RUN), True),
        ({"group": LEAVING}, (Step.SETTLE, *BRING_UP, *RUN), True),
        ({"group": LEAVING, "handover": replace(EARLIER, over=True)}, (Step.SETTLE, *BRING_UP, *RUN), True),
    ],
)  # fmt: skip
def test_run_that_was_begun_is_gone_on_with(
    deploy_config: DeployConfig, facts: dict[str, Any], steps: tuple[Step, ...], takes_over: bool
) -> None:
    planned = plan(make_facts(**{"holders": OWN, "handover": EARLIER} | facts), deploy_config)

    assert (planned.steps, planned.takes_over) == (steps, takes_over)
    assert planned.armed_at == OWN[0].at
    if Step.CLAIM not in steps:
        assert (planned.handover, planned.guards.container_s) == (EARLIER, 600)
    else:
        assert planned.handover.handover_id != EARLIER.handover_id


def test_finished_training_is_only_looked_at(deploy_config: DeployConfig) -> None:
    planned = plan(make_facts(has_training=True), deploy_config)
    assert (planned.steps, planned.takes_over) == ((Step.VERIFY,), False)


def test_finished_training_does_not_keep_from_a_test(deploy_config: DeployConfig) -> None:
    facts = make_facts(has_training=True, has_both_trainings=True, tests=("1", "2"))
    planned = plan(facts, deploy_config, replace(TRAIN, mode="test"))

    assert planned.steps == BRING_UP + RUN
    assert planned.handover.tests_before == ("1", "2")


def test_smoke_ends_with_the_smoke_test(deploy_config: DeployConfig) -> None:
    smoke = replace(TRAIN, mode="smoke", run_id="smoke-1")
    assert plan(make_facts(), deploy_config, smoke).steps == BRING_UP


def test_control_needs_other_authors_texts_and_the_wish(deploy_config: DeployConfig) -> None:
    assert not plan(make_facts(has_contrast=False), deploy_config).handover.control
    assert not plan(make_facts(), deploy_config, replace(TRAIN, control=False)).handover.control


def test_longer_runtime_moves_every_guard(deploy_config: DeployConfig) -> None:
    planned = plan(make_facts(), deploy_config, replace(TRAIN, max_runtime_s=7200))
    assert (planned.guards.container_s, planned.handover.container_s) == (7200, 7200)


def test_rendered_plan_says_every_step_and_its_deadline_and_no_secret(deploy_config: DeployConfig) -> None:
    request = replace(TRAIN, need_gb=16.5, follow_for_s=600.0)
    lines = render_plan(plan(make_facts(), deploy_config, request), deploy_config, request)

    assert len(lines) == 11
    assert lines[0].startswith("1. put the scheduled action ghostpen-emma on gpu: desired 0 after 10020 s, whatever")
    assert lines[1].endswith("secrets (WANDB_API_KEY) into /ghostpen/emma")
    assert "(free memory: 16.5 GB), within 1800 s" in lines[5]
    assert lines[6].startswith("7. start the run in mode train: 3600 s at most, then 120 s to upload; the instance's")
    assert lines[7] == "8. follow it for 600 s, then let it go on by itself"
    assert lines[9].startswith("10. set the desired capacity of gpu to 0")
    assert "k3y" not in "".join(lines)


def test_rendered_plan_of_a_finished_run_touches_no_group(deploy_config: DeployConfig) -> None:
    lines = render_plan(plan(make_facts(has_training=True), deploy_config), deploy_config, TRAIN)
    assert [line.partition(" ")[2].partition(" ")[0] for line in lines] == ["hold", "delete"]
