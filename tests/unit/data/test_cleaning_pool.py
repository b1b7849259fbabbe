import multiprocessing
from collections.abc import Callable

import pytest

from ghostpen.data.cleaning import clean_document
from ghostpen.data.cleaning_pool import RawText, clean_documents
from ghostpen.errors import DataError


@pytest.fixture(scope="module")
def texts(make_prose: Callable[[str, int], str]) -> list[RawText]:
    """Write ten texts of 600 kB, five chunks, one of which holds nothing."""
    prose = [f"CHAPTER I\n\n{make_prose(f'w{i}x', 60_000)}" for i in range(10)]
    return [RawText(text, wrapped=i != 3, headings=i != 5) for i, text in enumerate([*prose, " \n"])]


def _clean(texts: list[RawText], processes: int) -> tuple[list[tuple[str, ...]], list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    total = sum(len(text.text) for text in texts)
    cleaned = clean_documents(
        iter(texts), total=total, progress=lambda *numbers: told.append(numbers), processes=processes
    )
    return [document.sections for document in cleaned], told


def test_clean_documents_is_the_same_in_one_process_and_in_two(texts: list[RawText]) -> None:
    alone, told_alone = _clean(texts, 1)
    together, told = _clean(texts, 2)
    assert together == alone
    assert alone == [
        clean_document(text.text, wrapped=text.wrapped, headings=text.headings).sections for text in texts
    ]
    assert told == told_alone
    total = sum(len(text.text) for text in texts)
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1] == (total, total)


def test_clean_documents_in_a_process_that_is_killed_says_so(texts: list[RawText]) -> None:
    def kill(_done: int, _total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    total = sum(len(text.text) for text in texts)
    with pytest.raises(DataError, match="a process that cleans texts was killed"):
        list(clean_documents(texts, total=total, progress=kill, processes=2))
    assert multiprocessing.active_children() == []


def test_clean_documents_of_nothing_is_nothing() -> None:
    assert _clean([], 1) == ([], [])
