"""What goes to S3 while a training goes on: one upload after the other in a thread, tried again where it failed."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.errors import CloudError

LOOK_S = 0.2  # between two looks at a deadline that a signal may bring near
# Between two tries at the end, where S3 is away: the second is twice the first, and so on.
PAUSE_S, PAUSE_LIMIT_S = 5.0, 60.0


@dataclass(frozen=True)
class Upload:
    """One bundle to be pushed.

    Args:
        title: for people. role: whose training it is of. step: of a checkpoint; None for results.
        is_numbered: goes below `place`, under a number that nobody has taken.
        best_step: the checkpoint that this one needs beside it. staged: a folder that goes with the upload.
    """

    title: str
    place: str
    files: Mapping[str, Path]
    info: Mapping[str, Any]
    role: str
    step: int | None = None
    is_numbered: bool = False
    best_step: int | None = None
    staged: Path | None = None


class Uploads:
    """Push bundles in the order in which they came; from a signal on, the newest first."""

    def __init__(self, push: Callable[[Upload], None], *, warn: Callable[[str], None]) -> None:
        """Take what pushes one, and what tells a person; both are called in other threads."""
        self._push, self._warn = push, warn
        self._waiting: list[Upload] = []
        self._failed: list[Upload] = []
        self._passing: list[Upload] = []  # those of the failed that may go well later, with nothing changed
        self._running: list[Upload] = []
        self._newest_first = False
        self.last_error: str | None = None
        self._changed = threading.Condition()
        self._start()

    @property
    def is_busy(self) -> bool:
        """Tell whether something is on its way."""
        with self._changed:
            return bool(self._running)

    def put(self, upload: Upload) -> None:
        """Hand one over. What failed is tried again before it, and checkpoints that nobody needs any more are let go.

        A run needs its newest checkpoint and its best one; the others would fill the disk where S3 is slow or away.
        """
        with self._changed:
            self._try_again(self._failed)
            let_go = [old for old in self._waiting if _is_outdated(old, upload)]
            self._waiting = [*(old for old in self._waiting if old not in let_go), upload]
            self._changed.notify_all()
        for old in let_go:
            _remove_staged(old)

    def finish(self, *, compute_left_s: Callable[[], float], is_urgent: Callable[[], bool]) -> list[Upload]:
        """Wait until nothing is to be done any more, or no time is left; returns what is not in S3.

        What failed is tried once more, and where S3 was only away, again and again, with growing pauses: the machine
        may go with what is not sent. Once `is_urgent`, the newest does not wait for what is on its way, nor for a
        pause.
        """
        pause_s = PAUSE_S
        next_left_s = 0.0  # how much is left when the pause is over
        with self._changed:
            self._try_again(self._failed)
            while (self._waiting or self._running or self._passing) and (left_s := compute_left_s()) > 0:
                if is_urgent() and not self._newest_first:
                    self._newest_first = True
                    self._start()
                    pause_s, next_left_s = PAUSE_S, left_s
                if not self._passing:
                    next_left_s = left_s - pause_s
                elif left_s <= next_left_s:
                    self._try_again(self._passing)
                    pause_s = min(2 * pause_s, PAUSE_LIMIT_S)
                    next_left_s = left_s - pause_s
                self._changed.wait(min(LOOK_S, left_s))
            return [*self._failed, *self._waiting, *self._running]

    def _try_again(self, failed: list[Upload]) -> None:
        """Put them before what waits."""
        self._waiting = [*failed, *self._waiting]
        self._failed = [upload for upload in self._failed if upload not in failed]
        self._passing = []
        self._changed.notify_all()

    def _start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                upload = self._waiting.pop(-1 if self._newest_first else 0)
                self._running.append(upload)
            is_there = is_passing = False
            try:
                self._push(upload)
                is_there = True
            except CloudError as error:
                self.last_error, is_passing = error.message, error.passing
                self._warn(f"warning: not yet in S3: {upload.title}: {error.message}")
            except BaseException:  # a bug, which threading shows with its traceback: the others are sent all the same
                self._start()
                raise
            finally:
                with self._changed:
                    self._running.remove(upload)
                    if not is_there:
                        self._failed.append(upload)
                        self._passing += [upload] if is_passing else []
                    self._changed.notify_all()
            if is_there:
                _remove_staged(upload)


def _is_outdated(old: Upload, new: Upload) -> bool:
    if old.step is None or new.step is None or old.role != new.role:
        return False
    return old.step != new.best_step


def _remove_staged(upload: Upload) -> None:
    if upload.staged is not None:
        shutil.rmtree(upload.staged, ignore_errors=True)
