"""The simulator's time: what is due when, and programs that wait.

One lock guards the whole simulated world: it is held while a request is answered and while something due happens.
`VirtualTime` jumps; `WallTime` follows the machine's clock in a thread and can be pushed ahead. Knows nothing of AWS.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Steps = Generator[float, None, None]
VIRTUAL_START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC).timestamp()
LONGEST_WAIT_S = 3600.0  # of the wall clock's thread, when nothing is due


@dataclass(order=True)
class Event:
    """Something that is due at a moment, unless cancelled before."""

    at: float
    number: int  # events of the same moment happen in the order in which they were asked for
    action: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Timeline:
    """Remember what is due, and let it happen in order."""

    def __init__(self, start: float) -> None:
        self.lock = threading.RLock()
        self._now = start
        self._due: list[Event] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """Give the time in seconds since 1970."""
        return self._now

    def now_utc(self) -> datetime:
        return to_utc(self.now())

    def call_at(self, at: float, action: Callable[[], object]) -> Event:
        """Let `action` happen at a time; one that has passed means: next."""
        with self.lock:
            event = Event(max(at, self._now), next(self._numbers), action)
            heapq.heappush(self._due, event)
        return event

    def call_later(self, delay_s: float, action: Callable[[], object]) -> Event:
        return self.call_at(self.now() + delay_s, action)

    def start(self, steps: Steps) -> Program:
        """Start a program, at once but not within this call."""
        return Program(self, steps)

    def find_next_due(self) -> float | None:
        with self.lock:
            while self._due and self._due[0].cancelled:
                heapq.heappop(self._due)
            return self._due[0].at if self._due else None

    def run_until(self, at: float) -> None:
        """Let everything happen that is due until then.

        An action may raise: time then stands at that action, and the next call goes on behind it.
        """
        with self.lock:
            while (due := self.find_next_due()) is not None and due <= at:
                event = heapq.heappop(self._due)
                self._now = event.at
                event.action()
            self._now = max(self._now, at)


class VirtualTime(Timeline):
    """Time that passes only when someone sleeps."""

    def __init__(self, start: float = VIRTUAL_START) -> None:
        super().__init__(start)

    def sleep(self, seconds: float) -> None:
        """Pass time, as `time.sleep` does.

        Raises:
            ValueError: the time is negative.
        """
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.run_until(self.now() + seconds)


class WallTime(Timeline):
    """The machine's own time, with what is due happening in a thread."""

    def __init__(self) -> None:
        super().__init__(time.time())
        self._ahead_s = 0.0
        self._woken = threading.Condition(self.lock)
        self._stopped = False
        self._thread = threading.Thread(target=self._follow, name="timeline", daemon=True)
        self.failures: list[BaseException] = []  # of actions; whoever runs the world looks at them

    def now(self) -> float:
        return time.time() + self._ahead_s

    def call_at(self, at: float, action: Callable[[], object]) -> Event:
        with self._woken:
            event = super().call_at(at, action)
            self._woken.notify()
        return event

    def push_ahead(self, seconds: float) -> None:
        """Let the simulated world be so much later, at once; real processes do not notice."""
        with self._woken:
            self._ahead_s += seconds
            self._woken.notify()

    def __enter__(self) -> WallTime:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with self._woken:
            self._stopped = True
            self._woken.notify()
        self._thread.join(timeout=10)

    def _follow(self) -> None:
        with self._woken:
            while not self._stopped:
                try:
                    self.run_until(self.now())
                except BaseException as failure:  # noqa: BLE001  # kept for the test, which fails with it
                    self.failures.append(failure)
                due = self.find_next_due()
                self._woken.wait(LONGEST_WAIT_S if due is None else max(0.0, due - self.now()))


class Program:
    """Steps that wait in between: a generator that yields seconds, as a shell script sleeps.

    Its `finally` blocks run when it is killed (Python closes the generator), so programs that model a process have
    none: SIGKILL runs no trap.
    """

    def __init__(self, timeline: Timeline, steps: Steps) -> None:
        self._timeline = timeline
        self._steps = steps
        self.alive = True
        self._waiting = timeline.call_later(0, self._go_on)

    def signal(self, signal: Exception) -> None:
        """Raise `signal` where the program waits; one that it does not catch ends it."""
        if self.alive:
            self._waiting.cancel()
            self._waiting = self._timeline.call_later(0, lambda: self._go_on(signal))

    def kill(self) -> None:
        """End the program where it waits."""
        self.alive = False
        self._waiting.cancel()
        if inspect.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:  # else it ends by itself below
            self._steps.close()

    def _go_on(self, signal: Exception | None = None) -> None:
        try:
            delay_s = next(self._steps) if signal is None else self._steps.throw(signal)
        except StopIteration:
            self.alive = False
            return
        except Exception as failure:
            self.alive = False
            if failure is signal:
                return
            raise
        if self.alive:  # a program may have brought about its own end
            self._waiting = self._timeline.call_later(delay_s, self._go_on)
        else:
            self._steps.close()


def to_utc(seconds: float) -> datetime:
    """Give a time as AWS's answers do, to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), tz=UTC)
