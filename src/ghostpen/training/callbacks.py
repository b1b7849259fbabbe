"""What watches a training from Trainer's callbacks: counts, checks, and the ways to end it.

Import this module only after `loading.import_unsloth`, as `trainer`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from transformers import TrainerCallback

from ghostpen.model.architecture import check_gradients
from ghostpen.training.ranks import ALONE, Ranks


@dataclass
class StepSums:
    """Sums over the tokens of some batches."""

    nats: float = 0.0
    tokens: int = 0
    balance: float = 0.0  # of the router, times the tokens
    training_s: float = 0.0

    def add(self, *, nats: float, tokens: int, balance: float) -> None:
        """Add sums; `balance` times its tokens."""
        self.nats, self.tokens, self.balance = self.nats + nats, self.tokens + tokens, self.balance + balance


class TokenCount(TrainerCallback):
    """Count the tokens, their loss and the seconds spent training, over all processes and across resumes."""

    def __init__(self, ranks: Ranks = ALONE) -> None:
        """Start at zero; a resume restores the state."""
        self.ranks = ranks
        self.tokens = 0
        self.logged = StepSums()  # since the last log; whoever logs them sets it back
        self._step = StepSums()  # of this process alone, in the step that runs
        self._began_s = 0.0

    def add(self, *, nats: float, tokens: int, balance: float) -> None:
        """Take in a batch of this process."""
        self._step.add(nats=nats, tokens=tokens, balance=balance * tokens)

    def close_step(self) -> float:
        """Add up the step over the processes, before it changes a weight; returns its nats."""
        nats, tokens, balance = self.ranks.sum([self._step.nats, self._step.tokens, self._step.balance])
        self._step = StepSums()
        self.logged.add(nats=nats, tokens=int(tokens), balance=balance)
        self.tokens += int(tokens)
        return nats

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the watch; evaluation and checkpoints are not training."""
        self._began_s = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the watch."""
        self.logged.training_s += time.perf_counter() - self._began_s

    def to_json(self) -> dict[str, Any]:
        """Render for a checkpoint, which may lie between two logs."""
        return {"tokens_seen": self.tokens, "since_log": asdict(self.logged)}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take back what `to_json` rendered; a checkpoint of an older version has no sums since the last log."""
        self.tokens = values["tokens_seen"]
        self.logged = StepSums(**values.get("since_log", {}))


class LastEvaluation(TrainerCallback):
    """Measure at the last step, too, so that the end of a training can be the best of it.

    Where the validation texts are measured the training's own loss is logged, so that the end of a training,
    which comes at a measurement, leaves no step out.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for it."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True
        if control.should_evaluate:
            control.should_log = True


class FirstStepCheck(TrainerCallback):
    """Make sure in the first step that every kind of target is really trained."""

    def __init__(self) -> None:
        """Check once."""
        self.checked = False

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the gradients while they are there.

        Raises:
            TargetError: a kind received none.
        """
        if not self.checked:
            check_gradients(kwargs["model"])
            self.checked = True


class StopOnSignal(TrainerCallback):
    """Let Ctrl-C or SIGTERM end the training after the step that runs, with a checkpoint, in all processes.

    Who measures asks, too, since that may take minutes.

    A second signal, from SAME_S seconds after the first on, ends it at once: the checkpoint before is then the
    newest. Sooner it is the same one: a parent that dies has the kernel send SIGTERM once for each of its threads.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)
    SAME_S = 1.0

    def __init__(self, ranks: Ranks = ALONE) -> None:
        """Wait for a signal."""
        self.ranks = ranks
        self.received: int | None = None  # known to all processes
        self._signal = 0  # received by this one
        self._received_s = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        """Take over the signals."""
        self._previous = {number: signal.signal(number, self._request) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: Any) -> None:
        if not self._signal:
            self._signal, self._received_s = number, time.monotonic()
        elif time.monotonic() - self._received_s >= self.SAME_S:
            self.__exit__()
            signal.raise_signal(number)

    def ask(self) -> bool:
        """Tell whether any process received a signal; called by all."""
        self.received = self.ranks.max(self._signal) or None
        return self.received is not None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask Trainer for a checkpoint and the end, if any process received a signal."""
        if self.ask():
            control.should_save = True
            control.should_training_stop = True
