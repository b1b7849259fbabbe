"""The training or test as a process of its own: its output, its end, and no longer than it may take.

A process of its own, because what kills a training (no memory, a driver's fault) must leave alive what saves it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ghostpen.container.log import Log
from ghostpen.container.signals import EndOnSignal, kill_group
from ghostpen.processes import end_with_parent

TICK_S = 1.0
OUTPUT_TIMEOUT_S = 5.0  # for what is still in the pipes; a grandchild may hold them open
CHILD_SHARE = 0.5  # of the grace: its last checkpoint has to be uploaded in the rest
_ERROR = "error: "
# Not SIGINT and SIGTERM: ghostpen's own verbs end with these codes when they are told to stop, and say why.
_SIGNAL_CODES = {128 + number for number in signal.Signals if number not in (signal.SIGINT, signal.SIGTERM)}


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code as a shell gives it (128 + N for signal N), and its one line of why."""

    exit_code: int
    error: str | None

    @property
    def signal_name(self) -> str | None:
        """Name the signal that ended it, if one did."""
        return signal.Signals(self.exit_code - 128).name if self.exit_code in _SIGNAL_CODES else None


def run_child(
    command: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    log: Log,
    signals: EndOnSignal,
    on_tick: Callable[[], None],
    keep_open: Sequence[int] = (),
    tick_s: float = TICK_S,
) -> Ended:
    """Run a command in `folder` until it ends; after a signal it has CHILD_SHARE of the grace for that.

    Its standard output and error go to the log line by line. Its `error: ...` line is kept back: who called
    says it, once. If this process dies, the kernel sends it SIGTERM.

    Args:
        on_tick: is called every `tick_s` seconds, in this thread. keep_open: descriptors that the child gets, too.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=keep_open,
        process_group=0,  # a terminal's Ctrl-C comes by way of us, once
        preexec_fn=end_with_parent(signal.SIGTERM),
    )
    assert child.stdout is not None and child.stderr is not None
    errors: list[str] = []
    readers = [
        threading.Thread(target=_read, args=(child.stdout, log, sys.stdout, None), daemon=True),
        threading.Thread(target=_read, args=(child.stderr, log, sys.stderr, errors), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        signals.pass_on_to(child)
        _wait(child, signals=signals, on_tick=on_tick, tick_s=tick_s)
    finally:
        kill_group(child)  # that still runs, after an error of ours
        code = child.wait(OUTPUT_TIMEOUT_S)
        signals.pass_on_to(None)
    end_s = time.monotonic() + OUTPUT_TIMEOUT_S
    for reader in readers:
        reader.join(max(0.0, end_s - time.monotonic()))
    return Ended(code if code >= 0 else 128 - code, errors[-1] if errors else None)


def _wait(
    child: subprocess.Popen[bytes], *, signals: EndOnSignal, on_tick: Callable[[], None], tick_s: float
) -> None:
    while child.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(tick_s)
        on_tick()
        if (left_s := signals.left_s) is not None and left_s < (1 - CHILD_SHARE) * signals.grace_s:
            kill_group(child)


def _read(pipe: IO[bytes], log: Log, to: IO[str], errors: list[str] | None) -> None:
    with pipe:
        for raw in pipe:
            # A progress bar draws itself anew after each carriage return: what it showed last is the line.
            line = raw.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
            if errors is not None and line.startswith(_ERROR):
                errors.append(log.redact(line.removeprefix(_ERROR).strip()))
                log.note(line)
            else:
                log.write(line, to=to)
