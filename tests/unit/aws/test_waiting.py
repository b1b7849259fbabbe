"""Waits: each ends, and one look without an answer is not the end."""

from datetime import timedelta

import pytest
from tests.stand_ins.scripted import NOON, VirtualClock

from ghostpen.aws.waiting import DeadlineError, Waiting, read_clock
from ghostpen.errors import CloudError


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def waiting(clock: VirtualClock) -> Waiting:
    return Waiting(10, clock=clock.read, sleep=clock.sleep)


def test_wait_gives_what_is_seen_first(waiting: Waiting, clock: VirtualClock) -> None:
    looks = iter([None, None, "seen", "later"])

    assert waiting.wait_for(lambda: next(looks), limit_s=60) == "seen"
    assert clock.sleeps == [10, 10]


def test_wait_without_anything_to_see_ends_at_the_deadline_and_looks_there_too(
    waiting: Waiting, clock: VirtualClock
) -> None:
    looked_at = []

    with pytest.raises(DeadlineError):
        waiting.wait_for(lambda: looked_at.append(clock.now), limit_s=25)
    assert looked_at == [NOON + timedelta(seconds=seconds) for seconds in (0, 10, 20, 25)]


def test_wait_goes_on_after_a_failure_that_may_pass(waiting: Waiting) -> None:
    looks = iter([CloudError("no answer", passing=True), "seen"])

    def look() -> object:
        answer = next(looks)
        if isinstance(answer, CloudError):
            raise answer
        return answer

    assert waiting.wait_for(look, limit_s=60) == "seen"


def test_wait_that_never_gets_an_answer_says_the_last_one(waiting: Waiting) -> None:
    def look() -> None:
        raise CloudError("the group did not answer", passing=True)

    with pytest.raises(DeadlineError, match=r"last answer: the group did not answer"):
        waiting.wait_for(look, limit_s=20)


def test_wait_ends_at_once_where_a_failure_will_not_pass(waiting: Waiting, clock: VirtualClock) -> None:
    def look() -> None:
        raise CloudError("access denied")

    with pytest.raises(CloudError, match="access denied"):
        waiting.wait_for(look, limit_s=60)
    assert clock.sleeps == []


def test_clock_knows_its_time_zone() -> None:
    assert read_clock().utcoffset() == timedelta(0)
