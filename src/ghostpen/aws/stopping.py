"""Being told to stop: Ctrl-C, SIGTERM, a closed terminal. It is raised once, where it harms nothing, and never lost.

The first signal raises `StopRequested` in the main thread, wherever that is; later ones are only remembered, so what
cleans up is disturbed at most once, and can be done again. While something is shielded, nothing is raised.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ghostpen.errors import Interrupted, Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Leave whatever is being done. Not an Exception: botocore takes those for failures of the network."""

    def __init__(self, number: int) -> None:
        """Take the signal's number."""
        self.number = number
        super().__init__(number)


class Stopping:
    """What is known of having been told to stop."""

    def __init__(self) -> None:
        """Know of nothing yet."""
        self.received: int | None = None
        self._shielded = False
        self._raised = False

    def deliver(self, number: int) -> None:
        """Take a signal, as its handler does.

        Raises:
            StopRequested: it is the first one, and nothing is shielded.
        """
        if self.received is None:
            self.received = number
        self._raise_if_due()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the process's signals while this lasts. Only the main thread can.

        One that was ignored before stays so: nohup and a shell's background jobs mean it.
        """

        def handle(number: int, _: FrameType | None) -> None:
            self.deliver(number)

        taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, handle) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Finish what must not be left half-done; what arrives meanwhile is remembered."""
        outer, self._shielded = self._shielded, True
        try:
            yield
        finally:
            self._shielded = outer

    def open(self, sleep: Callable[[float], None]) -> Callable[[float], None]:
        """Make a sleep that a signal ends, also one that came before, for use within `shielded`."""

        def sleep_openly(seconds: float) -> None:
            outer, self._shielded = self._shielded, False
            try:
                self._raise_if_due()
                sleep(seconds)
            finally:
                self._shielded = outer

        return sleep_openly

    def _raise_if_due(self) -> None:
        if self.received is not None and not self._shielded and not self._raised:
            self._raised = True
            raise StopRequested(self.received)


def make_interrupted(number: int, message: str) -> Interrupted:
    """Make the error to leave with: 130 after Ctrl-C, 143 after any other signal."""
    return Interrupted(message) if number == signal.SIGINT else Terminated(message)
