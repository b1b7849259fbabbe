"""Checkpoints on disk: sealed when they are whole, found again by their seal, deleted when newer ones are whole.

Trainer writes a checkpoint file by file. The seal is written last and names every file with its hash, so that
a checkpoint that was cut off, or damaged since, is told from a whole one and the one before it is used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.files import Sync, sync_folder, write_bytes_atomically

SEAL = "seal.json"
_NAME = re.compile(r"checkpoint-(\d+)$")
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclass(frozen=True)
class FoundCheckpoint:
    """The newest whole checkpoint, and the newer ones that are not whole."""

    newest: Path | None
    damaged: tuple[Path, ...]


def seal_checkpoint(checkpoint: Path, *, progress: Mapping[str, Any], fsync: Sync = os.fsync) -> None:
    """Write the seal: call it when every other file of the checkpoint is written.

    It comes to the disk after what it speaks of: older checkpoints are deleted then.

    Args:
        progress: what ghostpen itself has to remember at this step, beside Trainer's state.

    Raises:
        OSError: the disk refuses.
    """
    sync_folder(checkpoint, fsync=fsync)
    names = sorted(path.name for path in checkpoint.iterdir() if path.is_file() and path.name != SEAL)
    seal = {"progress": progress, "sha256": {name: _hash(checkpoint / name) for name in names}}
    write_bytes_atomically((json.dumps(seal, indent=2) + "\n").encode(), checkpoint / SEAL, fsync=fsync)


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """Read what was to be remembered at this checkpoint."""
    progress: dict[str, Any] = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["progress"]
    return progress


def list_sealed(checkpoint: Path) -> list[str]:
    """List the names of the files that a checkpoint's seal covers."""
    return list(json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["sha256"])


def delete_old_checkpoints(folder: Path, *, newest_step: int, keep: int, best_step: int | None) -> None:
    """Delete all but the `keep` newest sealed checkpoints and the best one.

    Args:
        newest_step: of the checkpoint that was just sealed. Later ones go: a resume left them out, as damaged, and
            what they were of is trained again.
    """
    kept = 0
    for checkpoint in _list_checkpoints(folder):
        if kept < keep and read_step(checkpoint) <= newest_step and (checkpoint / SEAL).is_file():
            kept += 1
        elif read_step(checkpoint) != best_step:
            shutil.rmtree(checkpoint)


def explain_disk_error(error: Exception) -> str | None:
    """Say in words that the disk refused to be written to; None where `error` is anything else.

    torch and safetensors raise errors of their own there: torch's zip writer a RuntimeError that names no cause.
    """
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _DISK_ERRORS else None
    text = str(error)
    if type(error).__name__ == "SafetensorError":
        return next((os.strerror(number) for number in _DISK_ERRORS if f"os error {number})" in text), None)
    if isinstance(error, RuntimeError) and ("PytorchStreamWriter" in text or "inline_container" in text):
        return "the file could not be written"
    return None


def find_newest_checkpoint(folder: Path) -> FoundCheckpoint:
    """Find the newest whole checkpoint below `folder`."""
    damaged: list[Path] = []
    for checkpoint in _list_checkpoints(folder):
        if is_whole(checkpoint):
            return FoundCheckpoint(checkpoint, tuple(damaged))
        damaged.append(checkpoint)
    return FoundCheckpoint(None, tuple(damaged))


def is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint is sealed and every file is still what was sealed."""
    try:
        hashes = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["sha256"]
        return all(_hash(checkpoint / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def read_step(checkpoint: Path) -> int:
    """Read the optimiser step from a checkpoint's name."""
    match = _NAME.search(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint} is not named checkpoint-N")
    return int(match[1])


def _list_checkpoints(folder: Path) -> list[Path]:
    """List what is named like a checkpoint, newest first."""
    return sorted((p for p in folder.glob("checkpoint-*") if _NAME.search(p.name)), key=read_step, reverse=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
