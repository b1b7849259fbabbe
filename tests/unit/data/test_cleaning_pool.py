"""Many documents made into units, by one process or by several, anew or from where they lie."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ghostpen.data.cleaning import clean_document
from ghostpen.data.cleaning_pool import CleaningKilled, choose_processes, make_units
from ghostpen.data.counting import load_token_counter
from ghostpen.data.duplicates import compute_prints, join_prints
from ghostpen.data.ngrams import hash_words, read_text, read_words
from ghostpen.data.units import MadeUnit, RawText


@pytest.fixture(scope="module")
def texts(make_prose: Callable[[str, int], str]) -> list[RawText]:
    """Write six texts of 600 kB, two of which are a unit, and one which holds nothing."""
    prose = [f"CHAPTER I\n\n{make_prose(f'w{i}x', 60_000)}" for i in range(6)]
    return [RawText(text, wrapped=i != 3, headings=i != 5) for i, text in enumerate([*prose, " \n"])]


def _make(texts: list[RawText], folder: Path, processes: int) -> tuple[list[MadeUnit], list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    made = make_units(
        iter(texts),
        folder,
        unified=False,
        counter=load_token_counter(),
        total=sum(len(text.text) for text in texts),
        progress=lambda *numbers: told.append(numbers),
        processes=processes,
    )
    return list(made), told


def _read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def alone(texts: list[RawText], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MadeUnit]]:
    """Make the units in one process."""
    folder = tmp_path_factory.mktemp("alone")
    made, told = _make(texts, folder, 1)
    total = sum(len(text.text) for text in texts)
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1] == (total, total)
    return folder, made


def test_units_hold_the_texts_that_cleaning_leaves(texts: list[RawText], alone: tuple[Path, list[MadeUnit]]) -> None:
    found = [one.unit.read_section(place) for one in alone[1] for place in range(len(one.unit.sizes))]
    cleaned = [clean_document(text.text, wrapped=text.wrapped, headings=text.headings) for text in texts]
    assert found == [section for document in cleaned for section in document.sections]
    assert [count for one in alone[1] for count in one.sections] == [len(document.sections) for document in cleaned]


def test_units_are_the_same_of_one_process_and_of_two(
    texts: list[RawText], alone: tuple[Path, list[MadeUnit]], tmp_path: Path
) -> None:
    _, told = _make(texts, tmp_path, 2)
    assert _read_files(tmp_path) == _read_files(alone[0])
    assert len(told) == len(alone[1])


def test_little_text_is_cleaned_by_one_process_and_much_by_one_a_core() -> None:
    cores = len(os.sched_getaffinity(0))
    assert [choose_processes(chars) for chars in (0, 16 * 1024**2 - 1, 16 * 1024**2)] == [1, 1, cores]


def test_units_numbers_are_those_of_their_texts(alone: tuple[Path, list[MadeUnit]]) -> None:
    counter = load_token_counter()
    for one in alone[1]:
        texts = [one.unit.read_section(place) for place in range(len(one.unit.sizes))]
        assert one.unit.words.tolist() == [len(text.split()) for text in texts]
        assert one.unit.tokens.tolist() == counter.count(texts)
        for place, text in enumerate(texts):
            hashed = one.unit.hash_paragraphs(place)
            expected = [hash_words(read_words(part)) for part in text.split("\n\n")]
            assert [words.tolist() for words in hashed] == [words.tolist() for words in expected]
    # A document of several sections has a print for all of them, then one for each.
    first = alone[1][0]
    count = first.sections[0]
    assert count > 1
    texts = [first.unit.read_section(place) for place in range(count)]
    read = [[read_text(part) for part in text.split("\n\n")] for text in ["\n\n".join(texts), *texts]]
    expected_prints = compute_prints(read)
    rows = first.prints.take(range(count + 1))
    assert np.array_equal(rows.signatures, expected_prints.signatures)
    assert np.array_equal(rows.exact, expected_prints.exact)
    assert len(join_prints([rows, rows])) == 2 * count + 2


def test_unit_that_lies_there_is_taken_up_and_one_that_is_not_whole_is_made_again(
    texts: list[RawText], alone: tuple[Path, list[MadeUnit]], tmp_path: Path
) -> None:
    _make(texts, tmp_path, 1)
    first, second, third, *others = sorted(tmp_path.glob("*.npz"))
    first.write_bytes(first.read_bytes()[:-100])
    second.with_suffix(".txt").write_bytes(b"other")
    third.unlink()
    times = {path: path.stat().st_mtime_ns for path in others}
    made, _ = _make(texts, tmp_path, 1)
    assert _read_files(tmp_path) == _read_files(alone[0])
    assert {path: path.stat().st_mtime_ns for path in others} == times
    assert [one.sections for one in made] == [one.sections for one in alone[1]]


def test_units_in_a_process_that_is_killed_say_so_and_what_was_made_stays(
    texts: list[RawText], alone: tuple[Path, list[MadeUnit]], tmp_path: Path
) -> None:
    def kill(_done: int, _total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    total = sum(len(text.text) for text in texts)
    with pytest.raises(CleaningKilled, match="a process that cleans texts was killed.*run the same command"):
        list(
            make_units(
                texts, tmp_path, unified=False, counter=load_token_counter(), total=total, progress=kill, processes=2
            )
        )
    assert multiprocessing.active_children() == []
    assert list(tmp_path.glob("*.npz"))
    _make(texts, tmp_path, 1)
    made = {name: content for name, content in _read_files(tmp_path).items() if ".part" not in name}
    assert made == _read_files(alone[0])


def test_units_that_nobody_takes_any_more_are_made_by_no_process(texts: list[RawText], tmp_path: Path) -> None:
    def fail(_done: int, _total: int) -> None:
        raise RuntimeError

    counter = load_token_counter()
    made = make_units(texts, tmp_path, unified=False, counter=counter, total=1, progress=fail, processes=2)
    with pytest.raises(RuntimeError) as held:  # the error holds the frames, and so all that is not closed
        next(made)
    assert (multiprocessing.active_children(), held.type) == ([], RuntimeError)


def test_units_of_nothing_are_none(tmp_path: Path) -> None:
    assert _make([], tmp_path, 1) == ([], [])
