"""What is counted, and the ways to end a training from outside."""

import json
import signal
from types import SimpleNamespace

import pytest

from ghostpen.training.callbacks import StepSums, StopOnSignal, TokenCount


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


def test_count_survives_a_checkpoint_between_two_logs() -> None:
    count = TokenCount()
    count.add(nats=1 / 3, tokens=2, balance=0.5)
    count.close_step()
    count.logged = StepSums()  # as a log does
    count.add(nats=0.1 + 0.2, tokens=5, balance=0.25)
    count.close_step()

    restored = TokenCount()
    restored.restore(json.loads(json.dumps(count.to_json())))

    assert restored.tokens == 7
    assert restored.logged == StepSums(nats=0.1 + 0.2, tokens=5, balance=1.25)


def test_count_of_a_checkpoint_that_knows_no_sums_goes_on_from_its_tokens() -> None:
    count = TokenCount()
    count.restore({"tokens_seen": 12, "course": {}})
    assert (count.tokens, count.logged) == (12, StepSums())
