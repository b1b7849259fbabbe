"""Shared spans: exact against the definition, written out as three loops."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.evaluation.spans import SharedSpans, find_shared_spans

# Few different words, so that long spans, overlaps and repeats are common; texts may be empty, and there may be none.
WORDS = st.lists(st.sampled_from("abc"), max_size=12)
TEXTS = st.lists(WORDS, max_size=4)


def measure_by_definition(text: Sequence[str], sources: Sequence[Sequence[str]]) -> list[int]:
    """Compare every place of the text with every place of every source, word by word."""
    longest = []
    for start in range(len(text)):
        lengths = [0]
        for source in sources:
            for place in range(len(source)):
                length = 0
                while text[start + length : start + length + 1] == source[place + length : place + length + 1] != []:
                    length += 1
                lengths.append(length)
        longest.append(max(lengths))
    return longest


@given(texts=TEXTS, sources=TEXTS)
def test_spans_of_any_texts_are_those_of_the_definition(texts: list[list[str]], sources: list[list[str]]) -> None:
    found = find_shared_spans(texts, sources)
    assert [list(spans.lengths) for spans in found] == [measure_by_definition(text, sources) for text in texts]


@given(texts=TEXTS, sources=TEXTS)
def test_source_of_a_span_holds_it(texts: list[list[str]], sources: list[list[str]]) -> None:
    for text, spans in zip(texts, find_shared_spans(texts, sources), strict=True):
        for start, (length, source) in enumerate(zip(spans.lengths, spans.sources, strict=True)):
            if length:
                held = "".join(sources[source])
                assert "".join(text[start : start + length]) in held


@given(copied=st.integers(1, 300), before=st.integers(0, 20))
def test_span_of_any_length_is_found_whole(copied: int, before: int) -> None:
    source = [f"s{number}" for number in range(400)]
    text = [f"t{number}" for number in range(before)] + source[50 : 50 + copied] + ["new"]
    [spans] = find_shared_spans([text], [source])
    assert list(spans.lengths) == [0] * before + list(range(copied, 0, -1)) + [0]
    assert (spans.longest, int(spans.find_covered(copied).sum())) == (copied, copied)


def test_spans_do_not_go_on_from_one_source_or_text_into_the_next() -> None:
    found = find_shared_spans([["a", "b"], ["c", "d"]], [["x", "a"], ["b", "c", "d", "y"]])
    assert [list(spans.lengths) for spans in found] == [[1, 1], [2, 1]]
    assert [list(spans.sources) for spans in found] == [[0, 1], [1, 1]]


@given(lengths=st.lists(st.integers(0, 5), max_size=8), least=st.integers(1, 5))
def test_covered_words_are_those_of_long_enough_spans(lengths: list[int], least: int) -> None:
    lengths = [min(length, len(lengths) - start) for start, length in enumerate(lengths)]  # none beyond the end
    spans = SharedSpans(np.array(lengths, dtype=np.int64), np.zeros(len(lengths), dtype=np.int64))
    covered = {
        place for start, length in enumerate(lengths) if length >= least for place in range(start, start + length)
    }
    assert set(np.flatnonzero(spans.find_covered(least))) == covered


@pytest.mark.parametrize(("texts", "sources", "longest"), [([], [["a"]], []), ([[]], [], [0]), ([["a"]], [], [0])])
def test_nothing_shares_nothing(texts: list[list[str]], sources: list[list[str]], longest: list[int]) -> None:
    assert [spans.longest for spans in find_shared_spans(texts, sources)] == longest
