import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostpen.data.ngrams import read_words
from ghostpen.data.typography import unify_typography


@pytest.mark.parametrize(
    ("text", "expected", "changes"),
    [
        ("“It’s ‘so’,” he said.", "\"It's 'so',\" he said.", 5),
        ("„Ja“, sagte er. »Nein«", '"Ja", sagte er. "Nein"', 4),
        ("here -- there — and--so ― on", "here—there—and—so—on", 4),
        ("a – b, 1914–18, Franco–German", "a—b, 1914-18, Franco-German", 3),
        ("so - it seems; well-known", "so—it seems; well-known", 1),
        ("- a bullet\n- and another", "- a bullet\n- and another", 0),
        ("Well… no. . . yes", "Well... no... yes", 3),
        ("One.  Two.   Three.", "One. Two. Three.", 2),
        ("a verse,\n  and its end --\nnext", "a verse,\n and its end—\nnext", 2),
        ("Spelling, CASE and olde “wayes”", 'Spelling, CASE and olde "wayes"', 2),
    ],
)
def test_typography_is_made_the_same_and_counted(text: str, expected: str, changes: int) -> None:
    unified = unify_typography(text)
    assert (unified.text, unified.changes) == (expected, changes)


@given(st.text(alphabet="ab1 \n.-–—―…“”‘’\"'«»"))
def test_typography_that_is_unified_stays_and_no_word_is_lost(text: str) -> None:
    unified = unify_typography(text).text
    assert unify_typography(unified).text == unified
    assert read_words(unified) == read_words(text)
    assert unified.count("\n") == text.count("\n")
    assert not set(unified) & set("–―…“”‘’«»")
    assert "--" not in unified and "  " not in unified
