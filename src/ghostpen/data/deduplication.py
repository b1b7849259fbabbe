"""Keep every passage in one place: no document and no section twice, and nothing in training that is tested on.

Pure functions over sections. What is dropped is always dropped from the less precious side.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, overload

from ghostpen.data.duplicates import find_duplicates
from ghostpen.data.ngrams import hash_ngrams, hash_words, read_words
from ghostpen.data.progress import TOLD_EVERY, Progress, ignore_progress
from ghostpen.data.sections import Section, document_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ghostpen.data.ngrams import Hashes

NGRAM_WORDS = 13
"""Source: the overlap rule of GPT-3 (Brown et al. 2020, appendix C): 13 words are shared only by copying."""

_TABLE_FACTOR = 8  # places of the table for each n-gram
_MOST_TABLE_BITS = 27  # 128 MB; with more n-grams it spares fewer searches
_SLICE = 2**20  # n-grams at once


@dataclass(frozen=True)
class Repeat:
    """A document or section that went, and what it is like, which stays.

    Args:
        document: its `document_key`; likewise kept.
        kept: see document.
        section: its number, and that of the section that stays; None where whole documents are alike.
        kept_section: see section.
        jaccard: as `duplicates.Duplicate` has it; likewise exact.
        exact: see jaccard.
    """

    document: str
    kept: str
    section: int | None
    kept_section: int | None
    jaccard: float
    exact: bool

    @property
    def rule(self) -> str:
        """Return the name under which it is counted."""
        return ("" if self.exact else "near_") + "duplicate_" + ("documents" if self.section is None else "sections")


@dataclass(frozen=True)
class UniqueSections:
    """The sections that are left, in their order, and what went for what."""

    sections: list[Section]
    repeats: list[Repeat]


@dataclass(frozen=True)
class GuardedTrain:
    """The training sections that are left, and how many paragraphs went."""

    sections: list[Section]
    dropped_paragraphs: int


class _JoinedTexts(Sequence[str]):
    """The texts of documents, each joined when it is asked for."""

    def __init__(self, documents: Sequence[Sequence[Section]]) -> None:
        self._documents = documents

    def __len__(self) -> int:
        return len(self._documents)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return _JoinedTexts(self._documents[place])
        return "\n\n".join(section.text for section in self._documents[place])


def drop_repeats(
    sections: Sequence[Section], *, ranks: Mapping[str, int], progress: Progress = ignore_progress
) -> UniqueSections:
    """Drop documents that are another one again, or nearly, and then sections.

    Which of two stays depends on rank, length, content and name, not on the order.

    Args:
        sections: each document's together.
        ranks: of a document, by `document_key`; the lowest stays.
        progress: is told how many are compared, first of documents, then of sections.
    """
    documents = {key: list(group) for key, group in groupby(sections, key=document_key)}
    keys = list(documents)
    texts = _JoinedTexts(list(documents.values()))
    found = find_duplicates(texts, ranks=[ranks[key] for key in keys], names=keys, progress=progress)
    repeats = [Repeat(keys[d.place], keys[d.kept], None, None, d.jaccard, d.exact) for d in found]
    gone = {repeat.document for repeat in repeats}
    left = [section for section in sections if document_key(section) not in gone]
    if all(len(documents[key]) == 1 for key in keys if key not in gone):
        return UniqueSections(left, repeats)
    found = find_duplicates(
        [section.text for section in left],
        ranks=[ranks[document_key(section)] for section in left],
        names=[f"{document_key(section)}/{section.section}" for section in left],
        progress=progress,
    )
    for duplicate in found:
        section, kept = left[duplicate.place], left[duplicate.kept]
        repeats.append(
            Repeat(
                document_key(section),
                document_key(kept),
                section.section,
                kept.section,
                duplicate.jaccard,
                duplicate.exact,
            )  # fmt: skip
        )
    places = {duplicate.place for duplicate in found}
    return UniqueSections([section for i, section in enumerate(left) if i not in places], repeats)


def drop_shared_paragraphs(
    train: Sequence[Section], held_out: Iterable[Section], *, progress: Progress = ignore_progress
) -> GuardedTrain:
    """Drop from train each paragraph with a part in an n-gram of 13 words that a held-out document has too.

    An n-gram may run across paragraphs and sections. A section that loses a paragraph in its middle is closed
    over the gap; one that loses all is gone. The marks of a document's start and end go with the paragraphs that
    carried them.

    Args:
        train: each document's sections together, in reading order; likewise held_out.
        held_out: see train.
        progress: is told how many sections are looked through.
    """
    forbidden = _collect_ngrams(held_out)
    kept: list[Section] = []
    dropped = done = 0
    for _, group in groupby(train, key=document_key):
        sections = list(group)
        if done // TOLD_EVERY < (done + len(sections)) // TOLD_EVERY or done + len(sections) == len(train):
            progress(done + len(sections), len(train))
        done += len(sections)
        texts = [section.text.split("\n\n") for section in sections]
        owned = [(number, place) for number, own in enumerate(texts) for place in range(len(own))]
        words = [hash_words(read_words(texts[number][place])) for number, place in owned]
        left = list(range(len(owned)))
        while shared := _find_shared([words[i] for i in left], forbidden):
            # What is left stands closer together: look again.
            left = [i for place, i in enumerate(left) if place not in shared]
        dropped += len(owned) - len(left)
        for number, mine in groupby([owned[i] for i in left], key=lambda owner: owner[0]):
            kept.append(take_paragraphs(sections[number], texts[number], [place for _, place in mine]))
    return GuardedTrain(kept, dropped)


def take_paragraphs(section: Section, paragraphs: Sequence[str], mine: Sequence[int]) -> Section:
    """Return a section with some of its paragraphs only; start and end go with those that carried their marks."""
    return replace(
        section,
        text="\n\n".join(paragraphs[i] for i in mine),
        starts_document=section.starts_document and mine[0] == 0,
        ends_document=section.ends_document and mine[-1] == len(paragraphs) - 1,
    )


class _NgramSet:
    """Hashes of n-grams, and whether others are among them."""

    def __init__(self, parts: list["Hashes"]) -> None:
        """Take the hashes over: the list is empty afterwards, so that they are not in memory twice."""
        import numpy as np

        self._sorted = np.empty(sum(map(len, parts)), dtype=np.uint64)
        end = len(self._sorted)
        while parts:
            part = parts.pop()
            self._sorted[end - len(part) : end] = part
            end -= len(part)
        self._sorted.sort()
        # A look at one place of a table spares seven of eight the search, which is ten times as long.
        bits = min(max(16, (_TABLE_FACTOR * len(self._sorted)).bit_length()), _MOST_TABLE_BITS)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(2**bits, dtype=bool)
        for start in range(0, len(self._sorted), _SLICE):
            self._table[self._sorted[start : start + _SLICE] >> self._shift] = True

    def find(self, hashes: "Hashes") -> "NDArray[np.intp]":
        """Return the places of those that are among them."""
        import numpy as np

        places: NDArray[np.intp] = np.flatnonzero(self._table[hashes >> self._shift])
        if not len(places):
            return places
        wanted = hashes[places]
        found = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return places[self._sorted[found] == wanted]


def _collect_ngrams(sections: Iterable[Section]) -> _NgramSet:
    import numpy as np

    found: list[Hashes] = []
    for _, group in groupby(sections, key=document_key):
        words = [hash_words(read_words(section.text)) for section in group]
        found.append(hash_ngrams(np.concatenate(words), NGRAM_WORDS))
    return _NgramSet(found)


def _find_shared(paragraphs: Sequence["Hashes"], forbidden: _NgramSet) -> set[int]:
    """Return the places of the paragraphs that have a part in a forbidden n-gram."""
    import numpy as np

    if not paragraphs:
        return set()
    starts = forbidden.find(hash_ngrams(np.concatenate(paragraphs), NGRAM_WORDS))
    if not len(starts):
        return set()
    owners = np.repeat(np.arange(len(paragraphs)), [len(words) for words in paragraphs])
    within = np.unique(starts[:, None] + np.arange(NGRAM_WORDS))
    shared: set[int] = set(np.unique(owners[within]).tolist())
    return shared
