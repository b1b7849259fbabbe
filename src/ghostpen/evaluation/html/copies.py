"""What samples copy, marked where it stands in them. Works on texts; the report's numbers are `copying`'s."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ghostpen.data.ngrams import PlacedWord, place_words, read_words
from ghostpen.data.sections import Section
from ghostpen.evaluation.copying import Sample, find_own
from ghostpen.evaluation.spans import SharedSpans, find_shared_spans

MARKED_WORDS = 5
CONTEXT_WORDS = 35
MOST_SHOWN = 3


@dataclass(frozen=True)
class Copy:
    """A sample's longest span that stands in a training text, and what stands around it in the sample.

    Args:
        sample: its place among the samples. words: of the span. document: the one that has the span, too.
        pieces: the sample's text around the span, in order; runs of 5 words or more that are copied are told.
        cut_before, cut_after: the sample goes on there.
    """

    sample: int
    words: int
    document: str
    pieces: tuple[tuple[str, bool], ...]
    cut_before: bool
    cut_after: bool


def find_copies(samples: Sequence[Sample], training: Sequence[Section]) -> list[Copy]:
    """Find the samples that copy most, by their longest span; none below 5 words.

    As in `copying`, 5 words in a row or more that the prompt holds, too, are the prompt's.
    """
    if not training:
        return []
    placed = [place_words(sample.text) for sample in samples]
    words = [[one.word for one in sample] for sample in placed]
    runs = [
        (number, run)
        for number, sample in enumerate(samples)
        for run in find_own(words[number], prompt=sample.prompt)
    ]
    found = find_shared_spans(
        [words[number][run.start : run.stop] for number, run in runs],
        [read_words(section.text) for section in training],
    )
    spans = [_Spans.make_empty(len(sample)) for sample in words]
    for (number, run), shared in zip(runs, found, strict=True):
        spans[number].add(run, shared)
    copies = [
        _cut_out(number, sample.text, placed[number], spans[number], training)
        for number, sample in enumerate(samples)
        if spans[number].lengths.max(initial=0) >= MARKED_WORDS
    ]
    return sorted(copies, key=lambda copy: (-copy.words, copy.sample))[:MOST_SHOWN]


@dataclass(frozen=True)
class _Spans:
    """What all runs of a sample share with the training text, by place in the sample: see `SharedSpans`."""

    lengths: NDArray[np.int64]
    sources: NDArray[np.int64]
    marked: NDArray[np.bool_]

    @classmethod
    def make_empty(cls, words: int) -> "_Spans":
        return cls(np.zeros(words, np.int64), np.zeros(words, np.int64), np.zeros(words, np.bool_))

    def add(self, run: range, shared: SharedSpans) -> None:
        place = slice(run.start, run.stop)
        self.lengths[place], self.sources[place] = shared.lengths, shared.sources
        self.marked[place] = shared.find_covered(MARKED_WORDS)


def _cut_out(sample: int, text: str, words: Sequence[PlacedWord], spans: _Spans, training: Sequence[Section]) -> Copy:
    """Cut the longest span and its surroundings out of a sample, and tell all that is copied in them."""
    first = int(spans.lengths.argmax())
    count = int(spans.lengths[first])
    start, end = max(0, first - CONTEXT_WORDS), min(len(words), first + count + CONTEXT_WORDS)
    pieces: list[tuple[str, bool]] = []
    place = words[start].start
    for is_marked, group in itertools.groupby(range(start, end), key=lambda number: bool(spans.marked[number])):
        if is_marked:
            members = list(group)
            begins = max(place, words[members[0]].start)  # two words may have one place
            pieces += [(text[place:begins], False), (text[begins : words[members[-1]].end], True)]
            place = words[members[-1]].end
    rest = len(text) if end == len(words) else words[end - 1].end
    pieces.append((text[place:rest], False))
    return Copy(
        sample,
        count,
        training[int(spans.sources[first])].document,
        tuple(piece for piece in pieces if piece[0]),
        start > 0,
        end < len(words),
    )
