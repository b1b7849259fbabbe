"""What a process that starts others needs from the kernel. Must import the standard library only."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Give Popen a preexec_fn: when the thread that starts the process ends, the kernel sends it `number`.

    It may send it several times: where a process of several threads dies, the child is handed from one to the next.
    """
    prctl = ctypes.CDLL(None).prctl  # looked up here: the child of a fork should do as little as possible

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))

    return ask
