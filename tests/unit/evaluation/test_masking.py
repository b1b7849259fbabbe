"""Masking: what is kept is everybody's, and a change of topic changes nothing."""

import pytest

from ghostpen.evaluation.masking import KEPT_WORDS, choose_kept_words, mask_tokens, read_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("“Don’t!” said Mr. X — 12 times…", '" Don\'t ! " said Mr . X — 12 times . . .'),
        ('"Don\'t!" said Mr. X--12 times...', '" Don\'t ! " said Mr . X — 12 times . . .'),
        ("_Élise_ l'a vu", "Élise l'a vu"),  # an underscore is a letter to \w, and emphasis to an edition
        ("", ""),
    ],
)
def test_tokens_are_the_same_in_any_typography(text: str, tokens: str) -> None:
    assert " ".join(read_tokens(text)) == tokens


def test_kept_words_are_those_of_the_author_and_of_others_alike() -> None:
    # Shares of pieces: the author's "the" 1, "sea" 1, "a" 1/2, "tom" 1/2; others' mean "the" 1, "a" 1/2, "whale" 1.
    tokens = {
        "own": [["the", "sea", "sea", "tom"], ["the", "sea", "a"]],
        "x": [["the", "a", "whale"]],
        "y": [["the", "whale"]],
    }
    assert choose_kept_words(tokens, author="own") == {"the", "a"}


def test_most_shared_words_are_kept_and_no_more() -> None:
    words = [f"w{chr(97 + place // 26)}{chr(97 + place % 26)}" for place in range(KEPT_WORDS + 5)]
    tokens = {"own": [words, words[-1:]], "other": [words]}
    kept = choose_kept_words(tokens, author="own")
    assert len(kept) == KEPT_WORDS
    assert words[-1] in kept  # in both of the author's pieces
    assert kept == {words[-1], *words[: KEPT_WORDS - 1]}


def test_names_are_not_kept_however_common() -> None:
    piece = ["Darcy", "Mr", "I", "I'm", "May", "may", "The"]
    tokens = {"own": [[*piece, *["May"] * 8, "the"]], "other": [piece]}
    # "may" is in lower case 2 of 12 times; "mr" and "darcy" never; one letter is no name.
    assert choose_kept_words(tokens, author="own") == {"i", "i'm", "may", "the"}


def test_masked_text_keeps_marks_and_kept_words_only() -> None:
    tokens = read_tokens('"The 3 whales," Ahab said; THE end.')
    assert " ".join(mask_tokens(tokens, frozenset({"the", "said"}))) == '" the 0 * , " A said ; the * .'


def test_other_names_and_topics_leave_the_same_masked_text() -> None:
    kept = frozenset({"the", "was", "in", "of"})
    novel = read_tokens("The carriage of Lady Catherine was in Kent, in 1811.")
    space = read_tokens("The rocket of Commander Zog was in Orion, in 2411.")
    assert mask_tokens(novel, kept) == mask_tokens(space, kept)
