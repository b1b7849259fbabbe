"""What samples copy, marked where it stands in them. Works on texts; the report's numbers are `copying`'s."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostpen.data.ngrams import read_words
from ghostpen.data.sections import Section
from ghostpen.evaluation.copying import PROMPT_WORDS, Sample
from ghostpen.evaluation.spans import find_shared_spans

MARKED_WORDS = 5
CONTEXT_WORDS = 35
MOST_SHOWN = 3

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Copy:
    """A sample's longest span that stands in a training text, and what stands around it in the sample.

    Args:
        sample: its place among the samples. words: of the span. document: the one that has the span, too.
        pieces: the sample's text around the span, in order; those that are copied are told.
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
    placed = [_place_words(sample.text) for sample in samples]
    if not training or not any(placed):
        return []
    own = [
        _cut_prompt([word for word, _, _ in words], sample.prompt)
        for words, sample in zip(placed, samples, strict=True)
    ]
    pieces = [(number, start, end) for number, group in enumerate(own) for start, end in group]
    queries = [[word for word, _, _ in placed[number][start:end]] for number, start, end in pieces]
    spans = find_shared_spans(queries, [read_words(section.text) for section in training])
    longest: dict[int, Copy] = {}
    for (number, start, _), found in zip(pieces, spans, strict=True):
        if found.longest >= MARKED_WORDS and (number not in longest or found.longest > longest[number].words):
            first = int(found.lengths.argmax())
            covered = np.zeros(len(placed[number]), dtype=bool)
            covered[start : start + len(found.lengths)] = found.find_covered(MARKED_WORDS)
            document = training[int(found.sources[first])].document
            longest[number] = _cut_out(
                number, samples[number].text, placed[number], start + first, found.longest, covered, document
            )
    return sorted(longest.values(), key=lambda copy: (-copy.words, copy.sample))[:MOST_SHOWN]


def _cut_out(
    sample: int,
    text: str,
    words: Sequence[tuple[str, int, int]],
    first: int,
    count: int,
    covered: "np.ndarray",
    document: str,
) -> Copy:
    """Cut the span and its surroundings out of a sample, and tell what of them is copied."""
    start, end = max(0, first - CONTEXT_WORDS), min(len(words), first + count + CONTEXT_WORDS)
    pieces: list[tuple[str, bool]] = []
    place = words[start][1]
    for is_copied, group in itertools.groupby(range(start, end), key=lambda number: bool(covered[number])):
        members = list(group)
        if is_copied:
            pieces.append((text[place : words[members[0]][1]], False))
            pieces.append((text[words[members[0]][1] : words[members[-1]][2]], True))
            place = words[members[-1]][2]
    rest = len(text) if end == len(words) else words[end - 1][2]
    pieces.append((text[place:rest], False))
    return Copy(sample, count, document, tuple(piece for piece in pieces if piece[0]), start > 0, end < len(words))


def _place_words(text: str) -> list[tuple[str, int, int]]:
    """Return the words, as `ngrams` reads them, each with where it begins and ends in the text."""
    return [(word, found.start(), found.end()) for found in _WORD.finditer(text) for word in read_words(found[0])]


def _cut_prompt(words: Sequence[str], prompt: str) -> list[tuple[int, int]]:
    """Return the runs of words that are not the prompt's, as first and last + 1."""
    if not words:
        return []
    [spans] = find_shared_spans([words], [read_words(prompt)])
    of_prompt = spans.find_covered(PROMPT_WORDS)
    runs = (
        list(group)
        for is_prompt, group in itertools.groupby(range(len(words)), key=of_prompt.__getitem__)
        if not is_prompt
    )
    return [(run[0], run[-1] + 1) for run in runs]
