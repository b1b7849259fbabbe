"""Copying: what counts, worked by hand on short texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.data.sections import Section
from ghostpen.errors import NothingCountedError
from ghostpen.evaluation.copying import (
    CopiedSpan,
    CopyIndex,
    Sample,
    Window,
    choose_windows,
    compute_copying,
    compute_extraction,
    compute_floor,
    cut_pieces,
    find_copy,
)


def make_section(text: str, document: str = "emma", section: int = 0) -> Section:
    return Section(text, "Jane Austen", document, section, starts_document=True, ends_document=True)


def count(start: int, end: int, letter: str = "w") -> str:
    return " ".join(f"{letter}{number}" for number in range(start, end))


SOURCE = make_section(count(0, 100))


def test_copying_of_two_samples_is_as_worked_by_hand() -> None:
    # 20 words, of which 6 and 9 in a row are copied; then 20 words, all their own.
    samples = [
        Sample(f"{count(0, 6)} {count(0, 3, 'x')} {count(40, 49)} {count(3, 5, 'x')}"),
        Sample(count(0, 20, "y")),
    ]
    found = compute_copying(samples, [make_section(count(0, 9, "z"), "persuasion"), SOURCE])
    assert (found.samples, found.words, found.longest_mean) == (2, 40, 4.5)
    assert found.longest == CopiedSpan(9, "emma", count(40, 49))
    assert (found.coverage_5, found.coverage_8, found.coverage_13) == (15 / 40, 9 / 40, 0)
    assert (found.share_13, found.share_50) == (0, 0)


@pytest.mark.parametrize(("words", "share_13", "share_50"), [(12, 0, 0), (13, 0.5, 0), (49, 0.5, 0), (50, 0.5, 0.5)])
def test_share_of_samples_counts_from_13_and_from_50_words(words: int, share_13: float, share_50: float) -> None:
    found = compute_copying([Sample(count(0, words)), Sample("one of its own")], [SOURCE])
    assert (found.share_13, found.share_50) == (share_13, share_50)
    assert found.coverage_13 == (words / (words + 4) if words >= 13 else 0)


def test_copy_is_one_whatever_its_case_blanks_and_punctuation() -> None:
    source = make_section("It is a truth, universally acknowledged; that a single man --")
    copy = find_copy(Sample("IT IS\na  truth universally “acknowledged”, that a single man!"), [source], min_words=10)
    assert copy == CopiedSpan(10, "emma", "it is a truth universally acknowledged that a single man")


def test_span_ends_with_its_section_and_its_sample() -> None:
    sections = [make_section(count(0, 10)), make_section(count(10, 20), section=1)]
    found = compute_copying([Sample(count(5, 15)), Sample(count(15, 20))], sections)
    assert found.longest is not None and found.longest.words == 5
    assert found.longest_mean == 5


def test_words_of_the_prompt_are_no_copy_but_what_follows_is() -> None:
    # The sample says 6 words of its prompt again, goes on with 5 from the same text, then 2 of its own.
    sample = Sample(f"{count(0, 11)} a b", prompt=f"{count(0, 6)} and on")
    found = compute_copying([sample], [SOURCE])
    assert (found.words, found.longest) == (7, CopiedSpan(5, "emma", count(6, 11)))
    # 4 words in common with the prompt are no repetition of it.
    found = compute_copying([Sample(count(0, 11), prompt=count(0, 4))], [SOURCE])
    assert (found.words, found.longest) == (11, CopiedSpan(11, "emma", count(0, 11)))


def test_words_left_out_do_not_join_what_is_around_them() -> None:
    # Without the prompt's 5 words, w0 w1 w2 and w3 w4 would stand together.
    sample = Sample(f"{count(0, 3)} {count(0, 5, 'p')} {count(3, 5)}", prompt=count(0, 5, "p"))
    assert compute_copying([sample], [SOURCE]).longest == CopiedSpan(3, "emma", count(0, 3))


def test_sample_that_only_repeats_its_prompt_does_not_count() -> None:
    samples = [Sample(count(0, 20), prompt=count(0, 20)), Sample(""), Sample("w1 x")]
    assert compute_copying(samples, [SOURCE]).samples == 1
    with pytest.raises(NothingCountedError, match="no sample has a word of its own"):
        compute_copying(samples[:2], [SOURCE])
    with pytest.raises(NothingCountedError, match="no text that could have been copied"):
        compute_copying(samples, [])
    assert find_copy(samples[0], [SOURCE]) is None


@pytest.mark.parametrize(("words", "is_copy"), [(12, False), (13, True)])
def test_find_copy_finds_13_words_and_no_fewer(words: int, is_copy: bool) -> None:
    copy = find_copy(Sample(f"x {count(30, 30 + words)} y"), [SOURCE])
    assert copy == (CopiedSpan(words, "emma", count(30, 30 + words)) if is_copy else None)


def test_samples_that_share_no_word_have_no_longest_span() -> None:
    found = compute_copying([Sample("none of these")], [SOURCE])
    assert (found.longest, found.longest_mean) == (None, 0)


def test_floor_cuts_real_text_as_long_as_the_median_sample() -> None:
    samples = [Sample(count(0, length, "s")) for length in (3, 4, 9)]
    # Pieces of 4: w0..w3 is shared whole, "r0 r1 w4 w5" in 2 words; "r2 r3" is left over.
    real = make_section(f"{count(0, 4)} r0 r1 w4 w5 r2 r3", "persuasion")
    floor = compute_floor(samples, real=[real], sources=[SOURCE])
    assert (floor.samples, floor.words, floor.longest_mean) == (2, 8, 3)
    with pytest.raises(NothingCountedError, match="no sample has a word of its own"):
        compute_floor(samples, real=[make_section("too short")], sources=[SOURCE])
    with pytest.raises(NothingCountedError, match="nothing to hold real text against"):
        compute_floor([Sample("...")], real=[real], sources=[SOURCE])


def test_pieces_do_not_reach_over_sections() -> None:
    sections = [make_section("a b c d e"), make_section("f g h", section=1)]
    assert list(cut_pieces(sections, words=2)) == [["a", "b"], ["c", "d"], ["f", "g"]]


def test_windows_are_neighbouring_pieces_that_do_not_overlap() -> None:
    texts = [list(range(250)), list(range(1000, 1099)), list(range(2000, 2100))]
    windows = choose_windows(texts, count=9, seed=0)
    assert [(window.prefix[0], window.prefix[-1], window.truth[0], window.truth[-1]) for window in windows] == [
        (0, 49, 50, 99),
        (100, 149, 150, 199),
        (2000, 2049, 2050, 2099),
    ]
    assert len(choose_windows(texts, count=2, seed=0)) == 2
    assert choose_windows(texts, count=2, seed=5) == choose_windows(texts, count=2, seed=5)


def test_extraction_counts_fifty_right_tokens_and_nothing_less() -> None:
    truth = tuple(range(50))
    windows = [Window((7,), truth)] * 4
    continuations = [list(truth), [*truth, 999], list(truth[:49]), [*truth[:49], 999]]
    assert compute_extraction(windows, continuations) == 0.5
    with pytest.raises(NothingCountedError, match="4 windows of training text and 3 continuations"):
        compute_extraction(windows, continuations[:3])
    with pytest.raises(NothingCountedError):
        compute_extraction([], [])


# Pieces of one long text, with a word between that stands nowhere else: copies of 10 to 16 words, and their prompts.
PIECES = st.lists(st.tuples(st.integers(0, 40), st.integers(10, 16)), max_size=3).map(
    lambda pieces: " x ".join(count(start, start + words) for start, words in pieces)
)


@given(text=PIECES, prompt=PIECES, sources=st.lists(PIECES, max_size=3))
def test_index_of_copies_finds_what_a_search_finds(text: str, prompt: str, sources: list[str]) -> None:
    sections = [make_section(source, f"work {number}") for number, source in enumerate(sources)]
    sample = Sample(text, prompt=prompt)
    by_search, by_index = find_copy(sample, sections), CopyIndex(sections).find_copy(sample)
    if by_search is None or by_index is None:
        assert by_index == by_search
    else:
        assert (by_index.words, by_index.quote) == (by_search.words, by_search.quote)
        [source] = [section.text for section in sections if section.document == by_index.document]
        assert by_index.quote in source
