"""SIGTERM and Ctrl-C: passed on to the child, and a deadline for all that is left to do.

A request to S3 can't be called off. So what waits for one runs in a thread that is left behind where it must be, and
the process ends at the deadline whatever waits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn, TypeVar

from ghostpen.errors import GhostpenError, Interrupted, Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# For threads that were left behind: the interpreter would wait for those of s3transfer, which wait for S3.
LEAVE_S = 5.0
Result = TypeVar("Result")


class EndOnSignal:
    """Take the signals as long as the block runs: the first is passed on to the child, later ones change nothing.

    From the first one on `grace_s` seconds are left. What is not done then is given up: the process ends.
    """

    def __init__(self, *, grace_s: float) -> None:
        """Set the deadline that a signal starts; it may be changed until one comes."""
        self.grace_s = grace_s
        self.received: signal.Signals | None = None
        self.left_behind = False  # a thread still waits for S3
        self._end_s: float | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        self._answers: SimpleQueue[Callable[[], object]] | None = None

    def __enter__(self) -> EndOnSignal:
        """Take the signals."""
        self._previous = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Leave the signals to whoever had them; no thread that was left behind holds up the end for long."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._timer is not None:
            self._timer.cancel()
        if self.left_behind:
            code = error.exit_code if isinstance(error, GhostpenError) else int(error is not None)
            _start_timer(LEAVE_S, lambda: os._exit(code))

    @property
    def left_s(self) -> float | None:
        """Give the seconds until the deadline; None as long as no signal has come."""
        return None if self._end_s is None else max(0.0, self._end_s - time.monotonic())

    def start_timer(self, limit_s: float, *, reserve_s: float) -> Callable[[], float]:
        """Give what computes the seconds left of `limit_s` from now on, and of the grace less `reserve_s`."""
        end_s = time.monotonic() + limit_s

        def compute_left_s() -> float:
            after_signal_s = limit_s if self._end_s is None else self._end_s - reserve_s - time.monotonic()
            return min(end_s - time.monotonic(), after_signal_s)

        return compute_left_s

    def call(self, act: Callable[[], Result]) -> Result:
        """Do something in a thread, and wait for it; a signal leaves the thread behind.

        Raises:
            Interrupted, Terminated: a signal has come, before or meanwhile.
            Exception: what `act` raises.
        """
        answers: SimpleQueue[Callable[[], Result]] = SimpleQueue()

        def work() -> None:
            try:
                result = act()
            except BaseException as error:
                answers.put(_raise_later(error))
            else:
                answers.put(lambda: result)

        self._answers = answers  # type: ignore[assignment]  # a signal's answer raises, whatever the result's type
        try:
            self.check()  # now that a signal would be heard
            threading.Thread(target=work, daemon=True).start()
            return answers.get()()
        finally:
            self._answers = None

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
            raise kind(f"stopped by {self.received.name}; the same command and run id go on from here")

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            return
        self._end_s = time.monotonic() + self.grace_s
        self.received = signal.Signals(number)
        self._timer = _start_timer(self.grace_s, self._give_up)
        self._send()
        if self._answers is not None:
            self._answers.put(self._leave_call)  # SimpleQueue's put may be called from a signal's handler

    def _leave_call(self) -> None:
        self.left_behind = True
        self.check()

    def _send(self) -> None:
        if self._child is not None and self.received is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(self.received)

    def _give_up(self) -> NoReturn:
        """End as kill -9 would: a request that hangs must not keep a paid machine."""
        number = self.received or signal.SIGTERM
        with contextlib.suppress(OSError):
            sys.stderr.write(
                f"error: storage.grace_s ({self.grace_s:g} s) after {number.name} not all was in S3; the same "
                "command and run id go on from the newest checkpoint that is\n"
            )
            sys.stderr.flush()
        if self._child is not None:
            kill_group(self._child)
        os._exit(128 + number)


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """End a child that leads a process group, and what it has started in it."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _start_timer(after_s: float, act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(after_s, act)
    timer.daemon = True
    timer.start()
    return timer


def _raise_later(error: BaseException) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise error

    return raise_it
