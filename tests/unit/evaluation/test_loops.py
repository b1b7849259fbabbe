"""Loops and ends, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.errors import NothingCountedError
from ghostpen.evaluation.loops import compute_end_rate, compute_loop_rate, has_loop

TWENTY = [str(number) for number in range(20)]


@pytest.mark.parametrize(
    ("words", "loops"),
    [
        (TWENTY + TWENTY, True),
        ([*TWENTY, "between", *TWENTY], True),
        (TWENTY + TWENTY[:19], False),  # 19 words come again
        (["no"] * 21, True),  # the places overlap
        (["no"] * 20, False),
        ([], False),
    ],
)
def test_loop_is_twenty_words_that_come_again(words: list[str], loops: bool) -> None:
    assert has_loop(words) is loops


@given(ids=st.lists(st.integers(0, 1), max_size=14), length=st.integers(1, 5))
def test_loop_of_any_length_is_that_of_the_definition(ids: list[int], length: int) -> None:
    pieces = [ids[start : start + length] for start in range(len(ids) - length + 1)]
    assert has_loop(ids, length=length) == any(pieces.count(piece) > 1 for piece in pieces)


def test_rates_are_shares_of_texts() -> None:
    assert compute_loop_rate([TWENTY + TWENTY, TWENTY, [], ["a"]]) == 0.25
    assert compute_end_rate([True, False, True, True]) == 0.75


def test_rates_of_nothing_are_errors() -> None:
    with pytest.raises(NothingCountedError, match="look for loops in"):
        compute_loop_rate([])
    with pytest.raises(NothingCountedError, match="whose end"):
        compute_end_rate([])
