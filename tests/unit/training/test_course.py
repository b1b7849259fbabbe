import json
import math

import pytest

from ghostpen.config import TrainConfig
from ghostpen.training.course import (
    GRAD_NORMS_KEPT,
    GRAD_NORMS_NEEDED,
    Course,
    find_early_stop,
    find_explosion,
    observe_evaluation,
    observe_gradient,
)

TRAIN = TrainConfig(patience=3, max_rises=2, max_grad_norm_jump=10.0)


def follow(*bits_per_byte: float) -> Course:
    """Evaluate before the first step and then every ten."""
    course = Course()
    for number, value in enumerate(bits_per_byte):
        course = observe_evaluation(course, step=10 * number, bits_per_byte=value)
    return course


def test_best_is_the_lowest_of_what_was_trained() -> None:
    course = follow(1.0, 1.4, 1.2, 1.3)

    assert (course.best_step, course.best_bits_per_byte) == (20, 1.2)
    assert not course.has_improved  # the untrained adapter was better
    assert follow(1.5, 1.4).has_improved


def test_the_first_of_two_equals_is_the_best() -> None:
    assert follow(2.0, 1.0, 1.0).best_step == 10


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((2.0, 1.9, 1.8, 1.7), None),
        ((2.0, 1.9, 1.95, 1.94), None),  # two evaluations without a better one, of three
        ((2.0, 1.9, 1.95, 1.94, 1.93), "no-improvement"),
        ((2.0, 1.9, 1.91, 1.92), "rising"),
        ((2.0, 2.1, 2.2), "rising"),  # from the first step on
        ((2.0, 1.9, 1.91, 1.85, 1.86), None),  # a better one in between starts the counts anew
        ((2.0, 1.9, 1.9, 1.9), None),  # level is no rise
    ],
)
def test_early_stop(values: tuple[float, ...], reason: str | None) -> None:
    stop = find_early_stop(follow(*values), TRAIN, step=50)

    assert (stop and stop.reason) == reason
    if stop:
        assert stop.step == 50
        assert "train." in stop.text


def test_early_stop_that_is_off_never_comes() -> None:
    off = TrainConfig(patience=0, max_rises=0)
    assert find_early_stop(follow(1.0, *(1.0 + n for n in range(1, 50))), off, step=500) is None


def after_steps(count: int, norm: float = 1.0) -> Course:
    course = Course()
    for _ in range(count):
        course = observe_gradient(course, norm)
    return course


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_gradient_that_is_no_number_stops_at_once(norm: float) -> None:
    stop = find_explosion(Course(), TRAIN, norm, step=1)
    assert stop is not None
    assert stop.reason == "exploding-gradient"
    assert str(norm) in stop.text


def test_gradient_far_above_the_median_stops() -> None:
    course = after_steps(GRAD_NORMS_NEEDED, 0.5)
    assert find_explosion(course, TRAIN, 5.0, step=21) is None
    stop = find_explosion(course, TRAIN, 5.1, step=21)
    assert stop is not None
    assert "5.1" in stop.text and "0.5 was usual" in stop.text and "train.max_grad_norm_jump" in stop.text


def test_gradient_jump_needs_a_median_of_enough_steps_and_can_be_off() -> None:
    assert find_explosion(after_steps(GRAD_NORMS_NEEDED - 1), TRAIN, 1e6, step=20) is None
    assert find_explosion(after_steps(GRAD_NORMS_NEEDED), TrainConfig(max_grad_norm_jump=0.0), 1e6, step=21) is None


def test_course_keeps_the_last_norms_only() -> None:
    course = observe_gradient(after_steps(GRAD_NORMS_KEPT), 7.0)
    assert len(course.grad_norms) == GRAD_NORMS_KEPT
    assert course.grad_norms[-1] == 7.0


def test_course_survives_a_checkpoint_to_the_bit() -> None:
    course = observe_gradient(follow(2.0, 1 / 3, 0.1 + 0.2), 1e-17 + 1)
    assert Course.from_json(json.loads(json.dumps(course.to_json()))) == course
