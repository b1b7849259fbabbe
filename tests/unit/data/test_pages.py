from collections import Counter

import pytest

from ghostpen.data.pages import SOFT_BREAK, Line, drop_running_lines, join_pages


def make_pages(*pages: str) -> list[list[Line]]:
    return [[Line(text) for text in page.split("\n")] for page in pages]


def show(pages: list[list[Line]]) -> list[str]:
    return ["\n".join(line.text for line in page) for page in pages]


def test_running_heads_and_page_numbers_go_and_text_at_the_edge_stays() -> None:
    pages = make_pages(
        "THE HARBOUR 11\nIt was day.\nNobody came.\n- 1 -",
        "Ann Smith 12\nThey waited.\nNobody came.\n- 2 -",
        "THE HARBOUR 13\nIt was night.\nAll slept.\n- 3 -",
        "Ann Smith 14\nThe boats came.\nAt last.\n- 4 -",
        "THE HARBOUR 15\nThe end.\nOf it.\n- 5 -",
        "Ann Smith 16\nNo more.\nReally.\n- 6 -",
    )
    dropped: Counter[str] = Counter()
    assert show(drop_running_lines(pages, dropped)) == [
        "It was day.\nNobody came.",  # twice at an edge is no running line
        "They waited.\nNobody came.",
        "It was night.\nAll slept.",
        "The boats came.\nAt last.",
        "The end.\nOf it.",
        "No more.\nReally.",
    ]
    assert dropped == {"running_heads": 6, "page_numbers": 6}


def test_running_line_within_the_text_stays() -> None:
    pages = make_pages(*["First.\nSecond.\nTHE HARBOUR\nThird.\nFourth."] * 2, "a\nb\nTHE HARBOUR\nc\nd")
    assert show(drop_running_lines(pages, Counter()))[2] == "a\nb\nTHE HARBOUR\nc\nd"


def test_page_of_one_line_is_left_alone() -> None:
    pages = make_pages("1", "2", "3", "4")
    assert show(drop_running_lines(pages, Counter())) == ["1", "2", "3", "4"]


def set_line(text: str, number: float, *, left: float = 50, width: float = 300, height: float = 10) -> Line:
    bottom = 500 - 12 * number
    return Line(text, left, bottom, height, right=left + width, last_bottom=bottom)


def test_paragraph_begins_at_an_indent_after_a_gap_and_after_a_short_line_that_ends_a_sentence() -> None:
    page = [
        set_line("CHAPTER I", 0, height=14, width=60),
        set_line("The first begins here and", 2),
        set_line("goes on in full", 3),
        set_line("and ends.", 4, width=60),
        set_line("The second, and it has", 5, left=65, width=285),
        set_line("an end in a full line, too.", 6),
        set_line("The third, after a gap.", 8),
        set_line("It ends short.", 9, width=100),
        set_line("The fourth has neither", 10),
    ]
    following = [set_line("and goes on overleaf.", 0), set_line("To the very end of all.", 1)]
    assert join_pages([page, following]).split("\n\n") == [
        "# CHAPTER I",
        "The first begins here and goes on in full and ends.",
        "The second, and it has an end in a full line, too.",
        "The third, after a gap. It ends short.",
        "The fourth has neither and goes on overleaf. To the very end of all.",
    ]


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        ([f"He was hand{SOFT_BREAK}some."], "He was handsome."),
        ([f"He was nine{SOFT_BREAK}and-twenty."], "He was nine-and-twenty."),
        ([f"A well{SOFT_BREAK}known man,", "as well-known men are."], "A well-known man, as well-known men are."),
        (["He was hand-", "some."], "He was handsome."),
        (["In the years 1914-", "1918 he was away."], "In the years 1914- 1918 he was away."),
        (["Never mind how long—", "having none."], "Never mind how long—having none."),
    ],
)
def test_word_divided_at_a_line_end_is_closed(lines: list[str], joined: str) -> None:
    assert join_pages([[set_line(line, number) for number, line in enumerate(lines)]]) == joined


def test_no_pages_are_no_text() -> None:
    assert join_pages([]) == ""
