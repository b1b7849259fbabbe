from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostpen.data.deduplication import NGRAM_WORDS, drop_duplicate_sections, drop_shared_paragraphs
from ghostpen.data.sections import AUTHOR_SPLITS, Section
from ghostpen.data.splitting import GAP_WORDS, SplitSections, document_key, split_sections
from ghostpen.errors import DataError

FIXTURES_ARE_PURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
MakeSection = Callable[..., Section]


def _split(sections: list[Section], fixed: dict[str, str] | None = None, seed: int = 0) -> SplitSections:
    return split_sections(sections, fixed=fixed or {}, seed=seed, whose="the author's texts")


def _documents(split: SplitSections) -> dict[str, set[str]]:
    return {name: {section.document for section in rows} for name, rows in split.splits.items()}


@FIXTURES_ARE_PURE
@given(
    st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=3), min_size=3, max_size=12),
    st.integers(0, 99),
)
def test_split_three_or_more_documents_are_never_shared_and_none_is_lost(
    make_section: MakeSection, sizes: list[list[int]], seed: int
) -> None:
    sections = [
        make_section("x" * size, document=f"doc{i}", section=j)
        for i, parts in enumerate(sizes)
        for j, size in enumerate(parts)
    ]
    split = _split(sections, seed=seed)
    documents = _documents(split)
    assert all(documents[name] for name in AUTHOR_SPLITS)
    assert sum(map(len, documents.values())) == len(sizes)
    assert sorted((s.document, s.section) for rows in split.splits.values() for s in rows) == sorted(
        (s.document, s.section) for s in sections
    )
    assert not split.within_document
    assert split == _split(sections, seed=seed)


def test_split_many_equal_documents_come_near_80_10_10_and_follow_the_seed(make_section: MakeSection) -> None:
    sections = [make_section("x" * 100, document=f"doc{i}") for i in range(40)]
    split = _split(sections)
    assert [len(split.splits[name]) for name in AUTHOR_SPLITS] == [32, 4, 4]
    assert _documents(split) != _documents(_split(sections, seed=1))


def test_split_fixed_documents_go_where_they_were_put(make_section: MakeSection) -> None:
    sections = [
        make_section("x" * size, document=name) for name, size in [("a", 500), ("b", 10), ("c", 10), ("d", 9)]
    ]
    fixed = {document_key(sections[0]): "test", document_key(sections[1]): "val"}
    assert _documents(_split(sections, fixed)) == {"train": {"c", "d"}, "val": {"b"}, "test": {"a"}}


def test_split_same_title_by_two_authors_is_two_documents(make_section: MakeSection) -> None:
    sections = [make_section("x" * 100, document="poems", author=author) for author in ("a", "b", "c")]
    assert sorted(len(rows) for rows in _split(sections).splits.values()) == [1, 1, 1]


def test_split_no_document_left_for_train_says_so(make_section: MakeSection) -> None:
    section = make_section("x")
    with pytest.raises(DataError, match="no document is left for train and val"):
        _split([section], {document_key(section): "test"})


@FIXTURES_ARE_PURE
@given(st.integers(100, 400), st.integers(1, 7))
def test_split_single_document_is_divided_in_order_with_gaps(
    make_section: MakeSection, make_prose: Callable[[str, int], str], paragraphs: int, chapters: int
) -> None:
    texts = make_prose("w", 50 * paragraphs).strip().split("\n\n")
    bounds = [len(texts) * i // chapters for i in range(chapters + 1)]
    sections = [
        make_section("\n\n".join(texts[a:b]), section=i, starts_document=i == 0, ends_document=i == chapters - 1)
        for i, (a, b) in enumerate(pairwise(bounds))
    ]
    split = _split(sections)
    assert split.within_document
    words = {
        name: [int(word.strip("w.")) for s in rows for word in s.text.split()] for name, rows in split.splits.items()
    }
    for earlier, later in [("train", "val"), ("val", "test")]:
        assert min(words[later]) - max(words[earlier]) > GAP_WORDS
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in words.values())
    usable = 50 * paragraphs - 2 * GAP_WORDS
    for name, share in [("train", 0.8), ("val", 0.1), ("test", 0.1)]:
        assert abs(len(words[name]) - share * usable) <= 100  # two paragraphs
    starts = [s for rows in split.splits.values() for s in rows if s.starts_document]
    ends = [s for rows in split.splits.values() for s in rows if s.ends_document]
    assert [starts[0], ends[0]] == [split.splits["train"][0], split.splits["test"][-1]]
    assert len(starts) == len(ends) == 1


def test_split_two_documents_divide_the_longer_and_train_on_the_other(
    make_section: MakeSection, make_prose: Callable[[str, int], str]
) -> None:
    sections = [
        make_section(make_prose("a", 8000).strip(), document="a"),
        make_section("b " * 900, document="b"),
    ]
    split = _split(sections)
    assert _documents(split) == {"train": {"a", "b"}, "val": {"a"}, "test": {"a"}}
    assert split.within_document


def test_split_single_document_with_fixed_others_is_divided_only_for_what_is_missing(
    make_section: MakeSection, make_prose: Callable[[str, int], str]
) -> None:
    sections = [
        make_section(make_prose("a", 8000).strip(), document="a"),
        make_section("b " * 900, document="b"),
    ]
    split = _split(sections, {document_key(sections[1]): "test"})
    assert _documents(split) == {"train": {"a"}, "val": {"a"}, "test": {"b"}}
    assert split.splits["val"][-1].ends_document


def test_split_single_document_that_is_too_short_says_how_long_it_must_be(make_section: MakeSection) -> None:
    with pytest.raises(DataError, match=r"'emma' has 4,999 words.*needs 5,000"):
        _split([make_section("word " * 4999)])


def test_split_single_paragraph_that_is_too_long_to_be_divided_says_so(make_section: MakeSection) -> None:
    with pytest.raises(DataError, match="paragraphs too long"):
        _split([make_section("word " * 6000)])


def test_duplicates_case_blanks_and_typography_are_no_difference_and_the_first_stays(
    make_section: MakeSection,
) -> None:
    first, other = make_section("It is ﬁne.", document="a"), make_section("It was fine.", document="b")
    copies = [make_section("it  IS\n\nfine.", document=name) for name in "cd"]
    assert drop_duplicate_sections([first, *copies, other]) == [first, other]


@FIXTURES_ARE_PURE
@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), min_size=1, max_size=6), st.data())
def test_guard_leaves_no_ngram_of_13_words_that_is_held_out(
    make_section: MakeSection, paragraphs: list[list[str]], data: st.DataObject
) -> None:
    train = make_section("\n\n".join(" ".join(words) for words in paragraphs))
    every_word = train.text.split()
    start = data.draw(st.integers(0, len(every_word)))
    held_out = make_section(" ".join(every_word[start : start + 20]).upper())
    forbidden = held_out.text.lower().split()
    guarded = drop_shared_paragraphs([train], [held_out])
    for section in guarded.sections:
        words = section.text.split()
        for ngram in zip(*(words[i:] for i in range(NGRAM_WORDS)), strict=False):
            assert f" {' '.join(ngram)} " not in f" {' '.join(forbidden)} "
    left = sum(len(section.text.split("\n\n")) for section in guarded.sections)
    assert left + guarded.dropped_paragraphs == len(paragraphs)


@pytest.mark.parametrize(("shared", "dropped"), [(12, 0), (13, 1)])
def test_guard_drops_the_paragraph_from_13_shared_words_on(
    make_section: MakeSection, shared: int, dropped: int
) -> None:
    quoted = [f"q{i}" for i in range(shared)]
    train = make_section(f"One.\n\nTwo {' '.join(quoted)} two.\n\nThree.")
    guarded = drop_shared_paragraphs([train], [make_section(f"“{', '.join(quoted).upper()}!”")])
    assert guarded.dropped_paragraphs == dropped
    assert (guarded.sections[0].text == "One.\n\nThree.") == bool(dropped)
    assert guarded.sections[0].ends_document


def test_guard_looks_again_where_a_dropped_paragraph_brings_two_others_together(
    make_section: MakeSection,
) -> None:
    first, second = ([f"{letter}{i}" for i in range(13)] for letter in "pq")
    train = make_section("\n\n".join(" ".join(words) for words in (first[:6], second, first[6:])))
    held_out = [make_section(" ".join(words)) for words in (first, second)]
    assert drop_shared_paragraphs([train], held_out).sections == []


def test_guard_moves_the_end_mark_with_the_paragraph_that_carried_it(make_section: MakeSection) -> None:
    quoted = " ".join(f"q{i}" for i in range(13))
    guarded = drop_shared_paragraphs([make_section(f"One.\n\n{quoted}")], [make_section(quoted)])
    assert guarded.sections == [make_section("One.", ends_document=False)]
