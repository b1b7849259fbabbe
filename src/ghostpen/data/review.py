"""Show what cleaning did, before anything is written: a unified diff for each document.

Pure functions. Hard line wraps are undone on both sides, so that what differs is words and not line ends.
"""

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ghostpen.data.cleaning import list_lines
from ghostpen.data.deduplication import Repeat
from ghostpen.data.documents import Document, document_id
from ghostpen.data.sections import AnySection, document_key

_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)  # what could move a terminal's cursor
_CONTEXT_LINES = 1


@dataclass(frozen=True)
class Review:
    """What is about to be written. Its texts lie on the disk, and can be read for as long as it is asked about.

    Args:
        documents: as they were read, and masked where that was wanted.
        splits: what is kept of them.
        repeats: what went because it is there once more.
        dropped: how often each rule dropped something; likewise repaired and masked.
        repaired: see dropped.
        masked: see dropped.
        out: where it would be written.
    """

    documents: Sequence[Document]
    splits: Mapping[str, Sequence[AnySection]]
    out: Path
    repeats: Sequence[Repeat] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)


def render_diffs(review: Review) -> Iterator[str]:
    """Yield the lines of one diff a document, in the order of reading; none of a document of which all is kept."""
    kept: defaultdict[str, list[tuple[str, AnySection]]] = defaultdict(list)
    for split, sections in review.splits.items():
        for section in sections:
            kept[document_key(section)].append((split, section))
    for document in review.documents:
        own = sorted(kept[document_id(document)], key=lambda item: item[1].section)
        splits = " and ".join(dict.fromkeys(split for split, _ in own)) or "nothing is kept"
        yield from difflib.unified_diff(
            [_show(line) for line in list_lines(document.text, wrapped=document.wrapped, headings=document.headings)],
            [_show(line) for _, section in own for line in section.text.split("\n") if line],
            fromfile=_show(document.origin),
            tofile=f"{document_id(document)} ({splits})",
            lineterm="",
            n=_CONTEXT_LINES,
        )


def _show(line: str) -> str:
    return _CONTROL.sub("�", line)
