"""Several processes on one virtual clock: who goes on when, and what becomes of one that fails."""

from functools import partial

import pytest
from tests.stand_ins.aws.timeline import VIRTUAL_START
from tests.stand_ins.aws.turns import TurnTime


def test_whoever_wakes_up_first_goes_on_and_the_world_with_them() -> None:
    clock = TurnTime()
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.now() - VIRTUAL_START))

    def work(name: str, *naps: float) -> None:
        for nap in naps:
            clock.sleep(nap)
            note(name)

    clock.call_later(15, lambda: note("world"))
    clock.run_together(partial(work, "a", 10, 10, 10), partial(work, "b", 12, 1, 20))

    assert seen == [("a", 10), ("b", 12), ("b", 13), ("world", 15), ("a", 20), ("a", 30), ("b", 33)]
    assert clock.now() - VIRTUAL_START == 33
    clock.sleep(7)  # alone again
    assert clock.now() - VIRTUAL_START == 40


def test_failure_of_one_is_raised_after_the_other_has_ended() -> None:
    clock = TurnTime()
    ended: list[float] = []

    def fail() -> None:
        clock.sleep(1)
        raise ValueError("of the first")

    def work() -> None:
        clock.sleep(100)
        ended.append(clock.now() - VIRTUAL_START)

    with pytest.raises(ValueError, match="of the first"):
        clock.run_together(fail, work)
    assert ended == [100]


def test_failure_of_the_world_ends_all() -> None:
    clock = TurnTime()

    def fail() -> None:
        raise RuntimeError("the simulator has a bug")

    clock.call_later(5, fail)
    with pytest.raises(RuntimeError, match="has a bug"):
        clock.run_together(partial(clock.sleep, 10), partial(clock.sleep, 20))
