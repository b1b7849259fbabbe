"""Signals: raised once, never in the middle of what is shielded, never lost."""

import os
import signal
import time

import pytest

from ghostpen.aws.stopping import Stopping, StopRequested, make_interrupted
from ghostpen.errors import Interrupted, Terminated


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_to_the_process_is_raised_where_it_waits(number: signal.Signals) -> None:
    stopping = Stopping()
    before = signal.getsignal(number)

    with stopping.listening(), pytest.raises(StopRequested) as caught:
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert (caught.value.number, stopping.received) == (number, number)
    assert signal.getsignal(number) is before


def test_second_signal_raises_nothing() -> None:
    stopping = Stopping()
    with pytest.raises(StopRequested):
        stopping.deliver(signal.SIGINT)

    stopping.deliver(signal.SIGTERM)
    assert stopping.received == signal.SIGINT


def test_shielded_work_is_finished_and_the_signal_is_remembered() -> None:
    stopping, done = Stopping(), []
    with stopping.shielded():
        stopping.deliver(signal.SIGTERM)
        done.append("finished")

    assert (done, stopping.received) == (["finished"], signal.SIGTERM)


def test_open_sleep_ends_for_a_signal_that_came_before_it() -> None:
    stopping, slept = Stopping(), []
    with stopping.shielded():
        stopping.deliver(signal.SIGTERM)
        with pytest.raises(StopRequested):
            stopping.open(slept.append)(10)
        stopping.open(slept.append)(20)  # raised once: what cleans up after it is not disturbed

    assert slept == [20]


def test_open_sleep_ends_for_a_signal_that_comes_during_it_and_shields_again() -> None:
    stopping = Stopping()

    def sleep(_: float) -> None:
        stopping.deliver(signal.SIGINT)
        raise AssertionError("woke up")

    with stopping.shielded():
        with pytest.raises(StopRequested):
            stopping.open(sleep)(10)
        assert stopping._shielded
    assert not stopping._shielded


def test_shield_within_a_shield_ends_with_the_outer_one() -> None:
    stopping = Stopping()
    with stopping.shielded():
        with stopping.shielded():
            pass
        stopping.deliver(signal.SIGTERM)
    assert stopping.received == signal.SIGTERM


def test_stop_is_no_exception_that_a_library_would_swallow() -> None:
    assert not issubclass(StopRequested, Exception)


def test_exit_code_tells_which_signal_it_was() -> None:
    assert type(make_interrupted(signal.SIGINT, "cancelled")) is Interrupted
    assert type(make_interrupted(signal.SIGTERM, "cancelled")) is Terminated


def test_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stopping = Stopping()
        with stopping.listening():
            os.kill(os.getpid(), signal.SIGHUP)
        assert stopping.received is None
    finally:
        signal.signal(signal.SIGHUP, before)
