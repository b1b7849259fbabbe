"""Checkpoints go to S3 while the training goes on: found by their seal, set aside by hard links, sent by a thread."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from ghostpen.errors import CloudError
from ghostpen.training.checkpoints import SEAL, read_step

CHECKPOINTS = "checkpoints"
# What a training needs beside its checkpoint to go on elsewhere, and to show what was measured until then.
_BESIDE = ("manifest.json", "metrics.jsonl", "samples")


@dataclass(frozen=True)
class StagedCheckpoint:
    """A checkpoint that was set aside: no later deletion reaches it. Its files are named as in the run's folder."""

    role: str
    step: int
    folder: Path

    def list_files(self) -> dict[str, Path]:
        """List its files, by their names in the bundle."""
        return list_files(self.folder)


def list_files(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, Path]:
    """List the plain files below a folder by their names below it; `leave_out` names entries right in it."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    names = {path.relative_to(folder): path for path in paths}
    return {name.as_posix(): path for name, path in names.items() if name.parts[0] not in leave_out}


class CheckpointWatch:
    """Find the checkpoints of a training as they are sealed, each once."""

    def __init__(self, run_dir: Path, *, role: str, staging: Path) -> None:
        """Watch the folder of a run. What it holds by now counts as found: it was sent, or came from there."""
        self.run_dir = run_dir
        self.role = role
        self._staging = staging / role
        self._found = {seal.parent.name for seal in self._list_seals()}

    def find(self) -> list[StagedCheckpoint]:
        """Set the newly sealed ones aside, oldest first."""
        new = sorted(
            (seal.parent for seal in self._list_seals() if seal.parent.name not in self._found), key=read_step
        )
        self._found |= {checkpoint.name for checkpoint in new}
        return [staged for checkpoint in new if (staged := self._stage(checkpoint)) is not None]

    def _list_seals(self) -> list[Path]:
        return list(self.run_dir.glob(f"{CHECKPOINTS}/checkpoint-*/{SEAL}"))

    def _stage(self, checkpoint: Path) -> StagedCheckpoint | None:
        folder = self._staging / checkpoint.name
        shutil.rmtree(folder, ignore_errors=True)
        place = folder / CHECKPOINTS / checkpoint.name
        place.mkdir(parents=True)
        try:
            for file in checkpoint.iterdir():
                os.link(file, place / file.name)
            for name in _BESIDE:
                _copy(self.run_dir / name, folder / name)
        except FileNotFoundError:  # the training has deleted it: there are newer ones
            shutil.rmtree(folder)
            return None
        return StagedCheckpoint(self.role, read_step(checkpoint), folder)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder of files, if it is there: these are written on, so a link would change, too."""
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copy2(source, target)


class Uploader:
    """Send checkpoints one after the other in a thread; what can't be sent is tried again with the next one."""

    def __init__(self, push: Callable[[StagedCheckpoint], None], *, warn: Callable[[str], None]) -> None:
        """Take what sends one, and what tells a person."""
        self._push = push
        self._warn = warn
        self._waiting: list[StagedCheckpoint] = []
        self._failed: list[StagedCheckpoint] = []
        self._is_ending = False
        self._is_busy = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, staged: StagedCheckpoint) -> None:
        """Hand one over."""
        with self._changed:
            self._waiting += [*self._failed, staged]
            self._failed = []
            self._changed.notify_all()

    def finish(self, *, timeout_s: float) -> list[StagedCheckpoint]:
        """Send what waits, the newest first, and end; returns what was not sent in time."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            self._waiting += self._failed
            self._failed = []
            self._is_ending = True
            self._changed.notify_all()
            while (self._waiting or self._is_busy) and (left_s := end_s - time.monotonic()) > 0:
                self._changed.wait(left_s)
            return [*self._waiting, *self._failed]

    def _run(self) -> None:
        while (staged := self._take()) is not None:
            try:
                self._push(staged)
                shutil.rmtree(staged.folder, ignore_errors=True)
                failure = None
            except CloudError as error:
                failure = error
                self._warn(
                    f"warning: the checkpoint of step {staged.step} ({staged.role}) is not in S3: {error.message}"
                )
            with self._changed:
                self._is_busy = False
                if failure:
                    self._failed.append(staged)
                self._changed.notify_all()

    def _take(self) -> StagedCheckpoint | None:
        with self._changed:
            while not self._waiting:
                if self._is_ending:
                    return None
                self._changed.wait()
            self._is_busy = True
            return self._waiting.pop(-1 if self._is_ending else 0)


class Heartbeat:
    """Write where the run stands at every change, and every `every_s` seconds: a silent run is a lost one."""

    def __init__(self, write: Callable[[], None], *, every_s: float, warn: Callable[[str], None]) -> None:
        """Take what writes it; it is called in a thread of its own, and may fail with a CloudError."""
        self._write = write
        self._every_s = every_s
        self._warn = warn
        self._has_warned = False
        self._changed = threading.Event()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Write at once."""
        self._changed.set()

    def finish(self, *, timeout_s: float) -> None:
        """Write a last time, and end."""
        self._is_ending = True
        self._changed.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._is_ending
            self._changed.clear()
            try:
                self._write()
                self._has_warned = False
            except CloudError as error:
                if not self._has_warned:
                    self._warn(f"warning: status.json can't be written: {error.message}")
                self._has_warned = True
            if not is_last and not self._is_ending:
                with contextlib.suppress(RuntimeError):
                    self._changed.wait(self._every_s)
