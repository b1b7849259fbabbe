"""The rows of metrics.jsonl: what is measured while training. Must not import torch: reports read them too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostpen.errors import DataError
from ghostpen.score import Score


@dataclass(frozen=True)
class Measurement:
    """One row of metrics.jsonl."""

    step: int
    tokens_seen: int
    split: str  # "train", "val" or "contrast_val"
    score: Score
    learning_rate: float | None = None
    tokens_per_s: float | None = None
    balance: float | None = None
    grad_norm: float | None = None  # of the newest step, before it is scaled down
    peak_memory_bytes: int | None = None  # of the process, since it started
    peak_gpu_memory_bytes: int | None = None  # that tensors held; None without a GPU

    def to_json(self) -> dict[str, Any]:
        """Render the row; training rows have no bytes, so no bits per byte."""
        return {
            "step": self.step,
            "tokens_seen": self.tokens_seen,
            "split": self.split,
            "perplexity": self.score.perplexity,
            "bits_per_byte": self.score.bits_per_byte if self.score.size_bytes else None,
            "loss_nats": self.score.loss_nats,
            "tokens": self.score.tokens,
            "learning_rate": self.learning_rate,
            "tokens_per_s": self.tokens_per_s,
            "balance": self.balance,
            "grad_norm": self.grad_norm,
            "peak_memory_bytes": self.peak_memory_bytes,
            "peak_gpu_memory_bytes": self.peak_gpu_memory_bytes,
        }


def read_metrics(path: Path, *, drop_torn_end: bool = False) -> list[dict[str, Any]]:
    """Read the rows of a metrics.jsonl; none when it is not there.

    Args:
        drop_torn_end: leave out a last line without its end, as a full disk or a power cut leaves one.

    Raises:
        DataError: a line is not a row (file:line), as where the machine went down while it was written.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    if drop_torn_end:
        content = content[: content.rfind(b"\n") + 1]
    lines = enumerate(content.splitlines(), start=1)
    return [_read_row(line, f"{path}:{number}") for number, line in lines if line.strip()]


def _read_row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not a whole row of metrics ({error}); delete that line") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a row of metrics; delete that line")
    return row
