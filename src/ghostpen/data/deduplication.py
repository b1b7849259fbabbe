"""Keep every passage in one place: no section twice, and nothing in training that is tested on.

Pure functions over sections. What is dropped is always dropped from the less precious side.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ghostpen.data.ngrams import normalise, read_words
from ghostpen.data.sections import Section

NGRAM_WORDS = 13
"""Source: the overlap rule of GPT-3 (Brown et al. 2020, appendix C): 13 words are shared only by copying."""


@dataclass(frozen=True)
class GuardedTrain:
    """The training sections that are left, and how many paragraphs went."""

    sections: list[Section]
    dropped_paragraphs: int


def drop_duplicate_sections(sections: Iterable[Section]) -> list[Section]:
    """Keep the first of any sections with the same words, whatever their case, blanks and typography.

    The order decides which one stays: pass test sections before val before train.
    """
    first: dict[str, Section] = {}
    for section in sections:
        first.setdefault(" ".join(normalise(section.text).split()), section)
    return list(first.values())


def drop_shared_paragraphs(train: Iterable[Section], held_out: Iterable[Section]) -> GuardedTrain:
    """Drop from train each paragraph with a part in an n-gram of 13 words that a held-out section has too.

    A section that loses a paragraph in its middle is closed over the gap; one that loses all is gone. The
    marks of a document's start and end go with the paragraphs that carried them.
    """
    forbidden = {ngram for section in held_out for ngram in _iterate_ngrams(read_words(section.text))}
    kept: list[Section] = []
    dropped = 0
    for section in train:
        paragraphs = section.text.split("\n\n")
        left = list(range(len(paragraphs)))
        while shared := _find_shared([(i, paragraphs[i]) for i in left], forbidden):
            left = [i for i in left if i not in shared]  # what is left stands closer together: look again
        dropped += len(paragraphs) - len(left)
        if left:
            kept.append(
                replace(
                    section,
                    text="\n\n".join(paragraphs[i] for i in left),
                    starts_document=section.starts_document and left[0] == 0,
                    ends_document=section.ends_document and left[-1] == len(paragraphs) - 1,
                )
            )
    return GuardedTrain(kept, dropped)


def _find_shared(paragraphs: Sequence[tuple[int, str]], forbidden: set[int]) -> set[int]:
    owned = [(word, number) for number, paragraph in paragraphs for word in read_words(paragraph)]
    shared: set[int] = set()
    for start, ngram in enumerate(_iterate_ngrams([word for word, _ in owned])):
        if ngram in forbidden:
            shared.update(number for _, number in owned[start : start + NGRAM_WORDS])
    return shared


def _iterate_ngrams(words: Sequence[str]) -> Iterator[int]:
    """Yield a hash per n-gram; hashes differ between processes, but which of them are equal does not."""
    return map(hash, zip(*(words[i:] for i in range(NGRAM_WORDS)), strict=False))
