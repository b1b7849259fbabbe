"""SIGTERM and Ctrl-C while the container works: passed on to the child, and a deadline for what is left to do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import NoReturn

from ghostpen.errors import Interrupted, Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class EndOnSignal:
    """Take the signals as long as the block runs: the first is passed on to the child, later ones change nothing.

    From the first one on `grace_s` seconds are left. What is not done then is given up: the process ends.
    """

    def __init__(self, *, grace_s: float) -> None:
        """Set the deadline that a signal starts."""
        self.grace_s = grace_s
        self.received: int | None = None
        self._end_s: float | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> EndOnSignal:
        """Take the signals."""
        self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the signals to whoever had them, and call the deadline off."""
        if self._timer:
            self._timer.cancel()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def left_s(self) -> float | None:
        """Give the seconds until the deadline; None as long as no signal has come."""
        return None if self._end_s is None else max(0.0, self._end_s - time.monotonic())

    def pass_on_to(self, child: subprocess.Popen[bytes] | None) -> None:
        """Name the process that signals go to; one that came before it was there is sent at once."""
        self._child = child
        if child is not None and self.received is not None:
            self._send()

    def check(self) -> None:
        """Leave off where a signal has come: call it before anything new is begun.

        Raises:
            Interrupted, Terminated: one has come.
        """
        if self.received is not None:
            kind = Terminated if self.received == signal.SIGTERM else Interrupted
            raise kind(f"stopped by {signal.Signals(self.received).name}; the same run id goes on from here")

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self.received = number
        self._end_s = time.monotonic() + self.grace_s
        self._timer = threading.Timer(self.grace_s, self._give_up)
        self._timer.daemon = True
        self._timer.start()
        self._send()

    def _send(self) -> None:
        if self._child is not None and self.received is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(self.received)

    def _give_up(self) -> NoReturn:
        """End as kill -9 would: a request that hangs must not keep a paid machine."""
        number = self.received or signal.SIGTERM
        sys.stderr.write(
            f"error: storage.grace_s ({self.grace_s:g} s) after {signal.Signals(number).name} not all was in S3; "
            "the same run id goes on from the newest checkpoint that is\n"
        )
        sys.stderr.flush()
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
        os._exit(128 + number)
