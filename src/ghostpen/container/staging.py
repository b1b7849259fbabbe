"""Checkpoints are found by their seal as soon as it is written, and set aside where no later deletion reaches them.

Set aside by hard links: nothing is copied but the small files beside them, which are written on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ghostpen.aws.runs import CONTROL
from ghostpen.training.checkpoints import SEAL, list_sealed, read_progress, read_step

CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"


@dataclass(frozen=True)
class StagedCheckpoint:
    """A checkpoint that was set aside. Its files are named as in the run's folder."""

    role: str
    step: int
    best_step: int | None
    folder: Path

    def list_files(self) -> dict[str, Path]:
        """List its files, by their names in the bundle."""
        return list_files(self.folder)


def list_files(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, Path]:
    """List the plain files below a folder by their names below it; `leave_out` names entries right in it.

    What an atomic write has not renamed yet, or has left when it was killed, is none.
    """
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    paths = (path for path in paths if not (path.name.startswith(".") and path.name.endswith(".part")))
    names = {path.relative_to(folder): path for path in paths}
    return {name.as_posix(): path for name, path in names.items() if name.parts[0] not in leave_out}


def copy_files(folder: Path, into: Path, *, leave_out: Collection[str]) -> None:
    """Copy the plain files below a folder: what is written on meanwhile can't be uploaded."""
    for name, path in list_files(folder, leave_out=leave_out).items():
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def find_best_step(checkpoint: Path) -> int | None:
    """Read which step was the best one when a checkpoint was sealed; the run needs its weights at the end."""
    best: int | None = read_progress(checkpoint).get("course", {}).get("best_step")
    return best


class CheckpointWatch:
    """Find the checkpoints of a training as they are sealed, each once."""

    def __init__(
        self, run_dir: Path, *, role: str, staging: Path, known: Iterable[Path], warn: Callable[[str], None]
    ) -> None:
        """Watch the folder of a run.

        Args:
            known: checkpoints that are not to be found, as long as they stay what they are.
        """
        self._run_dir, self._role, self._warn = run_dir, role, warn
        self._staging = staging / role
        self._known = {_identify(checkpoint) for checkpoint in known}

    def find(self) -> list[StagedCheckpoint]:
        """Set the newly sealed ones aside, oldest first."""
        seals = self._run_dir.glob(f"{CHECKPOINTS}/checkpoint-*/{SEAL}")
        staged = (self._take(checkpoint) for checkpoint in sorted((seal.parent for seal in seals), key=read_step))
        return [checkpoint for checkpoint in staged if checkpoint is not None]

    def _take(self, checkpoint: Path) -> StagedCheckpoint | None:
        try:
            identity = _identify(checkpoint)
            if identity in self._known:
                return None
            staged = self._stage(checkpoint)
        except FileNotFoundError:  # deleted meanwhile, or a file beside it was written anew: then it is found again
            return None
        except OSError as error:
            self._warn(f"warning: {checkpoint} can't be set aside for its upload: {error.strerror}; the next one may")
            staged = None
        self._known.add(identity)
        return staged

    def _stage(self, checkpoint: Path) -> StagedCheckpoint:
        folder = self._staging / f"{checkpoint.name}-{len(self._known)}"
        place = folder / CHECKPOINTS / checkpoint.name
        try:
            place.mkdir(parents=True)
            for name in (*list_sealed(checkpoint), SEAL):
                _link(checkpoint / name, place / name)
            copy_files(self._run_dir, folder, leave_out=(CHECKPOINTS, ADAPTER, CONTROL))
            return StagedCheckpoint(self._role, read_step(checkpoint), find_best_step(place), folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _identify(checkpoint: Path) -> tuple[str, int]:
    """Tell a checkpoint from another one of the same step."""
    return checkpoint.name, (checkpoint / SEAL).stat().st_mtime_ns


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(file, target)
