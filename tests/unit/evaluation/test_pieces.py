import pytest

from ghostpen.data.sections import Section
from ghostpen.evaluation.pieces import Piece, count_words, cut_sections, cut_text, spread


def test_sections_become_pieces_of_equal_length_and_keep_their_paragraphs() -> None:
    sections = [Section("a b.\n\nC  d e", "x", "one", 3, True, True), Section("f", "x", "one", 4, True, True)]
    assert cut_sections(sections, words=2) == [Piece("a b.", "x", "one", 3), Piece("C  d", "x", "one", 3)]
    assert cut_sections(sections, words=3) == [Piece("a b.\n\nC", "x", "one", 3)]
    assert cut_sections(sections, words=3)[0].place == "x/one/3"


@pytest.mark.parametrize(("words", "cut"), [(0, ""), (2, "a\n\nb"), (9, "a\n\nb c!")])
def test_text_is_cut_to_its_first_words(words: int, cut: str) -> None:
    assert cut_text("a\n\nb c! ", words=words) == cut


def test_words_are_what_blanks_separate() -> None:
    assert count_words(" Well -- she\n\ncame. ") == 4


@pytest.mark.parametrize(
    ("count", "chosen"), [(0, ""), (1, "d"), (2, "be"), (3, "bdf"), (6, "abcdef"), (7, "abcdef")]
)
def test_spread_chooses_at_even_distances(count: int, chosen: str) -> None:
    assert "".join(spread("abcdef", count)) == chosen
