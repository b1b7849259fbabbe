import ftfy
import pytest
from ftfy.badness import is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpen.data.readers.passages import UnreadableError
from ghostpen.data.readers.plain import decode_text, guess_encoding

GERMAN = "Die Bäume standen grün vor dem Haus, und die Straße führte über den Hügel."
FRENCH = "Il était une fois, près de la forêt, un garçon qui n’avait pas d’âme."
POLISH = "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi."
RUSSIAN = "Все люди рождаются свободными и равными в своем достоинстве и правах."
JAPANESE = "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (FRENCH, "utf-16"),
        (FRENCH, "utf-32"),
    ],
)
def test_decode_unicode_is_read_and_not_counted_as_repaired(text: str, encoding: str) -> None:
    decoded = decode_text(text.encode(encoding))
    assert (decoded.text, decoded.repaired) == (text, False)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("It’s a café — “fine”, he said.", "cp1252"),
        ("one\ncaf\xe9\n", "latin-1"),
        (GERMAN, "cp1252"),
        ("Er sagte: für mich.\nZwei\nZeilen", "cp1252"),
        (FRENCH, "cp1252"),
        ("It’s fine; no accents at all — none…", "cp1252"),
        ("It’s a café — “fine”, and naïve it was; the façade.", "mac_roman"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859_2"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
    ],
)
def test_decode_old_encoding_is_recognised_and_counted(text: str, encoding: str) -> None:
    decoded = decode_text(text.encode(encoding))
    assert (decoded.text, decoded.repaired) == (text, True)


def test_decode_utf8_with_single_bytes_of_windows_among_it_keeps_both() -> None:
    content = (GERMAN * 3).encode() + b" It\x92s mixed."
    assert decode_text(content).text == GERMAN * 3 + " It’s mixed."


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("cafÃ© and naÃ¯ve", "café and naïve"),
        ("Itâ€™s â€œfineâ€\x9d", "It’s “fine”"),
        ("Itâ€™s here\nIt’s there", "It’s here\nIt’s there"),  # each line by itself
    ],
)
def test_decode_text_that_was_decoded_wrongly_before_is_repaired(broken: str, whole: str) -> None:
    decoded = decode_text(broken.encode())
    assert (decoded.text, decoded.repaired) == (whole, True)


@pytest.mark.parametrize("text", ["“Yes”, -- and — he said…  ‘No’", "ÃO PAULO", "naïve ﬁne ½ ™ “", "a\u2028b\x0bc"])
def test_decode_typography_of_a_whole_text_is_left_alone(text: str) -> None:
    decoded = decode_text(text.encode())
    assert (decoded.text, decoded.repaired) == (text, False)


def test_decode_utf16_that_breaks_off_within_a_character_says_so() -> None:
    with pytest.raises(UnreadableError, match="not utf-16 throughout"):
        decode_text("ab".encode("utf-16")[:-1])


def test_guess_encoding_of_a_head_that_ends_within_a_character_is_utf8() -> None:
    assert guess_encoding("é".encode()[:1]) == "utf-8-sig"
    assert guess_encoding(GERMAN.encode("cp1252")) == "cp1252"


MOJIBAKE_PIECES = [
    *("â€™", "Ã©", "Ã", "ГўВЂВ.", "вЂ", "ØÙ", "×", "²", "€", "√", "≈", "°", "œ", "Œ", "\xa0", "\x81", "█", "Â"),
    *("“", "”", "’", "é", "É", "à", "–", "a", "Z", ".", " ", "  ", "\n", "twelve plain words and more of them "),
]


@settings(max_examples=1_000)
@given(st.lists(st.sampled_from(MOJIBAKE_PIECES), max_size=12).map("".join))
def test_mojibake_is_searched_in_part_of_a_text_and_found_where_ftfy_finds_it_in_the_whole(text: str) -> None:
    whole = "".join(ftfy.fix_encoding(line) for line in text.splitlines(keepends=True)) if is_bad(text) else text
    assert decode_text(text.encode()).text == whole
