"""Machines that sleep for hours and go on, and deployments beside each other: whose the group is by then."""

import signal

import pytest
from tests.sequences import Deploy, Down, End, Scene
from tests.stand_ins.aws.faults import Away, CallFault, Failure, JobLost, Refused, Signalled

from ghostpen.aws.outcome import render_rows

SET = "autoscaling:SetDesiredCapacity"
NIGHT_S = 30_000.0  # after which every scheduled action of the day before has fired


@pytest.mark.parametrize(
    ("sleep", "was_up"),
    [
        (CallFault("autoscaling:DescribeScalingActivities", Away(NIGHT_S, applied=True)), False),
        (CallFault("ssm:PutParameter", Away(NIGHT_S, applied=True)), False),
        (CallFault(SET, Away(NIGHT_S, applied=False)), True),  # sent before it was looked: let go at once
    ],
)
def test_group_does_not_go_up_when_its_switch_has_fired_meanwhile(sleep: CallFault, was_up: bool) -> None:
    scene = Scene()
    end = scene.act(Deploy(endings=(sleep,)))

    assert end.word == "refused"
    assert end.error is not None
    assert "the scheduled action of run emma is not on it any more" in end.error.message
    assert (scene.account.count(SET, DesiredCapacity=1) > 0) == was_up
    scene.check_last()


def read_words(ends: list[End]) -> dict[str, str]:
    return {f"{end.act.run_id}, {getattr(end.act, 'mode', 'down')}": end.word for end in ends}


def find_group_line(ends: list[End], run_id: str, mode: str = "train") -> str:
    (outcome,) = [
        end.outcome
        for end in ends
        if end.outcome is not None and (end.act.run_id, end.outcome.mode) == (run_id, mode)
    ]
    return dict(render_rows(outcome))["group"]


def test_run_of_others_goes_on_when_a_machine_wakes_up_whose_own_run_is_over() -> None:
    scene = Scene()
    asleep_while_following = CallFault("*", Away(3600.0), nth=90)
    ends = scene.act_together(
        Deploy(run_id="emma", endings=(asleep_while_following,)), Deploy(run_id="persuasion"), after_s=3300.0
    )

    assert read_words(ends) == {"emma, train": "completed", "persuasion, train": "completed"}
    assert find_group_line(ends, "emma") == (
        "gpu-runs: held by another deployment, of run persuasion, by now; left alone"
    )
    scene.check_last()


def contend(scene: Scene, *, after_s: float = 1.0) -> str:
    """Let two runs begin so that the second one has its action put when the first one is up; name the loser."""
    runs = [Deploy(run_id=run_id, follow_for_s=100.0) for run_id in ("emma", "persuasion")]
    ends = scene.act_together(*runs, after_s=after_s)
    (loser,) = [end.act.run_id for end in ends if end.word == "active-run"]
    assert loser is not None
    return loser


def test_refused_run_leaves_no_action_on_the_group_of_the_run_that_has_it() -> None:
    for tenths in range(0, 60, 5):  # from beside each other to one after the other
        scene = Scene(poll_s=10)
        loser = contend(scene, after_s=tenths / 10)
        actions = list(scene.simulator.group.schedule.actions)
        scene.act(Down(run_id=loser))

        assert len(actions) == 1 and loser not in actions[0], tenths
        assert (scene.simulator.group.desired, list(scene.simulator.group.schedule.actions)) == (1, actions)
        scene.check_last()


def test_refused_run_puts_its_action_back_where_no_other_one_guards_the_group() -> None:
    first = Scene(poll_s=10)
    loser = contend(first)
    (taken_off_at,) = [
        request.at for request in first.simulator.requests if request.name == "autoscaling:DeleteScheduledAction"
    ]
    scene = Scene(poll_s=10)  # the same once more, and somebody takes the other action off at that moment
    actions = scene.simulator.group.schedule
    scene.clock.call_later(taken_off_at - scene.clock.now() - 0.01, lambda: actions.take_off("ghostpen-emma"))
    contend(scene)

    assert (scene.simulator.group.desired, f"ghostpen-{loser}" in actions.actions) == (1, True)
    scene.check_last()


@pytest.mark.parametrize(("after_s", "word"), [(0.5, "completed"), (2.0, "active-run"), (5.0, "active-run")])
def test_look_at_a_finished_training_does_not_end_a_test_of_it_that_is_just_going_up(
    after_s: float, word: str
) -> None:
    scene = Scene(poll_s=10)
    # Its training is finished, and its scheduled action is still on the group.
    scene.act(Deploy(endings=(CallFault(SET, Signalled(signal.SIGINT, applied=True), nth=2),)))
    scene.account.pass_time(300)
    ends = scene.act_together(Deploy(mode="test"), Deploy(mode="train"), after_s=after_s)

    assert read_words(ends) == {"emma, test": "completed", "emma, train": word}
    scene.check_last()


def test_later_deployment_of_the_same_run_goes_on_when_the_earlier_one_s_machine_wakes_up() -> None:
    scene = Scene()
    asleep_while_following = CallFault("*", Away(3600.0), nth=90)
    ends = scene.act_together(Deploy(endings=(asleep_while_following,)), Deploy(mode="test"), after_s=3300.0)

    # The earlier one's last word was overwritten by the later one's.
    assert read_words(ends) == {"emma, train": "instance-lost", "emma, test": "completed"}
    assert "left alone" in find_group_line(ends, "emma")
    assert scene.account.count(SET, DesiredCapacity=0) == 1  # the later one's own
    scene.check_last()


def test_machine_that_sleeps_while_the_group_goes_down_says_that_it_is_down() -> None:
    scene = Scene()
    end = scene.act(Deploy(endings=(CallFault(SET, Away(NIGHT_S, applied=True), nth=2),)))

    assert end.word == "completed", end.error
    scene.check_last()


def test_down_that_slept_leaves_the_switch_of_a_deployment_that_has_begun_since() -> None:
    scene = Scene()
    scene.act(Deploy(endings=(CallFault(SET, JobLost(applied=True)),)))
    asleep_before_the_last_look = CallFault("autoscaling:DescribeScheduledActions", Away(400.0), nth=2)
    ends = scene.act_together(Down(endings=(asleep_before_the_last_look,)), Deploy(), after_s=200.0)

    assert read_words(ends) == {"None, down": "down", "emma, train": "completed"}
    (down,) = [end.down for end in ends if end.down is not None]
    assert down.run_ids == ()
    scene.check_last()


@pytest.mark.parametrize("ending", [Signalled(signal.SIGINT, applied=True), Refused("AccessDenied", status=403)])
def test_second_deployment_of_a_run_that_is_stopped_in_its_claim_leaves_the_first_one_guarded(
    ending: Failure,
) -> None:
    words = set()
    for tenths in range(0, 60, 2):  # from beside each other to one after the other
        scene = Scene(poll_s=60)
        in_the_second_claim = CallFault("autoscaling:PutScheduledUpdateGroupAction", ending, nth=2)
        ends = scene.act_together(
            Deploy("smoke", "smoke-1"),
            Deploy("smoke", "smoke-1", endings=(in_the_second_claim,)),
            after_s=tenths / 10,
        )
        words |= {end.word for end in ends}
        scene.check_watched()
        scene.check_last()
    assert {"completed", "active-run"} < words
