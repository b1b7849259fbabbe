"""How many words in a row two sets of texts share: exact, by sorting all suffixes of both at once.

Owns the search alone. It is given texts as sequences of words and must not know what a word is, or a file.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

Words = Sequence[str]


@dataclass(frozen=True)
class SharedSpans:
    """For each word of one text: how many words from it on stand somewhere in the sources, and where.

    Args:
        lengths: shape (words,); 0 where the sources don't hold the word.
        sources: shape (words,): the number of a source that holds the span; means nothing where the length is 0.
    """

    lengths: IntArray
    sources: IntArray

    @property
    def longest(self) -> int:
        """Return the words of the longest shared span."""
        return int(self.lengths.max(initial=0))

    def find_covered(self, min_words: int) -> NDArray[np.bool_]:
        """Tell of each word whether it is part of a shared span of `min_words` words or more."""
        starts = np.flatnonzero(self.lengths >= min_words)
        change = np.zeros(len(self.lengths) + 1, dtype=np.int64)
        np.add.at(change, starts, 1)
        np.add.at(change, starts + self.lengths[starts], -1)
        return np.cumsum(change)[:-1] > 0


def find_shared_spans(texts: Sequence[Words], sources: Sequence[Words]) -> list[SharedSpans]:
    """Find the longest shared span at every word of every text.

    All suffixes of texts and sources are sorted together. What a text's suffix shares with its nearest neighbour
    from the sources, above or below, is the most it shares with any of them. Spans end with their text.

    Source:
        Prefix doubling: Manber and Myers 1993, "Suffix arrays: a new method for on-line string searches".
    """
    numbers, owners = _number_words([*sources, *texts])
    first_query = sum(len(source) + 1 for source in sources)
    levels = _rank_prefixes(numbers, enough=max((len(text) for text in texts), default=0))
    queries = np.arange(first_query, len(numbers))
    lengths, places = np.zeros(len(queries), dtype=np.int64), np.zeros(len(queries), dtype=np.int64)
    for neighbours in _find_neighbours(levels[-1], first_query=first_query):
        there = neighbours >= 0
        shared = np.zeros(len(queries), dtype=np.int64)
        shared[there] = _measure_shared(levels, queries[there], neighbours[there])
        better = shared > lengths
        lengths[better], places[better] = shared[better], neighbours[better]
    bounds = np.cumsum([0, *(len(text) + 1 for text in texts)])
    return [
        SharedSpans(lengths[start : end - 1], owners[places[start : end - 1]])
        for start, end in itertools.pairwise(bounds)
    ]


def _number_words(texts: Sequence[Words]) -> tuple[IntArray, IntArray]:
    """Number the words of all texts, each text ended by a number of its own, and name the text of each."""
    known: dict[str, int] = {}
    for text in texts:
        for word in text:
            known.setdefault(word, len(known))
    numbers = [
        number
        for end, text in enumerate(texts, start=len(known))
        for number in itertools.chain(map(known.__getitem__, text), [end])
    ]
    owners = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    return np.array(numbers, dtype=np.int64), owners


def _rank_prefixes(numbers: IntArray, *, enough: int) -> list[IntArray]:
    """Rank every suffix by its first 1, 2, 4, ... words, until `enough` words are compared.

    Equal ranks mean equal words. What would reach beyond the last text holds its end, and so is unique before.
    """
    levels, compared = [numbers], 1
    while compared < enough + 1:
        after = np.zeros(len(numbers), dtype=np.int64)
        after[:-compared] = levels[-1][compared:] + 1
        _, ranks = np.unique(levels[-1] * (len(numbers) + 1) + after, return_inverse=True)
        levels.append(ranks)
        compared *= 2
    return levels


def _find_neighbours(ranks: IntArray, *, first_query: int) -> tuple[IntArray, IntArray]:
    """Return for each query suffix the place of the nearest source suffix before and after it, or -1."""
    order = np.argsort(ranks, kind="stable")
    is_source = order < first_query
    steps = np.arange(len(order))
    before = np.maximum.accumulate(np.where(is_source, steps, -1))
    after = np.minimum.accumulate(np.where(is_source, steps, len(order))[::-1])[::-1]
    found = np.append(order, -1)  # so that both "none before" (-1) and "none after" (len) lead to -1
    above, below = np.empty_like(order), np.empty_like(order)
    above[order], below[order] = found[before], found[after]
    return above[first_query:], below[first_query:]


def _measure_shared(levels: Sequence[IntArray], left: IntArray, right: IntArray) -> IntArray:
    """Count the words that each pair of suffixes has in common at its beginning."""
    shared = np.zeros(len(left), dtype=np.int64)
    for level in range(len(levels) - 1, -1, -1):
        ranks = levels[level]
        last = len(ranks) - 1
        same = ranks[np.minimum(left + shared, last)] == ranks[np.minimum(right + shared, last)]
        shared += same * 2**level
    return shared
