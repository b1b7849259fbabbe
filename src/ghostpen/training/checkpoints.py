"""Checkpoints on disk: which are whole, and which is the newest."""

from __future__ import annotations

import re
from pathlib import Path

# Written last into a checkpoint: without it the checkpoint is not whole.
TOKENS_SEEN = "tokens_seen.json"
_NAME = re.compile(r"checkpoint-(\d+)$")


def find_newest_checkpoint(folder: Path) -> Path | None:
    """Find the newest whole checkpoint below `folder`; None when there is none."""
    whole = [path for path in folder.glob("checkpoint-*") if _NAME.search(path.name) and is_whole(path)]
    return max(whole, key=read_step, default=None)


def is_whole(checkpoint: Path) -> bool:
    """Tell whether the last file of a checkpoint was written."""
    return (checkpoint / TOKENS_SEEN).is_file()


def read_step(checkpoint: Path) -> int:
    """Read the optimiser step from a checkpoint's name."""
    match = _NAME.search(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint} is not named checkpoint-N")
    return int(match[1])
