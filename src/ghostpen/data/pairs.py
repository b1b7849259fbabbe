"""Requests and the author's passages that answer them: `briefs.jsonl` and `rewrites.jsonl` beside prepared data.

Owns the row format, which is TRL's prompt-completion format: `prompt` is a brief or a neutral version, `completion` a
passage of the training text. Nothing outside the training text is ever taken.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ghostpen.data.passages import Passage, PassageFinder
from ghostpen.data.sections import SPLITS, Section, load_sections
from ghostpen.errors import DataError

PairKind = Literal["brief", "rewrite"]
PAIR_FILES: dict[tuple[PairKind, str], str] = {
    ("brief", "train"): "briefs.jsonl",
    ("brief", "contrast_train"): "contrast_briefs.jsonl",
    ("rewrite", "train"): "rewrites.jsonl",
    ("rewrite", "contrast_train"): "contrast_rewrites.jsonl",
}
QUOTED_WORDS = 8  # in a row: a brief that has them gives the passage away; names and phrases are shorter
_COLUMNS = {"prompt": str, "completion": str}
_ORIGIN = {"document": str, "section": int, "base": str, "seed": int}  # what `ghostpen brief` adds
_LETTERS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Pair:
    """A request, and the passage of the training text that answers it."""

    request: str
    passage: Passage


@dataclass(frozen=True)
class Pairs:
    """The pairs of one file, its fingerprint, and how many briefs were left out because they quote."""

    kind: PairKind
    path: Path
    sha256: str
    pairs: tuple[Pair, ...]
    quoting: int


@dataclass(frozen=True)
class Row:
    """One line of a file of pairs; `origin` is what `ghostpen brief` adds, empty in a line of a person's own."""

    prompt: str
    completion: str
    origin: dict[str, str | int]
    line: int


def load_pairs(folder: Path, kind: PairKind, split: str, sections: Sequence[Section]) -> Pairs:
    """Read the pairs of a training split, and find each passage in it.

    Args:
        folder: prepared data. split: "train" or "contrast_train". sections: of this split.

    Raises:
        DataError: no such file, or a line that is none or whose passage is not in the training text (file:line).
    """
    path = Path(folder) / PAIR_FILES[kind, split]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; data.{kind}_share is above 0 and needs it: `{render_verb(folder, kind)}` "
            "makes it, or write your own (docs/prepare.md), or set the share to 0"
        ) from error
    finder = PassageFinder(sections)
    held_out: PassageFinder | None = None
    pairs, quoting = [], 0
    for row in parse_rows(content, path):
        passage = finder.find(row.completion)
        if passage is None:
            held_out = held_out or PassageFinder(_load_held_out(folder))
            raise DataError(f"{path}:{row.line}: {_explain_missing(held_out.find(row.completion) is not None)}")
        if kind == "brief" and quotes(row.prompt, row.completion, words=QUOTED_WORDS):
            quoting += 1
        else:
            pairs.append(Pair(row.prompt, passage))
    return Pairs(kind, path, hashlib.sha256(content).hexdigest(), tuple(pairs), quoting)


def parse_rows(content: bytes, path: Path) -> list[Row]:
    """Read the lines of a file of pairs.

    Raises:
        DataError: a line is none (file:line).
    """
    rows = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            rows.append(_parse_row(line, number, f"{path}:{number}"))
    return rows


def quotes(request: str, passage: str, *, words: int) -> bool:
    """Tell whether a request has so many words in a row that the passage has, too."""
    asked, told = (_LETTERS.findall(text.casefold()) for text in (request, passage))
    runs = {tuple(told[i : i + words]) for i in range(len(told) - words + 1)}
    return any(tuple(asked[i : i + words]) in runs for i in range(len(asked) - words + 1))


def render_verb(folder: Path, kind: PairKind, *, share: float | None = None) -> str:
    """Return the command that makes a file of pairs."""
    rewrite = " --rewrite" if kind == "rewrite" else ""
    return f"ghostpen brief {folder} --base MODEL{rewrite}" + ("" if share is None else f" --share {share:g}")


def _parse_row(line: bytes, number: int, where: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON in UTF-8 ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise DataError(f'{where}: not an object; write {{"prompt": ..., "completion": ...}}')
    known = _COLUMNS | _ORIGIN
    if unknown := sorted(set(row) - set(known)):
        raise DataError(f"{where}: unknown column {unknown[0]!r}; there are prompt and completion")
    for name, kind in known.items():
        if name in row or name in _COLUMNS:
            value = row.get(name)
            if type(value) is not kind or (kind is str and not str(value).strip()):
                what = "a text that is not empty" if kind is str else "a number"
                raise DataError(f"{where}: {name!r} is missing or not {what}")
    origin = {name: row[name] for name in _ORIGIN if name in row}
    return Row(row["prompt"], row["completion"], origin, number)


def _load_held_out(folder: Path) -> list[Section]:
    held_out = [split for split in SPLITS if not split.endswith("train") and (folder / f"{split}.jsonl").is_file()]
    return [section for split in held_out for section in load_sections(folder, split)]


def _explain_missing(is_held_out: bool) -> str:
    if is_held_out:
        return "the completion is of a held-out text, which must not be trained on; take the line out"
    return (
        "the completion is not in the training text, word for word; copy it from there (train.jsonl), or add the "
        "text to what is prepared"
    )
