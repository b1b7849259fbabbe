"""Pages to running text: heads, feet and page numbers go, lines become paragraphs.

Owns what is known of printed pages. A line is dropped at a page's edge only, and only where other pages have it too.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_EDGE_LINES = 2  # a running head and a rule or a second line of it
_LEAST_PAGES = 3
_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b")
_NUMBER = re.compile(r"[\W_]*(?:page\s+)?(?:\d{1,4}|[ivxlc]{1,7})(?:\s*(?:/|of)\s*\d{1,4})?[\W_]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?:…][\"'”’»)\]]*$")
SOFT_BREAK = "\ufffe"  # PDFium's mark for a hyphen at a line's end


@dataclass(frozen=True)
class Line:
    """A line of print, or two that a divided word runs across; in points from the page's lower left corner.

    Args:
        left: where the first character begins.
        bottom: below the first character.
        height: of the first character.
        right: where the last character ends.
        last_bottom: below the last character.
    """

    text: str
    left: float = 0.0
    bottom: float = 0.0
    height: float = 0.0
    right: float = 0.0
    last_bottom: float = 0.0


def drop_running_lines(pages: Sequence[Sequence[Line]], dropped: Counter[str]) -> list[list[Line]]:
    """Take page numbers, running heads and feet off the pages.

    An edge line is one of a page's first or last two. It goes where, digits aside, at least three pages have
    it at that edge, or where it is nothing but a number and at least three pages have such a line.
    """
    seen: Counter[tuple[bool, str]] = Counter()
    for page in pages:
        seen.update({(top, _normalise(page[place].text)) for top, place in _list_edges(page)})
    kept: list[list[Line]] = []
    for page in pages:
        gone: set[int] = set()
        for top in (True, False):
            for place in [place for at_top, place in _list_edges(page) if at_top is top]:
                text = page[place].text
                if seen[top, _normalise(text)] < _LEAST_PAGES:
                    break  # what stands inside of a line that stays is text
                gone.add(place)
                dropped["page_numbers" if _NUMBER.fullmatch(text) else "running_heads"] += 1
        kept.append([line for place, line in enumerate(page) if place not in gone])
    return kept


def join_pages(pages: Sequence[Sequence[Line]]) -> str:
    """Join the lines of typeset pages to paragraphs, and mark lines in larger print as headings.

    A paragraph begins at an indent, after a gap, or after a line that ends a sentence before the margin.
    """
    lines = [line for page in pages for line in page]
    if not lines:
        return ""
    height = median(line.height for line in lines)
    text = " ".join(line.text for line in lines)
    paragraphs: list[str] = []
    before: Line | None = None
    for page in pages:
        left = _compute_left(page)
        right = max((line.right for line in page), default=0.0)
        pitch = _compute_pitch(page)
        is_first = True
        for line in page:
            heading = line.height > 1.25 * height and len(line.text) < 80
            if heading:
                paragraphs.append(f"# {line.text.replace(SOFT_BREAK, '')}")
                before = None
            elif before is None or _begins_paragraph(line, before, left, right, pitch, height, is_first=is_first):
                paragraphs.append(line.text)
                before = line
            else:
                paragraphs[-1] = _join(paragraphs[-1], line.text)
                before = line
            is_first = False
    return "\n\n".join(_resolve_soft_breaks(paragraph, text) for paragraph in paragraphs)


def _begins_paragraph(
    line: Line, before: Line, left: float, right: float, pitch: float, height: float, *, is_first: bool
) -> bool:
    indent = line.left - left
    if 0.8 * height < indent < 8 * height:
        return True
    if not is_first and before.last_bottom - line.bottom > 1.4 * pitch:
        return True
    is_short = before.right < left + 0.85 * (right - left)
    return is_short and bool(_SENTENCE_END.search(before.text))


def _compute_left(page: Sequence[Line]) -> float:
    """Return the margin that most lines begin at; of equally many, the leftmost."""
    counts = Counter(round(line.left) for line in page)
    return float(min(counts, key=lambda left: (-counts[left], left))) if counts else 0.0


def _compute_pitch(page: Sequence[Line]) -> float:
    """Return the distance between lines: the median, since gaps are few."""
    steps = [a.last_bottom - b.bottom for a, b in zip(page, page[1:], strict=False) if a.last_bottom > b.bottom]
    return median(steps) if steps else float("inf")


def _join(paragraph: str, line: str) -> str:
    if re.search(r"\w-$", paragraph) and line[:1].islower():
        return paragraph[:-1] + SOFT_BREAK + line
    return f"{paragraph}{'' if paragraph.endswith(('—', '--')) else ' '}{line}"


def _resolve_soft_breaks(paragraph: str, text: str) -> str:
    """Close a word that was divided at a line's end.

    Its hyphen stays where the text has the word with one, and where the word has others: "nine-and-twenty".
    """

    def close(match: re.Match[str]) -> str:
        with_hyphen = f"{match[1]}-{match[2]}"
        return with_hyphen if with_hyphen.count("-") > 1 or with_hyphen in text else match[1] + match[2]

    closed = re.sub(rf"([\w-]+){SOFT_BREAK}([\w-]+)", close, paragraph)
    return closed.replace(SOFT_BREAK, "-")


def _list_edges(page: Sequence[Line]) -> list[tuple[bool, int]]:
    """Return the places of the edge lines, from the edge inwards; True is the top."""
    count = min(_EDGE_LINES, len(page) // 2)
    return [(True, place) for place in range(count)] + [(False, len(page) - 1 - place) for place in range(count)]


def _normalise(text: str) -> str:
    return _DIGITS.sub("#", text.casefold()).strip(" .-–—|•·[]()")
