"""Real text cut into pieces as long as what a model wrote: only equals are compared.

Owns how a section becomes pieces, and which of too many are taken. Pure.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ghostpen.data.sections import Section

_WORD = re.compile(r"\S+\s*")
ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Piece:
    """A stretch of a section, with its punctuation and paragraphs; no paragraph or sentence need end with it."""

    text: str
    author: str
    document: str
    section: int

    @property
    def place(self) -> str:
        """Name the section that it is from."""
        return f"{self.author}/{self.document}/{self.section}"


def cut_sections(sections: Iterable[Section], *, words: int) -> list[Piece]:
    """Cut sections into pieces of so many words; what is left over at a section's end is left out.

    Args:
        words: what stands between blanks.
    """
    return [
        Piece("".join(found[start : start + words]).rstrip(), section.author, section.document, section.section)
        for section in sections
        for found in [_WORD.findall(section.text)]
        for start in range(0, len(found) - words + 1, words)
    ]


def cut_text(text: str, *, words: int) -> str:
    """Return a text's first words, with what stands between them, and without the blanks around them."""
    return "".join(_WORD.findall(text)[:words]).rstrip()


def count_words(text: str) -> int:
    """Count what stands between blanks."""
    return len(text.split())


def spread(items: Sequence[ItemT], count: int) -> list[ItemT]:
    """Choose `count` items at even distances; all of them where there are no more."""
    if count >= len(items):
        return list(items)
    return [items[(2 * place + 1) * len(items) // (2 * count)] for place in range(count)]
