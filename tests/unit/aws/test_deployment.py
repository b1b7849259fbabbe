"""The deployment against the simulated account: how it goes, every way in which it ends, and that the GPU is gone."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.deploying import SECRET, Account
from tests.stand_ins.aws.catalogue import ENDINGS, JOB_OPERATIONS
from tests.stand_ins.aws.faults import (
    DENIED,
    THROTTLED,
    AnswerLost,
    CallFault,
    Fault,
    Incident,
    InstanceFault,
    JobLost,
    Meddling,
    MeddlingFault,
    Mishap,
    MomentFault,
    NoCapacity,
    Phase,
    Pull,
    Results,
    Shortage,
    Smoke,
    Unreachable,
)
from tests.stand_ins.aws.in_process import MachineLost
from tests.stand_ins.aws.rights import DEPLOY_ACTIONS, UNCHECKED, name_action
from tests.stand_ins.aws.world import GroupSpec, World

from ghostpen.aws.deployment import execute_deploy, prepare_deploy
from ghostpen.aws.outcome import render_rows
from ghostpen.aws.stopping import Stopping
from ghostpen.errors import ActiveRunError, ConfigError

SET, ARM, DISARM = (
    "autoscaling:SetDesiredCapacity",
    "autoscaling:PutScheduledUpdateGroupAction",
    "autoscaling:DeleteScheduledAction",
)
CHANGES = {SET, ARM, DISARM, "ssm:PutParameter", "ssm:DeleteParameters", "ssm:SendCommand", "s3:PutObject"}
LATE_S = 6 * 3600.0  # all timers and scheduled actions have fired by then


def list_changes(account: Account) -> list[str]:
    """List what the deployment changed, in order, repetitions folded."""
    names = [
        f"{request.name}={request.params['DesiredCapacity']}" if request.name == SET else request.name
        for request in account.simulator.requests
        if request.name in CHANGES and request.caller == "job"
    ]
    return [name for number, name in enumerate(names) if number == 0 or name != names[number - 1]]


# -- when all goes well ------------------------------------------------------------------------------------------


def test_deployment_brings_results_home_and_leaves_nothing() -> None:
    account = Account()
    outcome = account.deploy()

    assert (outcome.word, outcome.exit_code, outcome.error) == ("completed", 0, None)
    assert account.simulator.list_leftovers() == []
    assert outcome.results is not None
    assert outcome.results.bundles == ("runs/emma/results/author", "runs/emma/results/control")
    assert (outcome.instance_type, outcome.zone, outcome.spot) == ("g6e.xlarge", "eu-central-1a", False)


def test_deployment_arms_before_it_goes_up_and_disarms_last() -> None:
    account = Account()
    account.deploy()

    assert list_changes(account) == [
        "s3:PutObject",  # handover.json
        ARM,
        "s3:PutObject",  # script and settings
        "ssm:PutParameter",
        f"{SET}=1",
        "ssm:SendCommand",  # smoke
        ARM,  # the run's own time counts from now on
        "ssm:SendCommand",  # start
        f"{SET}=0",
        "ssm:DeleteParameters",
        DISARM,
    ]


def test_deployment_tells_how_long_each_phase_took_and_what_was_billed() -> None:
    account = Account()
    outcome = account.deploy()

    phases = dict(outcome.phases)
    assert list(phases) == [
        "arm the dead-man switch", "hand over", "desired capacity 1", "wait for capacity", "wait for the agent",
        "GPU smoke test", "start the run", "run", "verify results", "let go",
    ]  # fmt: skip
    assert 1800 < phases["run"] < 1900
    assert outcome.billed_s is not None
    assert abs(outcome.billed_s - account.simulator.compute_billed_s()) < 120


def test_deployment_shows_the_phases_of_the_instance() -> None:
    account = Account()
    account.deploy()
    assert "i-00000000000000001: running" in account.said
    assert "i-00000000000000001: ended (completed)" in account.said


def test_data_without_other_authors_have_no_control() -> None:
    account = Account(contrast=False)
    outcome = account.deploy()

    assert outcome.results is not None
    assert outcome.results.bundles == ("runs/emma/results/author",)
    assert b"CONTROL=no" in (account.read("runs/emma/instance/settings.env") or b"")


def test_finished_training_is_not_trained_again_and_starts_nothing() -> None:
    account = Account()
    account.deploy()
    requests = len(account.simulator.requests)
    outcome = account.deploy()

    assert outcome.word == "completed"
    assert {request.name for request in account.simulator.requests[requests:]} & CHANGES == set()


RUN = b'name = "emma"\n[model]\nname = "embedded:tiny"\n[train]\nmax_steps = 100\n'


def make_other(old: bytes, new: bytes) -> bytes:
    assert old in RUN
    return RUN.replace(old, new)


def check_refused(account: Account, said: str, **changes: Any) -> None:
    requests, deployed = len(account.simulator.requests), account.read("runs/emma/instance/run.toml")
    with pytest.raises(ConfigError) as caught:
        account.deploy(**changes)
    assert said in caught.value.message
    assert {request.name for request in account.simulator.requests[requests:]} & CHANGES == set()
    assert account.read("runs/emma/instance/run.toml") == deployed


def test_finished_training_is_not_shown_for_one_with_other_settings() -> None:
    account = Account()
    account.deploy(run_config=RUN)

    said = "run emma has other settings (train.max_steps was 100, now 9999): take another --run-id"
    for mode in ("train", "test"):
        check_refused(account, said, mode=mode, run_config=make_other(b"100", b"9999"))
    for content in (None, RUN + b'[tracking]\ntracker = "none"\n'):  # what decides no result may change
        assert account.deploy(run_config=content).word == "completed"


def test_run_that_is_under_way_takes_neither_other_settings_nor_another_time() -> None:
    account = Account()
    account.deploy(run_config=RUN, follow_for_s=60.0)

    check_refused(account, "run emma has other settings", run_config=make_other(b"tiny", b"small"))
    said = "run emma is under way and has 7200 s, so --max-runtime 60 comes too late: leave it out"
    check_refused(account, said, run_config=RUN, max_runtime_s=60)
    assert account.deploy(run_config=RUN, max_runtime_s=7200).word == "completed"
    assert account.deploy(run_config=RUN, max_runtime_s=60).word == "completed"  # it is over, and is only looked at


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_run_that_failed_takes_other_settings_until_it_has_a_checkpoint(has_checkpoint: bool) -> None:
    account = Account(change(exit_code=2, results=Results.MISSING))
    account.deploy(run_config=RUN)
    other = make_other(b"100", b"9999")
    if has_checkpoint:
        account.put("runs/emma/author/checkpoint-10/manifest.json", b"{}")
        check_refused(account, "run emma has other settings", run_config=other)
        return
    account.deploy(run_config=other)
    assert account.read("runs/emma/instance/run.toml") == other


def test_test_needs_a_training_and_leaves_a_new_report() -> None:
    account = Account()
    with pytest.raises(ConfigError, match=r"results does not hold the author's adapter and its control"):
        account.deploy(mode="test")
    account.deploy()

    first, second = account.deploy(mode="test"), account.deploy(mode="test")
    assert (first.word, second.word) == ("completed", "completed")
    assert first.results is not None and second.results is not None
    assert first.results.bundles == ("runs/emma/tests/1",)
    assert second.results.bundles == ("runs/emma/tests/2",)
    assert account.simulator.list_leftovers() == []


def test_smoke_goes_up_tests_and_goes_down_without_data_secrets_or_run() -> None:
    account = Account()
    outcome = account.deploy(mode="smoke", run_id="smoke-1", run_config=None, secrets={})

    assert outcome.word == "completed"
    assert account.simulator.list_leftovers() == []
    assert account.count("ssm:SendCommand") == 1
    assert account.count("ssm:PutParameter") == 0


def test_secret_stands_in_no_request_but_the_encrypted_parameter() -> None:
    account = Account()
    account.deploy()

    assert account.simulator.find_in_requests(SECRET) == []
    assert account.count("ssm:PutParameter", Value=SECRET, Type="SecureString") == 1


# -- each bad end has its name -----------------------------------------------------------------------------------


def change(**changes: Any) -> Fault:
    return InstanceFault(tuple(changes.items()))


def befall(mishap: Mishap, phase: Phase) -> Fault:
    return InstanceFault((), (Incident(mishap, phase),))


@pytest.mark.parametrize(
    ("faults", "word", "code", "said"),
    [
        ([NoCapacity(Shortage.CAPACITY)], "no-capacity", 20, "do not have sufficient g6e.2xlarge capacity"),
        ([NoCapacity(Shortage.VCPU_LIMIT)], "no-capacity", 20, "more vCPU capacity than your current vCPU limit"),
        ([change(agent_online_s=None)], "instance-never-online", 21, "its SSM agent did not answer within 600 s"),
        ([befall(Mishap.AGENT_LOST, Phase.SMOKE)], "instance-never-online", 21, "fell silent during the GPU smoke"),
        ([change(smoke=Smoke.NO_DRIVER)], "gpu-smoke-failed", 22, "exit code 22: NVIDIA-SMI has failed"),
        ([change(smoke=Smoke.NO_MEMORY)], "gpu-smoke-failed", 22, "too little free GPU memory"),
        ([change(smoke=Smoke.STUCK)], "gpu-smoke-failed", 22, "did not end within 1800 s"),
        ([change(pull=Pull.FAILS)], "image-pull-failed", 23, "no space left on device"),
        ([change(exit_code=2)], "container-failed", 24, "exit code 2; its last lines: step 160 of 160 | done"),
        ([change(out_of_memory=True)], "out-of-memory", 25, "killed for memory"),
        ([change(exit_code=137)], "out-of-memory", 25, "killed with exit code 137, as for memory"),
        ([change(run_s=86400.0)], "max-runtime", 26, "took longer than it may"),
        ([change(run_s=86400.0, ignores_sigterm=True)], "max-runtime", 26, "took longer than it may"),
        ([befall(Mishap.SPOT, Phase.RUN)], "spot-interruption", 27, "takes the spot instance"),
        ([befall(Mishap.SPOT, Phase.SMOKE)], "spot-interruption", 27, "took the spot instance"),
        ([change(results=Results.MISSING)], "results-missing", 28, "results/author holds no complete bundle"),
        ([change(results=Results.TORN)], "results-missing", 28, "results/author holds no complete bundle"),
        ([change(results=Results.CORRUPT)], "results-missing", 28, "2 of 2 files are not as its manifest says"),
        ([change(terminate_s=900.0)], "shutdown-not-confirmed", 29, "A GPU MAY BE RUNNING AND COSTING MONEY"),
        ([befall(Mishap.DIES, Phase.RUN)], "instance-lost", 31, "EC2 health check"),
        ([befall(Mishap.DIES, Phase.SMOKE)], "instance-lost", 31, "EC2 health check"),
        ([MeddlingFault(Meddling.SCALE_IN, 600.0)], "instance-lost", 31, "a user request explicitly set group"),
        ([CallFault("s3:GetObject", DENIED, by_instance=True)], "start-failed", 32, "its role needs s3:GetObject"),
        (
            [CallFault("ssm:GetParametersByPath", DENIED, by_instance=True)],
            "start-failed", 32, "could not start the container",
        ),
        (
            [CallFault("s3:PutObject", DENIED, times=1000, by_instance=True)],
            "instance-lost", 31, "it never wrote s3://runs-bucket/book/runs/emma/instance/status.json",
        ),
        ([CallFault(SET, DENIED)], "refused", 2, "need autoscaling:SetDesiredCapacity"),
        ([CallFault("ssm:SendCommand", DENIED)], "refused", 2, "need ssm:SendCommand"),
    ],
)  # fmt: skip
def test_bad_end_has_its_name_and_code_and_the_group_is_at_zero(
    faults: list[Fault], word: str, code: int, said: str
) -> None:
    account = Account(*faults)
    outcome = account.deploy()

    assert (outcome.word, outcome.exit_code) == (word, code)
    assert outcome.error is not None
    assert said in outcome.error.message
    if word != "shutdown-not-confirmed":
        assert account.simulator.list_leftovers() == []


@pytest.mark.parametrize(
    "faults",
    [
        [NoCapacity(launches=2)],
        [NoCapacity(zones=("eu-central-1a",))],
        [NoCapacity(types=("g6e.xlarge",))],
        [change(agent_online_s=500.0)],
        [befall(Mishap.AGENT_AWAY, Phase.RUN)],
        [befall(Mishap.AGENT_LOST, Phase.RUN)],
        [change(ends_itself=False)],
        [change(ends_itself=False, boot_timers_work=False)],
        [MeddlingFault(Meddling.PROTECT, 600.0)],
        [CallFault("logs:FilterLogEvents", DENIED, times=1000)],
        [CallFault("iam:GetRole", DENIED)],
        [CallFault("service-quotas:GetServiceQuota", DENIED, times=10)],
        [CallFault("ec2:DescribeInstances", DENIED, times=10)],
    ],
    ids=str,
)
def test_what_can_be_borne_does_not_end_the_run(faults: list[Fault]) -> None:
    account = Account(*faults)
    outcome = account.deploy()

    assert outcome.word == "completed", outcome.error
    assert account.simulator.list_leftovers() == []


@pytest.mark.parametrize("failure", [THROTTLED, Unreachable(), AnswerLost()], ids=str)
@pytest.mark.parametrize("operation", JOB_OPERATIONS)
def test_call_that_fails_three_times_and_then_works_does_not_end_the_run(operation: str, failure: Any) -> None:
    account = Account(CallFault(operation, failure, times=3))
    outcome = account.deploy()

    assert outcome.word == "completed", outcome.error
    assert account.simulator.list_leftovers() == []


def test_secrets_that_can_not_be_deleted_are_told_of_and_end_by_themselves() -> None:
    account = Account(
        CallFault("ssm:DeleteParameters", DENIED, times=100),
        CallFault("ssm:DeleteParameters", DENIED, times=100, by_instance=True),
    )
    outcome = account.deploy()

    assert outcome.word == "completed"
    assert outcome.notes[0].startswith("secrets below /ghostpen/emma could not be deleted, and end by themselves")
    account.pass_time(LATE_S)
    assert account.simulator.list_leftovers() == []


def test_deployment_makes_every_call_that_its_role_allows_and_no_other() -> None:
    asked: set[str] = set()
    for faults in (
        [],
        [MeddlingFault(Meddling.PROTECT, 600.0), change(ends_itself=False)],  # the instance is ended by its id
        [CallFault("ssm:GetCommandInvocation", THROTTLED, times=10_000)],  # the command is cancelled
    ):
        account = Account(*faults)
        account.deploy()
        asked |= {name_action(request) for request in account.simulator.requests if request.caller == "job"}

    assert asked - UNCHECKED == DEPLOY_ACTIONS


def test_terminal_that_is_gone_neither_ends_the_run_nor_keeps_the_gpu() -> None:
    account = Account(CallFault(SET, THROTTLED, nth=2))
    request = account.make_request()

    def fail(_: str) -> None:
        raise BrokenPipeError

    plan = prepare_deploy(account.config, request, tools=account.make_tools())
    tools = replace(account.make_tools(), report=fail, show_log=fail)
    outcome = execute_deploy(plan, account.config, request, tools=tools)

    assert (outcome.word, account.simulator.list_leftovers()) == ("completed", [])


def test_bug_in_a_step_is_raised_after_the_group_is_at_zero() -> None:
    account = Account()
    request, tools = account.make_request(), account.make_tools()
    plan = prepare_deploy(account.config, request, tools=tools)
    broken = replace(plan, steps=(*plan.steps[:-1], "no step"))  # type: ignore[arg-type]

    with pytest.raises(AttributeError):
        execute_deploy(broken, account.config, request, tools=tools)
    assert account.simulator.list_leftovers() == []


# -- the way down ------------------------------------------------------------------------------------------------


def test_zero_that_is_refused_is_reached_by_ending_the_instance() -> None:
    account = Account(CallFault(SET, DENIED, nth=2, times=1000), change(smoke=Smoke.NO_CUDA))
    outcome = account.deploy()

    assert outcome.word == "gpu-smoke-failed"
    assert account.simulator.list_leftovers() == []


def test_group_that_can_not_be_told_at_all_is_shouted_with_the_first_reason_and_left_armed() -> None:
    account = Account(
        CallFault(SET, DENIED, nth=2, times=1000),
        CallFault("autoscaling:TerminateInstanceInAutoScalingGroup", DENIED, times=1000),
        change(smoke=Smoke.NO_CUDA),
    )
    outcome = account.deploy()

    assert (outcome.word, outcome.exit_code) == ("shutdown-not-confirmed", 29)
    assert outcome.error is not None
    assert "aws autoscaling set-desired-capacity --region eu-central-1 --auto-scaling-group-name gpu-runs" in (
        outcome.error.message
    )
    assert "before that: instance i-00000000000000001, exit code 22" in outcome.error.message
    assert "action ghostpen-emma" in account.simulator.list_leftovers()
    account.pass_time(LATE_S)  # the scheduled action needs nobody's rights
    assert account.simulator.list_leftovers() == []


def test_capacity_that_arrives_after_giving_up_is_let_go() -> None:
    account = Account(NoCapacity(launches=4))  # the fifth try, after 900 s, gets one
    account.config = account.configure("timeouts.capacity_s=870")
    outcome = account.deploy()

    assert outcome.word == "no-capacity"
    assert account.simulator.list_leftovers() == []
    account.pass_time(LATE_S)
    assert account.simulator.list_leftovers() == []


# -- being told to stop ------------------------------------------------------------------------------------------


def deploy_and_signal(account: Account, *moments: tuple[float, int]) -> tuple[Any, float]:
    """Deploy, with signals at moments; return the outcome and how many seconds after the first one it came."""
    stopping = Stopping()
    start = account.clock.now()
    for after_s, number in moments:
        account.clock.call_later(after_s, lambda number=number: stopping.deliver(number))
    outcome = account.deploy(stopping=stopping)
    return outcome, account.clock.now() - start - moments[0][0]


@pytest.mark.parametrize("after_s", [*range(3, 60, 2), *range(60, 2300, 97), *range(2230, 2330, 7)])
def test_signal_at_any_moment_lets_go_within_seconds(after_s: int) -> None:
    account = Account()
    outcome, took_s = deploy_and_signal(account, (after_s + 0.05, signal.SIGTERM))

    if outcome.word == "completed":  # it came when all was done
        assert account.simulator.list_leftovers() == []
        return
    assert (outcome.word, outcome.exit_code) == ("cancelled", 143)
    assert took_s < 7.5
    assert account.simulator.group.desired == 0
    assert not [left for left in account.simulator.list_leftovers() if left.startswith("parameter")]
    account.pass_time(180)
    assert [left for left in account.simulator.list_leftovers() if left != "action ghostpen-emma"] == []


def test_ctrl_c_while_waiting_for_capacity_does_not_say_that_nothing_was_started() -> None:
    account = Account()
    outcome, _ = deploy_and_signal(account, (20, signal.SIGINT))

    assert (outcome.word, outcome.instance_id, account.count(SET, DesiredCapacity=1)) == ("cancelled", "", 1)
    assert dict(render_rows(outcome))["group"].startswith(
        "gpu-runs: desired capacity was set to 0; NOT WAITED FOR: `ghostpen down --group gpu-runs"
    )


def test_ctrl_c_has_its_own_code_and_says_how_to_see_the_instance_out() -> None:
    outcome, _ = deploy_and_signal(Account(), (700, signal.SIGINT))

    assert outcome.exit_code == 130
    assert outcome.error is not None
    assert outcome.error.message == (
        "cancelled: group gpu-runs is set to 0, and its instance goes; `ghostpen down --group gpu-runs --region "
        "eu-central-1` sees it out and frees the group"
    )


def test_signal_before_anything_was_sent_says_that_nothing_was_started() -> None:
    account = Account()
    stopping = Stopping()
    request, tools = account.make_request(), account.make_tools()
    plan = prepare_deploy(account.config, request, tools=tools)
    account.clock.call_later(0.01, lambda: stopping.deliver(signal.SIGINT))
    outcome = execute_deploy(plan, account.config, request, tools=tools, stopping=stopping)

    assert outcome.error is not None
    assert outcome.error.message in ("cancelled: nothing was started", "cancelled: no instance was started")
    assert account.count(SET) == 0
    assert account.simulator.list_leftovers() == []


def test_second_signal_does_not_disturb_the_way_down() -> None:
    for between_s in (0.1, 0.3, 0.5, 1.0, 2.0):
        account = Account()
        outcome, _ = deploy_and_signal(account, (700, signal.SIGINT), (700 + between_s, signal.SIGTERM))

        assert outcome.exit_code == 130
        assert account.simulator.group.desired == 0


def test_signal_while_the_instance_goes_does_not_wait_for_it() -> None:
    account = Account(change(smoke=Smoke.NO_CUDA))
    outcome, took_s = deploy_and_signal(account, (410, signal.SIGTERM))

    assert outcome.word == "cancelled"
    assert took_s < 7.5
    assert account.simulator.group.desired == 0


def test_signal_with_aws_out_of_reach_shouts_within_seconds() -> None:
    account = Account(CallFault(SET, Unreachable(), nth=2, times=1000))
    outcome, took_s = deploy_and_signal(account, (700, signal.SIGTERM))

    assert outcome.word == "shutdown-not-confirmed"
    assert took_s < 10
    assert outcome.error is not None
    assert outcome.error.message.startswith("cancelled, and group gpu-runs could not be set to 0")
    account.pass_time(LATE_S)
    assert account.simulator.list_leftovers() == []


def test_keyboard_interrupt_that_no_handler_caught_is_taken_like_a_signal() -> None:
    for operation in ("ssm:SendCommand", SET, ARM, "autoscaling:DescribeAutoScalingGroups"):
        nth = 2 if operation.endswith("Groups") else 1
        for ending in ENDINGS[::2]:
            account = Account(CallFault(operation, ending, nth=nth))
            outcome = account.deploy()
            assert (outcome.word, account.simulator.group.desired) == ("cancelled", 0)


# -- a lost job, and going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted(CHANGES))
@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("nth", [1, 2])
def test_job_that_is_lost_at_a_change_is_gone_on_with_from_another_machine(
    operation: str, applied: bool, nth: int
) -> None:
    account = Account(CallFault(operation, JobLost(applied), nth=nth))
    try:
        outcome = account.deploy()
    except MachineLost:
        account.pass_time(30)
        outcome = account.deploy()

    assert outcome.word == "completed", outcome.error
    assert account.simulator.list_leftovers() == []
    assert account.simulator.find_in_requests(SECRET) == []


@pytest.mark.parametrize("after_s", range(20, 2300, 160))
@pytest.mark.parametrize("away_s", [5, 400, 3000])
def test_job_that_is_lost_at_any_moment_is_gone_on_with(after_s: int, away_s: int) -> None:
    account = Account(MomentFault(float(after_s), JobLost(applied=False)))
    try:
        outcome = account.deploy()
    except MachineLost:
        account.pass_time(away_s)
        outcome = account.deploy()

    assert outcome.word == "completed", outcome.error
    assert account.simulator.list_leftovers() == []


@pytest.mark.parametrize("after_s", range(1, 2300, 97))
def test_job_that_is_lost_for_good_leaves_nothing_after_its_guards(after_s: int) -> None:
    account = Account(MomentFault(float(after_s), JobLost(applied=False)))
    with pytest.raises(MachineLost):
        account.deploy()
    account.pass_time(LATE_S)

    assert account.simulator.list_leftovers() == []


def test_deployment_that_takes_over_tells_of_failed_launches_since_the_handover_only() -> None:
    account = Account(NoCapacity(Shortage.VCPU_LIMIT))
    assert account.deploy().word == "no-capacity"
    account.simulator.faults.clear()
    account.simulator.faults.add(NoCapacity(Shortage.CAPACITY))
    account.simulator.faults.add(CallFault("autoscaling:DescribeScalingActivities", JobLost(applied=True), nth=5))
    account.pass_time(300)
    with pytest.raises(MachineLost):
        account.deploy()
    account.said.clear()
    outcome = account.deploy()

    assert outcome.error is not None
    told = [line for line in account.said if "could not launch" in line]
    assert told
    for text in (outcome.error.message, *told):
        assert ("sufficient" in text, "vCPU limit" in text) == (True, False)


def test_run_that_goes_on_by_itself_is_told_so_and_found_finished_later() -> None:
    account = Account()
    outcome = account.deploy(follow_for_s=300.0)

    assert (outcome.word, outcome.exit_code, outcome.emptied_at) == ("detached", 0, None)
    assert account.simulator.group.desired == 1
    account.pass_time(3000)
    later = account.deploy()
    assert (later.word, account.simulator.list_leftovers()) == ("completed", [])
    assert account.count("ssm:SendCommand") == 2  # nothing was started a second time


def test_test_that_finished_while_nobody_looked_is_not_done_again() -> None:
    account = Account()
    account.deploy()
    account.deploy(mode="test", follow_for_s=60.0)
    account.pass_time(3000)
    later = account.deploy(mode="test")

    assert later.results is not None
    assert later.results.bundles == ("runs/emma/tests/1",)
    assert account.simulator.list_leftovers() == []


def test_cancelled_run_is_deployed_again_at_once() -> None:
    account = Account()
    deploy_and_signal(account, (700, signal.SIGINT))
    outcome = account.deploy()

    assert outcome.word == "completed", outcome.error
    assert account.simulator.list_leftovers() == []


# -- somebody else -----------------------------------------------------------------------------------------------


def test_group_that_another_run_holds_is_left_alone() -> None:
    account = Account()
    account.deploy(follow_for_s=60.0)
    requests = len(account.simulator.requests)

    with pytest.raises(ActiveRunError, match=r"group gpu-runs is held by run emma until .* \(desired 1, i-0+1"):
        account.deploy(run_id="persuasion")
    assert {request.name for request in account.simulator.requests[requests:]} & CHANGES == set()
    account.pass_time(3000)
    assert account.read("runs/emma/results/author/manifest.json")


def test_same_run_in_another_mode_is_refused() -> None:
    account = Account()
    account.deploy()
    account.deploy(mode="test", follow_for_s=60.0)

    with pytest.raises(ActiveRunError, match="run emma is active on group gpu-runs in mode test, not train"):
        account.deploy()


def test_group_that_somebody_started_by_hand_is_left_alone() -> None:
    account = Account()
    account.simulator.group.set_desired(1)
    account.pass_time(100)

    with pytest.raises(ActiveRunError, match="and no run's scheduled action is on it"):
        account.deploy()
    assert account.simulator.group.desired == 1


@pytest.mark.parametrize("how", ["finished by itself", "cancelled"])
def test_run_that_is_over_does_not_hold_the_group(how: str) -> None:
    account = Account()
    if how == "cancelled":
        deploy_and_signal(account, (700, signal.SIGINT))
    else:
        account.deploy(follow_for_s=60.0)
    account.pass_time(3000)
    assert account.simulator.list_leftovers() == ["action ghostpen-emma"]

    outcome = account.deploy(run_id="persuasion")
    assert outcome.word == "completed", outcome.error
    assert account.simulator.list_leftovers() == []  # the old action would have ended the new run


def test_lost_job_holds_the_group_until_its_guards_have_fired() -> None:
    account = Account(CallFault(SET, JobLost(applied=False)))
    with pytest.raises(MachineLost):
        account.deploy()
    with pytest.raises(ActiveRunError, match=r"held by run emma until .* \(desired 0, no instance yet\)"):
        account.deploy(run_id="persuasion")

    account.pass_time(LATE_S)
    assert account.deploy(run_id="persuasion").word == "completed"


def test_two_runs_that_begin_at_the_same_moment_do_not_both_go_on() -> None:
    account = Account()
    first, second = account.make_request(), account.make_request(run_id="persuasion")
    tools = account.make_tools()
    plans = [prepare_deploy(account.config, request, tools=tools) for request in (first, second)]
    # The first one gets as far as its claim, and waits there.
    account.simulator.faults.add(CallFault("ssm:PutParameter", JobLost(applied=False)))
    with pytest.raises(MachineLost), account.door.job():
        execute_deploy(plans[0], account.config, first, tools=tools)
    with account.door.job():
        outcome = execute_deploy(plans[1], account.config, second, tools=tools)

    assert (outcome.word, outcome.exit_code) == ("active-run", 30)
    assert account.count(SET) == 0
    assert account.simulator.list_leftovers() == ["action ghostpen-emma"]  # the other one's


def test_two_deployments_of_one_run_at_the_same_moment_do_not_end_each_other() -> None:
    account = Account()
    request, tools = account.make_request(), account.make_tools()
    late = prepare_deploy(account.config, request, tools=tools)
    account.deploy(follow_for_s=60.0)
    outcome = execute_deploy(late, account.config, request, tools=tools)

    assert (outcome.word, outcome.exit_code) == ("active-run", 30)
    assert account.simulator.group.desired == 1
    assert "action ghostpen-emma" in account.simulator.list_leftovers()


# -- preflight refuses before anything is changed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (GroupSpec(max_size=0), "has MaxSize 0: set it to 1"),
        (GroupSpec(protected=True), "protects new instances from scale-in"),
        (
            GroupSpec(suspended=("Launch",)),
            "has its process Launch suspended (User suspended): `aws autoscaling resume",
        ),
        (GroupSpec(suspended=("Terminate", "ScheduledActions")), "has its process ScheduledActions suspended"),
    ],
)
def test_group_that_would_not_end_is_refused_before_anything_is_changed(group: GroupSpec, said: str) -> None:
    account = Account(world=World(groups=(group,)))

    with pytest.raises(ConfigError) as caught:
        account.deploy()
    assert said in caught.value.message
    assert {request.name for request in account.simulator.requests} & CHANGES == set()


@pytest.mark.parametrize(
    ("group", "said"),
    [
        # From boot: 600 s until the agent answers, 1800 s smoke test, 300 s start, 7200 s run, 120 s upload.
        (GroupSpec(age_timer_s=10019), "may take 10020 s to start, run and upload"),
        (GroupSpec(age_timer_s=10019), "a shorter limits.max_runtime_s (--max-runtime), of 7199 s at most"),
        (GroupSpec(idle_timer_s=2700), "let 2700 s pass before that: give the stack a larger IdleSeconds"),
    ],
)
def test_run_that_the_instance_s_own_timers_would_cut_is_refused(group: GroupSpec, said: str) -> None:
    account = Account(world=World(groups=(group,)))

    with pytest.raises(ConfigError) as caught:
        account.deploy()
    assert said in caught.value.message
    assert {request.name for request in account.simulator.requests} & CHANGES == set()


def test_run_that_fits_between_the_instance_s_own_timers_is_taken() -> None:
    account = Account(world=World(groups=(GroupSpec(age_timer_s=10020, idle_timer_s=2701),)))
    assert account.deploy().word == "completed"


def test_tags_that_name_no_seconds_say_nothing() -> None:
    tags = (("ghostpen-max-instance-s", "a day"), ("ghostpen-idle-s", ""))
    account = Account(world=World(groups=(GroupSpec(age_timer_s=None, idle_timer_s=None, tags=tags),)))
    assert account.deploy().word == "completed"


def test_everything_that_stands_against_it_is_in_one_message() -> None:
    account = Account(world=World(account_id="999999999999", gpu_quota_vcpus=0, max_session_s=3600))
    account.simulator.buckets.objects["runs-bucket"].clear()
    account.config = account.configure("image.tag=v2")

    with pytest.raises(ConfigError) as caught:
        account.deploy(run_config=None, run_grace_s=120.0, need_gb=80.0)
    for said in (
        "the credentials in use are of account 999999999999",
        "ECR repository ghostpen holds no image v2",
        "s3://runs-bucket/book/data holds no complete data",
        "run emma was never deployed from here, so its settings are not known: --config FILE",
        "quota allows none of the group's instance types (vCPUs: g6e.xlarge 4 of 0, g6e.2xlarge 8 of 0)",
        "none of the group's instance types has the 80.0 GB of GPU memory",
        "timeouts.grace_s (120) must be longer than the run's storage.grace_s (120)",
        "a session of the role in use ends after 3600 s at most",
    ):
        assert said in caught.value.message
    assert {request.name for request in account.simulator.requests} & CHANGES == set()


@pytest.mark.parametrize(("spot", "grace_s", "word"), [(True, 104, ""), (True, 105, "refused"), (False, 105, "")])
def test_grace_that_a_spot_notice_does_not_leave_is_refused(spot: bool, grace_s: float, word: str) -> None:
    account = Account(world=World(groups=(GroupSpec(spot=spot),)))
    account.config = account.configure("timeouts.grace_s=300")

    if not word:
        assert account.deploy(run_grace_s=grace_s).word == "completed"
        return
    with pytest.raises(ConfigError, match=r"may have spot .* storage.grace_s \(105\) must be less than 105,"):
        account.deploy(run_grace_s=grace_s)


def test_scheduled_action_is_later_than_everything_that_should_have_ended_the_run() -> None:
    account = Account(InstanceFault((("run_s", 86400.0), ("ignores_sigterm", True), ("ends_itself", False))))
    start = account.clock.now_utc()
    outcome = account.deploy()

    assert outcome.word == "max-runtime"
    assert outcome.armed_at is not None
    assert outcome.armed_at - start > timedelta(seconds=7200 + 120 + 900)
