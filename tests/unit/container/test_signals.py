import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ghostpen.container.signals import EndOnSignal
from ghostpen.errors import CloudError, Interrupted, Terminated

LIMIT_S = 30


def raise_cloud_error() -> None:
    raise CloudError("no answer")


def test_call_gives_back_what_it_is_asked_for_or_raises() -> None:
    with EndOnSignal(grace_s=LIMIT_S) as signals:
        assert signals.call(lambda: 3) == 3
        with pytest.raises(CloudError, match="^no answer$"):
            signals.call(raise_cloud_error)
        assert not signals.left_behind


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, Interrupted)])
def test_signal_leaves_a_call_behind(number: signal.Signals, kind: type[Interrupted]) -> None:
    release = threading.Event()
    signals = EndOnSignal(grace_s=LIMIT_S)
    before = signal.getsignal(number)
    try:
        with signals:
            threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
            began_s = time.monotonic()
            with pytest.raises(kind):
                signals.call(lambda: release.wait(LIMIT_S))
            assert time.monotonic() - began_s < 10
            assert signals.left_behind
            with pytest.raises(kind):
                signals.call(pytest.fail)  # nothing new is begun
            signals.left_behind = False  # or this process would be ended
    finally:
        release.set()
    assert signal.getsignal(number) == before


def test_time_left_is_the_shorter_of_the_limit_and_the_grace() -> None:
    with EndOnSignal(grace_s=20) as signals:
        long, short = signals.start_timer(1000, reserve_s=5), signals.start_timer(3, reserve_s=5)
        assert signals.left_s is None
        assert 990 < long() <= 1000
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.left_s is not None and 10 < signals.left_s <= 20
        assert 5 < long() <= 15
        assert short() <= 3


# What a process does at its end: a thread that s3transfer would start, and that the interpreter waits for.
HANGS = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from ghostpen.container import signals
from ghostpen.errors import GhostpenError
signals.LEAVE_S = 0.5
try:
    with signals.EndOnSignal(grace_s=float(sys.argv[1])) as taken:
        pool = ThreadPoolExecutor(1)
        print("ready", flush=True)
        if sys.argv[2] == "call":
            taken.call(lambda: pool.submit(time.sleep, 60).result())
        else:
            pool.submit(time.sleep, 60).result()
except GhostpenError as error:
    print(error.message, flush=True)
    sys.exit(error.exit_code)
"""


def stop_hanging(grace_s: float, how: str) -> tuple[int, str, str, float]:
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, str(grace_s), how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began_s = time.monotonic()
    process.terminate()
    out, errors = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, errors, time.monotonic() - began_s


def test_thread_that_was_left_behind_does_not_hold_up_the_end() -> None:
    code, out, _, seconds = stop_hanging(LIMIT_S, "call")
    assert code == 143
    assert out == "stopped by SIGTERM; the same command and run id go on from here\n"
    assert seconds < 10


def test_end_of_the_grace_is_the_end_whatever_waits() -> None:
    code, _, errors, seconds = stop_hanging(1.5, "wait")
    assert code == 143
    assert errors.startswith("error: storage.grace_s (1.5 s) after SIGTERM not all was in S3; the same command and")
    assert 1.4 < seconds < 10
