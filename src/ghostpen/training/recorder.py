"""What a tracker is to ghostpen: something that is told what was measured, and may fail without harm.

Must not import more than the standard library and what does the same: the process that talks to Weights & Biases
starts with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ghostpen.redaction import find_secrets, redact

_LONGEST_REASON = 200


@dataclass(frozen=True)
class TargetRow:
    """What is trained of one kind of weight."""

    kind: str  # "attention.q_proj"
    weights: int  # matrices of the model with an adapter; a fused one holds all experts of a layer
    trainable: int  # parameters of these adapters


@dataclass(frozen=True)
class SampleRow:
    """A passage that the model continued. It begins with words of a held-out text, so it is private."""

    when: str  # "before", "evaluation" or "after"
    step: int
    passage: str  # where the beginning is from
    beginning: str
    written: str

    def to_json(self) -> dict[str, Any]:
        """Render for a message."""
        return asdict(self)


class Recorder(Protocol):
    """Take what a tracker shows. Any of these may raise: `Tracker` goes on without it."""

    def record_row(self, row: Mapping[str, Any]) -> None:
        """Take a row of metrics.jsonl."""

    def record_targets(self, targets: Sequence[TargetRow]) -> None:
        """Take what is trained."""

    def record_samples(self, samples: Sequence[SampleRow]) -> None:
        """Take samples of one step."""

    def record_adapter(self, folder: Path) -> None:
        """Take the finished adapter."""

    def finish(self, *, failed: bool) -> None:
        """Close, within a deadline."""


def describe_error(error: BaseException, environ: Mapping[str, str]) -> str:
    """Describe an error of a tracker in a line that holds no secret of the environment and no login of a URL."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return redact(text, find_secrets(environ))[:_LONGEST_REASON]
