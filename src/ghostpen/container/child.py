"""The training or test as a process of its own: its output, its end, and no longer than it may take.

A process of its own, because what kills a training (no memory, a driver's fault) must leave alive what saves it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ghostpen.container.signals import EndOnSignal
from ghostpen.processes import end_with_parent

TICK_S = 1.0
OUTPUT_TIMEOUT_S = 10.0  # for what is still in the pipes; a grandchild may hold them open
_ERROR = "error: "


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code as a shell gives it (128 + N for signal N), and its one line of why."""

    exit_code: int
    error: str | None

    @property
    def signal_name(self) -> str | None:
        """Name the signal that ended it, if one did."""
        return signal.Signals(self.exit_code - 128).name if self.exit_code in _SIGNAL_CODES else None


# Not SIGINT and SIGTERM: ghostpen's own verbs end with these codes when they are told to stop, and say why.
_SIGNAL_CODES = {128 + number for number in signal.Signals if number not in (signal.SIGINT, signal.SIGTERM)}


class Log:
    """Write what a person may want to read later: to a file, and to where this process writes; never a secret."""

    def __init__(self, path: Path, *, redact: Callable[[str], str]) -> None:
        """Begin the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.redact = redact
        self._file = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, line: str, *, to: IO[str] | None = None) -> None:
        """Write a line to the file and to `to`: standard output, if left out."""
        clean = self.redact(line.rstrip("\n"))
        with self._lock:
            print(clean, file=self._file, flush=True)
            print(clean, file=to or sys.stdout, flush=True)

    def note(self, line: str) -> None:
        """Write a line to the file alone."""
        with self._lock:
            print(self.redact(line), file=self._file, flush=True)

    def __enter__(self) -> Log:
        """Write on until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


def run_child(
    command: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    log: Log,
    signals: EndOnSignal,
    on_tick: Callable[[], None],
    tick_s: float = TICK_S,
) -> Ended:
    """Run a command in `folder` until it ends; after a signal it has half of the grace for that.

    Its standard output and error go to the log line by line. Its `error: ...` line is kept back: who called
    says it, once.

    Args:
        on_tick: is called every `tick_s` seconds, in this thread.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,  # a terminal's Ctrl-C comes by way of us, once
        preexec_fn=end_with_parent(signal.SIGTERM),
    )
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
        if child.poll() is None:  # an error of ours
            _kill(child)
        signals.pass_on_to(None)
    end_s = time.monotonic() + OUTPUT_TIMEOUT_S
    for reader in readers:
        reader.join(timeout=max(0.0, end_s - time.monotonic()))
    code = child.returncode
    return Ended(code if code >= 0 else 128 - code, errors[-1] if errors else None)


def _wait(
    child: subprocess.Popen[bytes], *, signals: EndOnSignal, on_tick: Callable[[], None], tick_s: float
) -> None:
    while child.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=tick_s)
        on_tick()
        if (left_s := signals.left_s) is not None and left_s < signals.grace_s / 2:
            _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(timeout=OUTPUT_TIMEOUT_S)


def _read(pipe: IO[bytes], log: Log, to: IO[str], errors: list[str] | None) -> None:
    with pipe:
        for raw in pipe:
            line = raw.decode(errors="replace")
            if errors is not None and line.startswith(_ERROR):
                errors.append(log.redact(line.removeprefix(_ERROR).strip()))
                log.note(line.rstrip("\n"))
            else:
                log.write(line, to=to)
