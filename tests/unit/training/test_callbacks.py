"""The ways to end a training from outside."""

import signal
from types import SimpleNamespace

import pytest

from ghostpen.training.callbacks import StopOnSignal


@pytest.mark.parametrize("number", StopOnSignal.SIGNALS)
def test_signal_that_comes_several_times_at_once_still_leaves_a_checkpoint(number: signal.Signals) -> None:
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    with StopOnSignal() as stop:
        stop.on_step_end(None, None, control)
        assert stop.received is None and not control.should_save
        for _ in range(3):
            signal.raise_signal(number)
        stop.on_step_end(None, None, control)
    assert stop.received == number
    assert control.should_save and control.should_training_stop


def test_later_signal_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StopOnSignal, "SAME_S", 0.0)
    with StopOnSignal():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
