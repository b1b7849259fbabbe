import random
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostpen.data.deduplication import Repeat, UniqueSections, drop_repeats
from ghostpen.data.duplicates import LEAST_JACCARD, Duplicate, compute_jaccard, compute_prints, find_duplicates
from ghostpen.data.ngrams import PlacedWord, hash_ngrams, hash_words, place_words, read_text, read_words
from ghostpen.data.sections import Section, document_key

FIXTURES_ARE_PURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
MakeSection = Callable[..., Section]


def _find(texts: list[str], ranks: list[int] | None = None, names: list[str] | None = None) -> list[Duplicate]:
    return find_duplicates(
        compute_prints([[read_text(part) for part in text.split("\n\n")] for text in texts]),
        ranks=ranks or [0] * len(texts),
        names=names or [f"{i:03}" for i in range(len(texts))],
        read=texts.__getitem__,
    )


def _work_out_jaccard(a: str, b: str) -> float:
    """Work it out on sets of words: shares no code with ghostpen."""
    sets = []
    for text in (a, b):
        words = re.findall(r"\w+", text.lower())
        sets.append({tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@st.composite
def letters(draw: st.DrawFn) -> str:
    """Draw a letter that is one of three, with up to eight words changed: some are alike by more than 0.8."""
    base = draw(st.integers(0, 2))
    words = [f"b{base}w{i}" for i in range(draw(st.integers(60, 100)))]
    for place in draw(st.lists(st.integers(0, 59), max_size=8)):
        words[place] = f"x{draw(st.integers(0, 3))}"
    return " ".join(words)


@settings(max_examples=200)
@given(st.lists(letters(), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_no_two_texts_that_stay_are_alike_and_each_that_goes_is_like_one_that_stays(
    texts: list[str], order: random.Random
) -> None:
    found = _find(texts)
    gone = {duplicate.place for duplicate in found}
    left = [i for i in range(len(texts)) if i not in gone]
    for i in left:
        assert all(_work_out_jaccard(texts[i], texts[j]) < LEAST_JACCARD for j in left if j < i)
    for duplicate in found:
        assert duplicate.kept in left
        assert duplicate.jaccard == pytest.approx(_work_out_jaccard(texts[duplicate.place], texts[duplicate.kept]))
        assert duplicate.jaccard >= LEAST_JACCARD
        assert duplicate.exact is (texts[duplicate.place] == texts[duplicate.kept])
    shuffled = list(texts)
    order.shuffle(shuffled)
    gone_then = {duplicate.place for duplicate in _find(shuffled)}
    assert sorted(texts[i] for i in left) == sorted(text for i, text in enumerate(shuffled) if i not in gone_then)


def test_jaccard_is_the_share_of_5_grams_that_both_have() -> None:
    # 6 and 7 words: 2 and 3 5-grams, of which 2 are the same: 2 of 3
    assert compute_jaccard("a b c d e f", "A, b c d — e f g!") == pytest.approx(2 / 3)
    assert compute_jaccard("one two", "One two.") == 1.0  # shorter than a 5-gram: all of it is one
    assert compute_jaccard("one two", "one two three") == 0.0
    assert compute_jaccard("!", "?") == 0.0


@pytest.mark.parametrize(("changed", "goes"), [(4, True), (5, False)])
def test_near_duplicate_goes_from_a_jaccard_of_0_8_on(changed: int, goes: bool) -> None:
    # Of 200 words, 196 5-grams; each changed word, 10 apart, takes 5 of them, so 196-5c of 196+5c are shared:
    # with 4 changed words 176/216 = 0.81, with 5 171/221 = 0.77.
    words = [f"w{i}" for i in range(200)]
    other = [f"x{i}" if i % 10 == 9 and i < 10 * changed else word for i, word in enumerate(words)]
    found = _find([" ".join(words), " ".join(other)])
    assert [round(duplicate.jaccard, 2) for duplicate in found] == ([0.81] if goes else [])


def test_duplicates_with_other_case_blanks_and_typography_are_exact_and_other_punctuation_is_near() -> None:
    first = "It is ﬁne, so far as I know."
    found = _find([first, "it  IS\n\nfine, so far as I know.", "It is fine; so far as I know!", "It was fine."])
    assert [(d.place, d.kept, d.jaccard, d.exact) for d in found] == [(0, 1, 1.0, True), (2, 1, 1.0, False)]


def test_of_like_texts_the_one_of_the_lowest_rank_stays_then_the_longest_then_one_by_name() -> None:
    long = " ".join(f"w{i}" for i in range(100))
    short = long.removesuffix(" w99")
    assert [d.place for d in _find([long, short])] == [1]
    assert [d.place for d in _find([long, short], [1, 0])] == [0]
    assert [d.place for d in _find([long, long], names=["b", "a"])] == [0]


def test_texts_without_words_are_not_alike() -> None:
    assert _find(["!!!", "???", "", "…"]) == []


def test_thousands_of_letters_off_one_template_are_told_apart() -> None:
    # 40 words in common and 60 of their own: alike by about a fourth, and so all stay.
    template = " ".join(f"t{i}" for i in range(40))
    texts = [f"{template} " + " ".join(f"n{number}w{i}" for i in range(60)) for number in range(4_000)]
    texts.append(texts[77].replace("n77w0 ", "other "))
    assert [(d.place, d.kept) for d in _find(texts)] == [(4_000, 77)]


# Documents, then sections


def _drop(sections: list[Section], ranks: dict[str, int] | None = None) -> UniqueSections:
    return drop_repeats(sections, ranks={document_key(section): 0 for section in sections} | (ranks or {}))


def _document(make_section: MakeSection, name: str, *texts: str) -> list[Section]:
    last = len(texts) - 1
    return [
        make_section(text, document=name, section=i, starts_document=i == 0, ends_document=i == last)
        for i, text in enumerate(texts)
    ]


def test_repeated_documents_go_whole_however_they_are_cut_into_sections(
    make_section: MakeSection, make_prose: Callable[[str, int], str]
) -> None:
    first, second = make_prose("a", 400).strip(), make_prose("b", 400).strip()
    book = _document(make_section, "book", first, second)
    again = _document(make_section, "again", f"{first}\n\n{second}")
    unique = _drop([*again, *book], {document_key(book[0]): -1})
    assert unique.sections == book
    (repeat,) = unique.repeats
    assert repeat == Repeat(document_key(again[0]), document_key(book[0]), None, None, 1.0, exact=True)
    assert repeat.rule == "duplicate_documents"


def test_repeated_section_goes_alone_and_says_what_for(
    make_section: MakeSection, make_prose: Callable[[str, int], str]
) -> None:
    shared = make_prose("s", 300).strip()
    one = _document(make_section, "one", make_prose("a", 400).strip(), shared)
    two = _document(make_section, "two", shared.replace("s7 ", "seven "), make_prose("b", 900).strip())
    unique = _drop([*one, *two], {document_key(one[0]): -1})
    assert unique.sections == [*one, two[1]]
    (repeat,) = unique.repeats
    assert (repeat.document, repeat.section, repeat.kept, repeat.kept_section) == (
        document_key(two[0]), 0, document_key(one[0]), 1,
    )  # fmt: skip
    assert repeat.rule == "near_duplicate_sections"
    assert 0.9 < repeat.jaccard < 1


# Hashes of n-grams


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 6))
def test_hashes_of_ngrams_are_equal_where_the_ngrams_are(words: list[str], length: int) -> None:
    ngrams = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    hashes = hash_ngrams(hash_words(words), length).tolist()
    assert len(hashes) == len(ngrams)
    for i, hashed in enumerate(hashes):
        assert [other == hashed for other in hashes] == [other == ngrams[i] for other in ngrams]


def test_words_are_case_folded_letters_and_digits() -> None:
    assert read_words("Don’t_STOP—the 2nd ﬁne Straße!") == ["don", "t", "stop", "the", "2nd", "fine", "strasse"]


def test_places_are_those_of_the_words_in_the_text() -> None:
    assert place_words("Don’t, ﬁne") == [PlacedWord("don", 0, 3), PlacedWord("t", 4, 5), PlacedWord("fine", 7, 10)]
    assert place_words("(a\u0308h) x") == [PlacedWord("äh", 0, 5), PlacedWord("x", 6, 7)]
    assert place_words("a 1\u2100") == [PlacedWord("a", 0, 1), PlacedWord("1a", 2, 4), PlacedWord("c", 2, 4)]


# Letters, marks that join with them, Hangul parts, signs that are several words or hold a blank, and any text.
ODD_TEXTS = st.text(st.sampled_from("aS\u0308\u0301\u1100\u1161\u2100\u00b4\u037aß½ \u00a0\u3000\n_-"), max_size=12)


@given(text=ODD_TEXTS | st.text(max_size=12))
def test_placed_words_are_the_words_that_are_read(text: str) -> None:
    assert [one.word for one in place_words(text)] == read_words(text)
