from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.data.passages import Passage, PassageFinder, plan_passages, take_out
from ghostpen.data.sections import Section

MakeSection = Callable[..., Section]


def _write(name: str, words: int) -> str:
    return " ".join(f"{name}{i}" for i in range(words)) + "."


def test_finder_finds_words_whatever_the_blanks_and_gives_the_texts_own(make_section: MakeSection) -> None:
    sections = [make_section("One two."), make_section("A  b\nc.\n\nD e f.", section=1)]
    found = PassageFinder(sections).find(" b c. D\te\n")
    assert found == Passage(1, 3, 12)
    assert found.read(sections) == "b\nc.\n\nD e"


@pytest.mark.parametrize("text", ["b c. D e f. g", "two. A", "ne two.", "", " \n"])
def test_finder_gives_none_for_what_is_not_there_whole(make_section: MakeSection, text: str) -> None:
    sections = [make_section("One two."), make_section("A b c. D e f.", section=1)]
    assert PassageFinder(sections).find(text) is None


@given(st.lists(st.sampled_from(["a", "bb", "c.", "\n", " ", "\n\n"]), min_size=1, max_size=40), st.data())
def test_finder_finds_every_run_of_words(parts: list[str], data: st.DataObject) -> None:
    section = Section(" ".join(parts), "A", "a", 0, starts_document=True, ends_document=True)
    words = section.text.split()
    if not words:
        return
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    found = PassageFinder([section]).find("  ".join(words[start:end]))
    assert found is not None
    assert found.read([section]).split() == words[start:end]


def test_passages_are_whole_paragraphs_up_to_the_limit(make_section: MakeSection) -> None:
    text = "\n\n".join([_write("a", 40), _write("b", 40), _write("c", 40), _write("d", 20)])
    planned = plan_passages([make_section(text)], max_words=100, seed=0)
    texts = sorted(passage.read([make_section(text)]) for passage in planned)
    assert texts == [f"{_write('a', 40)}\n\n{_write('b', 40)}", f"{_write('c', 40)}\n\n{_write('d', 20)}"]


def test_passages_long_paragraph_is_cut_at_sentence_ends_and_a_long_sentence_left_out(
    make_section: MakeSection,
) -> None:
    text = f"{_write('a', 60)} {_write('b', 60)} {_write('c', 120)}\n\nShort."
    planned = plan_passages([make_section(text)], max_words=100, seed=0)
    assert sorted(passage.read([make_section(text)]) for passage in planned) == [_write("a", 60), _write("b", 60)]


def test_passages_are_shuffled_by_seed(make_section: MakeSection) -> None:
    section = make_section("\n\n".join(_write(f"p{i}w", 90) for i in range(20)))
    orders = [plan_passages([section], max_words=100, seed=seed) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == set(orders[2])
    assert len(orders[0]) == 20


def test_take_out_leaves_the_rest_and_joins_nothing_over_a_gap(make_section: MakeSection) -> None:
    sections = [
        make_section("one TWO three", section=4, ends_document=False),
        make_section("four", section=5, starts_document=False, ends_document=False),
        make_section("five SIX", section=6, starts_document=False),
        make_section("seven", document="persuasion"),
    ]
    left = take_out(sections, [Passage(2, 5, 8), Passage(0, 4, 7)])
    assert [(s.text, s.document, s.starts_document, s.ends_document) for s in left] == [
        ("one", "emma", True, False),
        ("three", "emma", False, False),
        ("four", "emma", False, False),
        ("five", "emma", False, False),
        ("seven", "persuasion", True, True),
    ]
    numbers = [section.section for section in left]
    follows = [b == a + 1 for a, b in zip(numbers, numbers[1:], strict=False)]
    assert follows[:3] == [False, True, True]  # three, four and five go on from each other, one does not


def test_take_out_nothing_keeps_sections_that_follow_and_gaps(make_section: MakeSection) -> None:
    sections = [make_section("a", section=0), make_section("b", section=1), make_section("c", section=3)]
    numbers = [section.section for section in take_out(sections, [])]
    assert numbers[1] == numbers[0] + 1
    assert numbers[2] > numbers[1] + 1
