import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghostpen.data.cleaning import SECTION_CHARS, clean_document, unwrap_lines

PROSE = (
    "Call me Ishmael. Some years ago--never mind how long precisely--having\n"
    "little or no money in my purse, and nothing particular to interest me on\n"
    "shore, I thought I would sail about a little and see the watery part of\n"
    "the world."
)
UNWRAPPED = (
    "Call me Ishmael. Some years ago--never mind how long precisely--having little or no money in my "
    "purse, and nothing particular to interest me on shore, I thought I would sail about a little and "
    "see the watery part of the world."
)
TITLE_PAGE = "MOBY DICK\n\nby Herman Melville\n\n"
ANSWER = "“Yes,” he said, and looked about him a little, as I did, to see the\nwater."
BOOK = f"{TITLE_PAGE}CHAPTER 1. Loomings.\n\n{PROSE}\n\n{ANSWER}\n\nCHAPTER 2\n\n{PROSE} No.\n"


def _clean(text: str) -> tuple[str, ...]:
    return clean_document(text).sections


def test_clean_hard_wrapped_prose_becomes_one_line_and_headings_become_boundaries() -> None:
    cleaned = clean_document(BOOK)
    assert cleaned.sections == (f"{UNWRAPPED}\n\n{ANSWER.replace(chr(10), ' ')}", f"{UNWRAPPED} No.")
    assert cleaned.dropped == {"headings": 4}  # title, author, two chapters


@given(st.integers(0, 3), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(0, 6), st.booleans())
def test_clean_blanks_line_ends_a_common_indent_and_a_bom_change_nothing(
    trailing: int, line_end: str, indent: int, bom: bool
) -> None:
    noisy = BOOK.replace("\n\n", "\n" * (2 + trailing)).replace("\n", f"{' ' * trailing}\n")
    noisy = "".join(" " * indent + line if line.strip() else line for line in noisy.splitlines(keepends=True))
    assert _clean(("\ufeff" if bom else "") + noisy.replace("\n", line_end)) == _clean(BOOK)


@settings(deadline=None)
@given(st.text(alphabet="aB .\n\t_*-—I1\r\u2028", max_size=200))
def test_clean_any_text_leaves_no_empty_section_and_no_stray_blanks(text: str) -> None:
    for section in _clean(text):
        assert section == section.strip()
        assert section
        assert not re.search(r"\n{3}|\r|[ \t]\n|\n |   ", section)


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("a dark-haired, red-", "skinned warrior", "a dark-haired, red-skinned warrior"),
        ("never mind how long--", "having no money", "never mind how long--having no money"),
        ("never mind how long", "—having no money", "never mind how long—having no money"),
        ("never mind how long --", "having no money", "never mind how long -- having no money"),
        ("the village of O——", "was empty", "the village of O——was empty"),
    ],
)
def test_clean_break_at_a_hyphen_or_dash_is_closed_only_where_it_stood_tight(
    first: str, second: str, joined: str
) -> None:
    filler = "x" * (70 - len(first))  # as long as the other lines, so that the break was forced
    assert _clean(f"{PROSE}\n\n{filler} {first}\n{second}\n") == (f"{UNWRAPPED}\n\n{filler} {joined}",)


@pytest.mark.parametrize(
    "verse",
    [
        "    The rib and terrors in the whale,\n    Arched over me a dismal gloom,",  # indented
        "The rib and terrors in the whale,\nArched over me a dismal gloom,\nWhile all the waves rolled by.",
        "Mistress Of All Things, and yet not the mistress of my own\n"
        "Heart, he wrote to me in the summer of that\n"
        "Year; and nobody was ever told of it, neither then nor\nLater, he said.",  # capitals at each line
    ],
)
def test_clean_verse_keeps_its_lines(verse: str) -> None:
    lines = "\n".join(line.strip() for line in verse.splitlines())
    assert _clean(f"{PROSE}\n\n{verse}\n\n{PROSE}\n") == (f"{UNWRAPPED}\n\n{lines}\n\n{UNWRAPPED}",)


def test_clean_letter_wrapped_inside_an_indent_is_unwrapped() -> None:
    letter = (
        "     I have just had the honour of receiving your\n"
        "     letter, for which I beg to return my sincere\n"
        "     acknowledgments, and am much concerned.\n"
    )
    assert _clean(f"{PROSE}\n\n{letter}")[0].endswith(
        "\n\nI have just had the honour of receiving your letter, for which I beg to return my sincere "
        "acknowledgments, and am much concerned."
    )


def test_clean_paragraphs_marked_by_an_indent_are_told_apart() -> None:
    indented = f"    {PROSE}\n    {PROSE}\nIt was the end.\n"
    assert _clean(f"Here.\n\n{indented}") == (f"Here.\n\n{UNWRAPPED}\n\n{UNWRAPPED} It was the end.",)


def test_clean_text_that_was_not_wrapped_has_a_paragraph_per_line() -> None:
    assert _clean(f"{UNWRAPPED}\n{UNWRAPPED}\nShort.\n") == (f"{UNWRAPPED}\n\n{UNWRAPPED}\n\nShort.",)


@pytest.mark.parametrize(
    "heading",
    [
        "CHAPTER XIV",
        "Chapter 1",
        "CHAPTER 1. Loomings.",
        "VOLUME THE FIRST",
        "END OF VOLUME I",
        "BOOK II. (Octavo)",
        "XIV.",
        "7",
        "# A heading in Markdown",
        "_CHAPTER V_",
        "PROLOGUE",
        "THE END",
        "CHAPTER II\nTHE FAUN",
        "CHAPTER II\n\nThe Marble Faun",
        "CHAPTER 122. Midnight Aloft, and what was seen of the whale\nby Thunder and Lightning",
        "CONTENTS\nCHAPTER I. Loomings\nCHAPTER II. The Carpet-Bag",
    ],
)
def test_clean_heading_is_dropped_and_ends_a_section(heading: str) -> None:
    assert _clean(f"It was day.\n\n{heading}\n\nIt was night.\n") == ("It was day.", "It was night.")


@pytest.mark.parametrize(
    "paragraph",
    [
        "Part of her meaning was to conceal it.",
        "Letter after letter came.",
        "It was\nI",  # inside a paragraph a Roman numeral is a word
        "Chapter and verse, he said.",
        "BOOK I. (Folio), CHAPTER I. (Sperm Whale).—This whale, among the\nEnglish of old a Trumpa.",
        "“MIX”",
        "Act one’s age, she said.",
        "LADIES’ ENTRANCE",
    ],
)
def test_clean_paragraph_that_only_looks_like_a_heading_stays(paragraph: str) -> None:
    words = " ".join(_clean(f"It was day.\n\n{paragraph}\n\nIt was night.\n")).split()
    assert words == ["It", "was", "day.", *paragraph.split(), "It", "was", "night."]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("It was _very_ fine, _very fine_.", "It was very fine, very fine."),
        ("_any_thing and every_thing_", "anything and everything"),
        ("a snake_case_name stays", "a snake_case_name stays"),
        ("cafe\u0301 at nai\u0308ve", "café at naïve"),
        ("one\u00a0two\tthree  four     five", "one two three  four five"),
        ("zero\u200bwidth and soft\u00adhyphen", "zerowidth and softhyphen"),
        ("He said <|endoftext|>no<|return|>.", "He said no."),
        ("A day. [Illustration: a whale\nin the sea] A night.", "A day. A night."),
        ('"Straight" and “curly”, -- and —', '"Straight" and “curly”, -- and —'),
    ],
)
def test_clean_marks_that_are_not_the_authors_go_and_the_authors_stay(text: str, cleaned: str) -> None:
    assert _clean(f"{text}\n") == (cleaned,)


def test_clean_gutenberg_header_and_footer_go() -> None:
    text = (
        "The Project Gutenberg EBook of X\n\nThis eBook is for the use of anyone.\n\n"
        "*** START OF THIS PROJECT GUTENBERG EBOOK X\nBY Y ***\n\n\nProduced by Z\n\n\nIt was day.\n\n"
        "End of the Project Gutenberg EBook of X\n\n"
        "*** END OF THIS PROJECT GUTENBERG EBOOK X ***\n\nLicence.\n"
    )
    cleaned = clean_document(text)
    assert cleaned.sections == ("It was day.",)
    assert cleaned.dropped["gutenberg_notices"] == 2


def test_clean_front_matter_of_a_markdown_note_goes_and_a_scene_break_at_the_start_is_none() -> None:
    cleaned = clean_document("---\ntitle: A day\ntags:\n  - sea\n---\n\nIt was day.\n")
    assert (cleaned.sections, cleaned.dropped) == (("It was day.",), {"front_matter": 1})
    kept = _clean("---\n\nIt was day.\n\n---\n\nIt was night.\n")
    assert kept == ("It was day.\n\nIt was night.",)


def test_clean_scene_breaks_go_but_are_no_boundary() -> None:
    assert _clean("It was day.\n\n* * * * *\n\nIt was night.\n") == ("It was day.\n\nIt was night.",)


def test_clean_note_of_a_few_words_is_not_taken_for_a_title() -> None:
    assert _clean("Dear Mary\n\nThe sea was calm today.\n") == ("Dear Mary\n\nThe sea was calm today.",)
    assert _clean("hello there\n") == ("hello there",)


@pytest.mark.parametrize(("chars", "parts"), [(1.4, 1), (1.6, 2), (4.0, 4)])
def test_clean_long_section_is_cut_at_paragraph_ends_into_even_parts(chars: float, parts: int) -> None:
    paragraph = "It was a day like others. " * 20
    text = "\n\n".join([paragraph] * round(chars * SECTION_CHARS / len(paragraph)))
    sections = _clean(text)
    assert len(sections) == parts
    assert max(map(len, sections)) < 1.2 * min(map(len, sections))
    assert set("\n\n".join(sections).split("\n\n")) == {paragraph.strip()}


# Texts whose line ends are the author's, and messages


def test_clean_text_that_is_not_wrapped_keeps_short_lines_and_splits_long_ones() -> None:
    text = f"A line\nand another.\n\n{UNWRAPPED}\n{UNWRAPPED}\n"
    assert clean_document(text, wrapped=False).sections == (f"A line\nand another.\n\n{UNWRAPPED}\n\n{UNWRAPPED}",)


def test_clean_text_that_is_not_wrapped_is_cut_at_its_headings() -> None:
    cleaned = clean_document("The Harbour\n\nCHAPTER I\nIt was day.\n\n## Two\n\nIt was night.\n", wrapped=False)
    assert cleaned.sections == ("It was day.", "It was night.")


def test_clean_message_loses_nothing_that_only_looks_like_a_heading() -> None:
    text = "HAPPY BIRTHDAY\n\nChapter 3\n\nXIV\n\n***\n\n[Illustration: me]\n\n# one\n\nThe end."
    cleaned = clean_document(text, wrapped=False, headings=False)
    assert (cleaned.sections, cleaned.dropped) == ((text,), {})


def test_clean_message_loses_control_tokens_and_halves_of_characters() -> None:
    assert clean_document("a<|end|>b \ud83d", wrapped=False, headings=False).sections == ("ab",)


@pytest.mark.parametrize("text", ["It rained.  It snowed.", "He said -- no - 'no' “no”  …"])
def test_clean_double_blanks_dashes_and_quotes_stay_in_every_kind_of_text(text: str) -> None:
    for wrapped in (True, False):
        for headings in (True, False):
            assert clean_document(text, wrapped=wrapped, headings=headings).sections == (text,)


def test_clean_print_to_a_file_loses_running_heads_and_page_numbers() -> None:
    days = ("Monday brought the boats.", "Tuesday took them.", "On Wednesday nobody\nremembered.")
    pages = [f"THE HARBOUR\n\n{day}\n\n{number}" for number, day in enumerate(days, start=1)]
    cleaned = clean_document("\f".join(pages))
    assert cleaned.dropped == {"running_heads": 3, "page_numbers": 3}
    assert " ".join(cleaned.sections[0].split()) == " ".join(" ".join(days).split())


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("It was [Pg 12] day.", "It was day."), ("It was day.\n{13}\nIt was night.", "It was day. It was night.")],
)
def test_clean_page_numbers_of_gutenberg_go(text: str, cleaned: str) -> None:
    assert " ".join(clean_document(text).sections[0].split()) == cleaned


def test_unwrap_lines_undoes_wraps_and_nothing_else() -> None:
    assert unwrap_lines(f"CHAPTER I\n\n{PROSE}\n\nYours,\nAnn") == f"CHAPTER I\n\n{UNWRAPPED}\n\nYours,\nAnn"


@pytest.mark.parametrize(
    "text",
    [
        "---\n" + " a: b\n" * 60 + "x\n",
        "_" * 100_000,
        "[Illustration" * 20_000,
        "a" + "\t" * 100_000 + "b",
        "\f" * 20_000,
    ],
    ids=["front matter", "underscores", "illustrations", "tabs", "pages"],
)
def test_clean_text_made_to_take_for_ever_ends(text: str) -> None:
    # Each took from minutes to years before the patterns were bounded: pytest's timeout would end it.
    clean_document(text)
