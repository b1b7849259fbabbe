"""Simulated time: order, programs, and the wall clock's thread."""

import time
from collections.abc import Iterator

import pytest
from tests.stand_ins.aws.timeline import VIRTUAL_START, Steps, VirtualTime, WallTime


def test_sleep_lets_what_is_due_happen_in_order_at_its_own_time(clock: VirtualTime) -> None:
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.now() - VIRTUAL_START))

    clock.call_later(20, lambda: note("later"))
    clock.call_later(10, lambda: note("first"))
    clock.call_later(10, lambda: clock.call_later(5, lambda: note("asked for at 10")))
    clock.call_later(10, lambda: note("second"))
    clock.call_later(10, lambda: note("cancelled")).cancel()
    clock.sleep(15)
    assert seen == [("first", 10), ("second", 10), ("asked for at 10", 15)]
    clock.sleep(5)
    assert seen[-1] == ("later", 20)


def test_action_that_raises_stops_the_sleep_there_and_the_rest_happens_in_the_next(clock: VirtualTime) -> None:
    seen: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.call_later(10, interrupt)
    clock.call_later(20, lambda: seen.append("rest"))
    with pytest.raises(KeyboardInterrupt):
        clock.sleep(60)
    assert (clock.now() - VIRTUAL_START, seen) == (10, [])
    clock.sleep(10)
    assert seen == ["rest"]


def test_sleep_of_a_negative_time_is_refused_as_time_sleep_does(clock: VirtualTime) -> None:
    with pytest.raises(ValueError):
        clock.sleep(-1)


class Signal(Exception):
    pass


def test_program_waits_catches_a_signal_and_is_killed(clock: VirtualTime) -> None:
    seen: list[str] = []

    def steps() -> Steps:
        try:
            yield 100
        except Signal:
            seen.append("caught")
        yield 10
        seen.append("goes on")
        while True:
            yield 1

    program = clock.start(steps())
    clock.sleep(5)
    program.signal(Signal())
    clock.sleep(10)
    assert seen == ["caught", "goes on"]
    program.kill()
    assert not program.alive
    clock.sleep(100)


def test_program_that_does_not_catch_a_signal_ends_by_it_and_its_own_failure_is_raised(clock: VirtualTime) -> None:
    def waits() -> Steps:
        yield 100

    def fails() -> Steps:
        yield 1
        raise RuntimeError("a mistake in the model")

    program = clock.start(waits())
    clock.sleep(5)
    program.signal(Signal())
    clock.sleep(0)
    assert not program.alive
    clock.start(fails())
    with pytest.raises(RuntimeError, match="a mistake in the model"):
        clock.sleep(5)


def test_program_may_bring_about_its_own_kill(clock: VirtualTime) -> None:
    seen: list[str] = []

    def steps() -> Steps:
        yield 1
        program.kill()
        seen.append("its step ends")
        yield 1
        seen.append("and no other begins")

    program = clock.start(steps())
    clock.sleep(10)
    assert seen == ["its step ends"]


@pytest.fixture
def wall() -> Iterator[WallTime]:
    with WallTime() as timeline:
        yield timeline
    assert timeline.failures == []


def wait_until(condition: list[str], *, limit_s: float = 10) -> None:
    end = time.monotonic() + limit_s
    while not condition and time.monotonic() < end:
        time.sleep(0.01)


def test_wall_time_lets_things_happen_by_itself_and_can_be_pushed_ahead(wall: WallTime) -> None:
    soon: list[str] = []
    late: list[str] = []
    wall.call_later(3600, lambda: late.append("late"))
    wall.call_later(0.05, lambda: soon.append("soon"))
    wait_until(soon)
    assert (soon, late) == (["soon"], [])
    wall.push_ahead(3600)
    wait_until(late)
    assert late == ["late"]
    assert wall.now() - time.time() == pytest.approx(3600, abs=5)


def test_wall_time_keeps_a_failure_for_whoever_runs_the_world() -> None:
    with WallTime() as timeline:
        timeline.call_later(0, lambda: 1 / 0)
        end = time.monotonic() + 10
        while not timeline.failures and time.monotonic() < end:
            time.sleep(0.01)
    assert [type(failure) for failure in timeline.failures] == [ZeroDivisionError]
