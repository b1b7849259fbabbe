"""Checkpoints on disk: sealed when they are whole, found again by their seal.

Trainer writes a checkpoint file by file. The seal is written last and names every file with its hash, so that
a checkpoint that was cut off, or damaged since, is told from a whole one and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ghostpen.files import write_text_atomically

SEAL = "seal.json"
_NAME = re.compile(r"checkpoint-(\d+)$")


@dataclass(frozen=True)
class FoundCheckpoint:
    """The newest whole checkpoint, and the newer ones that are not whole."""

    newest: Path | None
    damaged: tuple[Path, ...]


def seal_checkpoint(checkpoint: Path, *, tokens_seen: int) -> None:
    """Write the seal: call it when every other file of the checkpoint is written."""
    names = sorted(path.name for path in checkpoint.iterdir() if path.is_file() and path.name != SEAL)
    seal = {"tokens_seen": tokens_seen, "sha256": {name: _hash(checkpoint / name) for name in names}}
    write_text_atomically(json.dumps(seal, indent=2) + "\n", checkpoint / SEAL)


def read_tokens_seen(checkpoint: Path) -> int:
    """Read how many tokens were trained on until this checkpoint."""
    return int(json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["tokens_seen"])


def find_newest_checkpoint(folder: Path) -> FoundCheckpoint:
    """Find the newest whole checkpoint below `folder`."""
    checkpoints = sorted(
        (p for p in folder.glob("checkpoint-*") if _NAME.search(p.name)), key=read_step, reverse=True
    )
    damaged: list[Path] = []
    for checkpoint in checkpoints:
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


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
