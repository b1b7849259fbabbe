"""How much of what a model wrote is copied, word for word, from given texts.

Owns what counts as copied: words in a row, whatever their case, blanks and punctuation, as `ghostpen prepare` keeps
its splits apart. Pure functions over texts; must not know models or files.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ghostpen.data.deduplication import NGRAM_WORDS
from ghostpen.data.ngrams import hash_ngrams, hash_words, read_words
from ghostpen.data.sections import Section
from ghostpen.errors import NothingCountedError
from ghostpen.evaluation.spans import SharedSpans, find_shared_spans

COPY_WORDS = NGRAM_WORDS
"""From so many words in a row on it is a copy: a person's works share fewer with each other."""

PROMPT_WORDS = 5
"""So many words in a row that the prompt holds, too, are the prompt's, and are left out."""

EXTRACTION_TOKENS = 50
"""Source: Carlini et al. 2023, "Quantifying memorization across neural language models", section 3."""


@dataclass(frozen=True)
class Sample:
    """A text that was written, and what the writer was given to begin with."""

    text: str
    prompt: str = ""


@dataclass(frozen=True)
class CopiedSpan:
    """Words in a row that stand in a document, too; the quote is in lower case and without punctuation."""

    words: int
    document: str
    quote: str


@dataclass(frozen=True)
class Copying:
    """What samples have in common with texts.

    Args:
        samples: how many there were.
        words: in all of them, without what is the prompt's.
        longest_mean: words of a sample's longest span, mean over the samples.
        longest: of all samples; None where they share no word.
        coverage_5: share of the words that are part of a span of 5 words or more; likewise coverage_8 and _13.
        coverage_8: see coverage_5.
        coverage_13: see coverage_5.
        share_13: share of the samples with a span of 13 words or more; likewise share_50.
        share_50: see share_13.
    """

    samples: int
    words: int
    longest_mean: float
    longest: CopiedSpan | None
    coverage_5: float
    coverage_8: float
    coverage_13: float
    share_13: float
    share_50: float


def compute_copying(samples: Sequence[Sample], sources: Sequence[Section]) -> Copying:
    """Compute what samples copy from sources. A span ends with its sample and with its section.

    Raises:
        NothingCountedError: there is no sample with a word of its own, or no source.
    """
    return _compute([_trim_prompt(sample) for sample in samples], sources)


def compute_floor(samples: Sequence[Sample], *, real: Sequence[Section], sources: Sequence[Section]) -> Copying:
    """Compute the same of real text that is no copy: pieces as long as the samples usually are.

    Beside it the samples' numbers mean something: the longer a piece, the more it shares by chance.

    Args:
        samples: whose median length is taken.
        real: a person's text, such as a held-out work of the same author.
        sources: as for `compute_copying`.

    Raises:
        NothingCountedError: no sample has a word, or the real text is shorter than one of them.
    """
    counts = [count for sample in samples if (count := sum(map(len, _trim_prompt(sample))))]
    if not counts:
        raise NothingCountedError("no sample has a word, so there is nothing to hold real text against")
    size = round(statistics.median(counts))
    return _compute([[piece] for piece in cut_pieces(real, words=size)], sources)


def cut_pieces(sections: Iterable[Section], *, words: int) -> Iterator[list[str]]:
    """Cut sections into pieces of so many words; what is left over at a section's end is left out."""
    for section in sections:
        found = read_words(section.text)
        for start in range(0, len(found) - words + 1, words):
            yield found[start : start + words]


def find_copy(sample: Sample, sources: Sequence[Section], *, min_words: int = COPY_WORDS) -> CopiedSpan | None:
    """Find a sample's longest copied span, if it has `min_words` or more."""
    pieces = _trim_prompt(sample)
    if not any(pieces) or not sources:
        return None
    longest = _compute([pieces], sources).longest
    return longest if longest is not None and longest.words >= min_words else None


class CopyIndex:
    """Sources, read once, to look for copies in one sample after the other."""

    def __init__(self, sources: Sequence[Section]) -> None:
        """Hash every run of `COPY_WORDS` words of the sources."""
        self._sources = sources
        found = [hash_ngrams(hash_words(read_words(section.text)), COPY_WORDS) for section in sources]
        hashes = np.concatenate([np.empty(0, np.uint64), *found])
        owners = np.repeat(np.arange(len(found)), [len(ngrams) for ngrams in found])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], owners[order]

    def find_copy(self, sample: Sample) -> CopiedSpan | None:
        """Find what `find_copy` finds, in the few sources that can hold it."""
        ngrams = [hash_ngrams(hash_words(piece), COPY_WORDS) for piece in _trim_prompt(sample)]
        hashes = np.unique(np.concatenate([np.empty(0, np.uint64), *ngrams]))
        first, last = (np.searchsorted(self._hashes, hashes, side=side) for side in ("left", "right"))
        owners = {int(owner) for start, end in zip(first, last, strict=True) for owner in self._owners[start:end]}
        return find_copy(sample, [self._sources[owner] for owner in sorted(owners)])


@dataclass(frozen=True)
class Window:
    """Two neighbouring pieces of a training text: what a model is given, and what follows there. Token ids."""

    prefix: tuple[int, ...]
    truth: tuple[int, ...]


def choose_windows(texts: Sequence[Sequence[int]], *, count: int, seed: int) -> list[Window]:
    """Draw windows of 50 + 50 tokens that don't overlap, from all texts; fewer where there are no more.

    Args:
        texts: token ids of the training texts.
    """
    size = 2 * EXTRACTION_TOKENS
    places = [(number, start) for number, text in enumerate(texts) for start in range(0, len(text) - size + 1, size)]
    chosen = sorted(random.Random(seed).sample(places, min(count, len(places))))
    return [
        Window(
            tuple(texts[number][start : start + EXTRACTION_TOKENS]),
            tuple(texts[number][start + EXTRACTION_TOKENS : start + size]),
        )
        for number, start in chosen
    ]


def compute_extraction(windows: Sequence[Window], continuations: Sequence[Sequence[int]]) -> float:
    """Compute E50: the share of windows that a model, taking the likeliest tokens, goes on with to the letter.

    It is to be computed before and after a training: of a book that the base model has read, some comes back anyway.

    Args:
        windows: as `choose_windows` draws them.
        continuations: token ids that the model wrote after each prefix; what follows the 50th is not looked at.

    Raises:
        NothingCountedError: there is no window, or not a continuation for each.
    """
    if not windows or len(windows) != len(continuations):
        raise NothingCountedError(
            f"{len(windows)} windows of training text and {len(continuations)} continuations: give one for each"
        )
    hits = sum(
        tuple(written[:EXTRACTION_TOKENS]) == window.truth
        for window, written in zip(windows, continuations, strict=True)
    )
    return hits / len(windows)


def find_own(words: Sequence[str], *, prompt: str) -> list[range]:
    """Find the runs of a sample's words that it does not have from its prompt, by place."""
    [spans] = find_shared_spans([words], [read_words(prompt)])
    own = ~spans.find_covered(PROMPT_WORDS)
    runs = [list(group) for is_own, group in itertools.groupby(range(len(words)), key=own.__getitem__) if is_own]
    return [range(run[0], run[-1] + 1) for run in runs]


def _trim_prompt(sample: Sample) -> list[list[str]]:
    """Return the words of a sample, without those that it has from its prompt; where some are left out, it is cut."""
    words = read_words(sample.text)
    return [words[run.start : run.stop] for run in find_own(words, prompt=sample.prompt)]


def _compute(samples: Sequence[Sequence[list[str]]], sources: Sequence[Section]) -> Copying:
    """Compute from samples that are cut into pieces; one without words doesn't count."""
    counted = [pieces for pieces in samples if any(pieces)]
    if not counted or not sources:
        raise NothingCountedError(
            "nothing to look for copies in: "
            + ("no sample has a word of its own" if sources else "there is no text that could have been copied")
        )
    source_words = [read_words(section.text) for section in sources]
    pieces = [piece for group in counted for piece in group]
    found = iter(find_shared_spans(pieces, source_words))
    spans = [list(itertools.islice(found, len(group))) for group in counted]
    longest = [max(span.longest for span in group) for group in spans]
    words = sum(map(len, pieces))
    flat = [span for group in spans for span in group]

    def cover(least: int) -> float:
        return sum(int(span.find_covered(least).sum()) for span in flat) / words

    def share(least: int) -> float:
        return sum(length >= least for length in longest) / len(longest)

    return Copying(
        samples=len(counted),
        words=words,
        longest_mean=statistics.fmean(longest),
        longest=_quote_longest(pieces, flat, sources),
        coverage_5=cover(5),
        coverage_8=cover(8),
        coverage_13=cover(13),
        share_13=share(13),
        share_50=share(50),
    )


def _quote_longest(
    pieces: Sequence[list[str]], spans: Sequence[SharedSpans], sources: Sequence[Section]
) -> CopiedSpan | None:
    piece, span = max(zip(pieces, spans, strict=True), key=lambda pair: pair[1].longest)
    if not span.longest:
        return None
    start = int(span.lengths.argmax())
    document = sources[int(span.sources[start])].document
    return CopiedSpan(span.longest, document, " ".join(piece[start : start + span.longest]))
