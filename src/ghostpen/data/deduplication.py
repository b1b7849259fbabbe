"""Keep every passage in one place: no document and no section twice, and nothing in training that is tested on.

Pure functions over sections. What is dropped is always dropped from the less precious side.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Generic

from ghostpen.data.duplicates import Prints, find_duplicates
from ghostpen.data.ngrams import hash_ngrams
from ghostpen.data.progress import TOLD_EVERY, Progress, ignore_progress
from ghostpen.data.sections import PARAGRAPH_END, AnySection, S, document_key

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
class UniqueSections(Generic[S]):
    """The sections that are left, in their order, and what went for what."""

    sections: list[S]
    repeats: list[Repeat]


@dataclass(frozen=True)
class GuardedTrain(Generic[S]):
    """The training sections that are left, and how many paragraphs went."""

    sections: list[S]
    dropped_paragraphs: int


@dataclass(frozen=True)
class KnownPrints:
    """Prints that were computed before.

    Args:
        rows: of documents, by `document_key`, and of sections, by that and their number.
    """

    prints: Prints
    rows: Mapping[str | tuple[str, int], int]


def drop_repeats(
    sections: Sequence[S],
    *,
    ranks: Mapping[str, int],
    known: KnownPrints,
    progress: Progress = ignore_progress,
) -> UniqueSections[S]:
    """Drop documents that are another one again, or nearly, and then sections.

    Which of two stays depends on rank, length, content and name, not on the order.

    Args:
        sections: each document's together.
        ranks: of a document, by `document_key`; the lowest stays.
        known: the prints of all documents and sections.
        progress: is told how many are compared, first of documents, then of sections.
    """
    documents = {key: list(group) for key, group in groupby(sections, key=document_key)}
    keys = list(documents)
    found = find_duplicates(
        known.prints.take([known.rows[key] for key in keys]),
        ranks=[ranks[key] for key in keys],
        names=keys,
        read=lambda place: PARAGRAPH_END.join(section.text for section in documents[keys[place]]),
        progress=progress,
    )
    repeats = [Repeat(keys[d.place], keys[d.kept], None, None, d.jaccard, d.exact) for d in found]
    gone = {repeat.document for repeat in repeats}
    left = [section for section in sections if document_key(section) not in gone]
    if all(len(documents[key]) == 1 for key in keys if key not in gone):
        return UniqueSections(left, repeats)
    names = [document_key(section) for section in left]
    found = find_duplicates(
        known.prints.take([known.rows[name, section.section] for name, section in zip(names, left, strict=True)]),
        ranks=[ranks[name] for name in names],
        names=[f"{name}/{section.section}" for name, section in zip(names, left, strict=True)],
        read=lambda place: left[place].text,
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
    train: Sequence[S], held_out: "NgramSet", *, progress: Progress = ignore_progress
) -> GuardedTrain[S]:
    """Drop from train each paragraph with a part in an n-gram of 13 words that a held-out document has too.

    An n-gram may run across paragraphs and sections. A section that loses a paragraph in its middle is closed
    over the gap; one that loses all is gone. The marks of a document's start and end go with the paragraphs that
    carried them.

    Args:
        train: each document's sections together, in reading order.
        held_out: as `collect_ngrams` returns it.
        progress: is told how many sections are looked through.
    """
    kept: list[S] = []
    dropped = done = 0
    for _, group in groupby(train, key=document_key):
        sections = list(group)
        if done // TOLD_EVERY < (done + len(sections)) // TOLD_EVERY or done + len(sections) == len(train):
            progress(done + len(sections), len(train))
        done += len(sections)
        hashed = [section.hash_paragraphs() for section in sections]
        owned = [(number, place) for number, own in enumerate(hashed) for place in range(len(own))]
        left = list(range(len(owned)))
        words = [paragraph for own in hashed for paragraph in own]
        while shared := _find_shared([words[i] for i in left], held_out):
            # What is left stands closer together: look again.
            left = [i for place, i in enumerate(left) if place not in shared]
        dropped += len(owned) - len(left)
        for number, mine in groupby([owned[i] for i in left], key=lambda owner: owner[0]):
            places = [place for _, place in mine]
            is_whole = len(places) == len(hashed[number])
            kept.append(sections[number] if is_whole else sections[number].take_paragraphs(places))
    return GuardedTrain(kept, dropped)


def collect_ngrams(sections: Iterable[AnySection]) -> "NgramSet":
    """Collect the n-grams of 13 words of all documents.

    Args:
        sections: each document's together, in reading order.
    """
    import numpy as np

    blocks: list[Hashes] = []
    waiting: list[Hashes] = []
    size = 0
    for _, group in groupby(sections, key=document_key):
        words = [paragraph for section in group for paragraph in section.hash_paragraphs()]
        waiting.append(hash_ngrams(np.concatenate(words), NGRAM_WORDS))
        size += len(waiting[-1])
        if size >= _SLICE:  # the memory of large blocks is given back when they are done with
            blocks.append(np.concatenate(waiting))
            waiting, size = [], 0
    blocks += waiting
    waiting.clear()
    return NgramSet(blocks)


class NgramSet:
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
        # A look at one place of a table, and for the few that are left at another one, spares nearly all the search,
        # which is ten times as long.
        bits = min(max(16, (_TABLE_FACTOR * len(self._sorted)).bit_length()), _MOST_TABLE_BITS)
        self._shift, self._mask = np.uint64(64 - bits), np.uint64(2**bits - 1)
        self._table = np.zeros(2**bits, dtype=bool)
        for start in range(0, len(self._sorted), _SLICE):
            part = self._sorted[start : start + _SLICE]
            self._table[part >> self._shift] = True
            self._table[part & self._mask] = True

    def find(self, hashes: "Hashes") -> "NDArray[np.intp]":
        """Return the places of those that are among them."""
        import numpy as np

        places: NDArray[np.intp] = np.flatnonzero(self._table[hashes >> self._shift])
        places = places[self._table[hashes[places] & self._mask]]
        if not len(places):
            return places
        wanted = hashes[places]
        found = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return places[self._sorted[found] == wanted]


def _find_shared(paragraphs: Sequence["Hashes"], forbidden: NgramSet) -> set[int]:
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
