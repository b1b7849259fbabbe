import pytest

from ghostpen.data.sections import Section
from ghostpen.evaluation.pieces import Piece, count_words, cut_sections, cut_text


def test_sections_become_pieces_of_equal_length_and_keep_their_paragraphs() -> None:
    sections = [Section("a b.\n\nC  d e", "x", "one", 3, True, True), Section("f", "x", "one", 4, True, True)]
    assert cut_sections(sections, words=2) == [Piece("a b.", "x", "one", 3), Piece("C  d", "x", "one", 3)]
    assert cut_sections(sections, words=3) == [Piece("a b.\n\nC", "x", "one", 3)]


@pytest.mark.parametrize(("words", "cut"), [(0, ""), (2, "a\n\nb"), (9, "a\n\nb c!")])
def test_text_is_cut_to_its_first_words(words: int, cut: str) -> None:
    assert cut_text("a\n\nb c! ", words=words) == cut


def test_words_are_what_blanks_separate() -> None:
    assert count_words(" Well -- she\n\ncame. ") == 4
