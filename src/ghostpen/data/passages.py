"""Parts of sections that a request is paired with: where they stand, how sections are cut into them, what is left.

Pure functions.
"""

import random
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ghostpen.data.sections import Section

MIN_PASSAGE_WORDS = 30
_WORD = re.compile(r"\S+")
_PARAGRAPH = re.compile(r"\S.*?(?=\n\n|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"\S.*?(?:[.!?…][\"'”’)\]]*(?=\s)|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Passage:
    """Characters `start` to `end` of the section at a place in the list of sections."""

    section_index: int
    start: int
    end: int

    def read(self, sections: Sequence[Section]) -> str:
        """Return its text."""
        return sections[self.section_index].text[self.start : self.end]


class PassageFinder:
    """Find texts in sections, whatever the blanks and line ends between their words."""

    def __init__(self, sections: Sequence[Section]) -> None:
        """Take the sections, in whose order is looked."""
        self._words = [list(_WORD.finditer(section.text)) for section in sections]
        self._joined = [f" {' '.join(word[0] for word in words)} " for words in self._words]
        self._starts: dict[int, list[int]] = {}

    def find(self, text: str) -> Passage | None:
        """Return the first place where the words of `text` stand, whole and in a row."""
        wanted = f" {' '.join(text.split())} "
        if not wanted.strip():
            return None
        for index, joined in enumerate(self._joined):
            if (at := joined.find(wanted)) >= 0:
                starts = self._read_starts(index)
                words = self._words[index]
                first, last = bisect_right(starts, at + 1) - 1, bisect_right(starts, at + len(wanted) - 2) - 1
                return Passage(index, words[first].start(), words[last].end())
        return None

    def _read_starts(self, index: int) -> list[int]:
        if index not in self._starts:
            position, starts = 1, []
            for word in self._words[index]:
                starts.append(position)
                position += len(word[0]) + 1
            self._starts[index] = starts
        return self._starts[index]


def plan_passages(sections: Sequence[Section], *, max_words: int, seed: int) -> list[Passage]:
    """Cut sections into passages, at paragraph ends where it can be, and shuffle them.

    A paragraph longer than `max_words` is cut at sentence ends. What would be shorter than 30 words is left out, and
    so is a single sentence that is too long.
    """
    planned = [
        Passage(index, start, end)
        for index, section in enumerate(sections)
        for start, end in _cut_section(section.text, max_words)
        if MIN_PASSAGE_WORDS <= len(section.text[start:end].split()) <= max_words
    ]
    random.Random(seed).shuffle(planned)
    return planned


def take_out(sections: Sequence[Section], taken: Sequence[Passage]) -> list[Section]:
    """Return what is left of sections without passages that don't overlap.

    Sections are numbered anew, so that only such follow each other by number as follow each other in the document.
    """
    left: list[Section] = []
    number = 0
    for index, section in enumerate(sections):
        before = sections[index - 1] if index else None
        follows = before is not None and (before.author, before.document, before.section + 1) == (
            section.author,
            section.document,
            section.section,
        )
        number += 1 if follows else 2
        borders = [0]
        for passage in sorted((p for p in taken if p.section_index == index), key=lambda p: p.start):
            borders += [passage.start, passage.end]
        borders.append(len(section.text))
        for part, (start, end) in enumerate(pairwise(borders)):
            if part % 2:
                number += 2
            elif text := section.text[start:end].strip():
                left.append(
                    replace(
                        section,
                        text=text,
                        section=number,
                        starts_document=section.starts_document and start == 0,
                        ends_document=section.ends_document and end == len(section.text),
                    )
                )
    return left


def _cut_section(text: str, max_words: int) -> list[tuple[int, int]]:
    units: list[tuple[int, int]] = []
    for paragraph in _PARAGRAPH.finditer(text):
        if len(paragraph[0].split()) <= max_words:
            units.append(paragraph.span())
        else:
            offset = paragraph.start()
            units += [(offset + s.start(), offset + s.end()) for s in _SENTENCE.finditer(paragraph[0])]
    cut: list[tuple[int, int]] = []
    for start, end in units:
        if cut and len(text[cut[-1][0] : end].split()) <= max_words:
            cut[-1] = (cut[-1][0], end)
        else:
            cut.append((start, end))
    return cut
