"""The files of samples/: what a model continued, for eyes, and read again where nothing else was written.

Must not import transformers or torch: reports read them, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ghostpen.training.recorder import SampleRow

_RENDERED = re.compile(
    r"^\[[^\n]+, section \d+\]\n(?P<beginning>.*?) >>>(?P<written>.*?)\n(?=\n\[[^\n]+, section \d+\]\n|\Z)",
    re.MULTILINE | re.DOTALL,
)


def render_continuations(rows: Sequence[SampleRow]) -> str:
    """Render for a text file."""
    return "\n".join(f"[{row.passage}]\n{row.beginning} >>>{row.written}\n" for row in rows)


def parse_continuations(text: str) -> list[tuple[str, str]]:
    """Parse a rendered file: of each passage its beginning, and what was written."""
    return [(found["beginning"], found["written"]) for found in _RENDERED.finditer(text)]


def read_continuations(path: Path) -> list[tuple[str, str]]:
    """Read a file, as `parse_continuations`; none where it is not there, or not one of ours."""
    try:
        return parse_continuations(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError):
        return []
