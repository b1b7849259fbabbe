"""Turn one raw text into clean sections: what the author wrote, without what a printer or a website added.

Owns every rule that changes a text. Spelling, quotes, dashes and double blanks stay: they are style. Must not read
files and must not know about splits.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ghostpen.data.headings import is_title, split_heading
from ghostpen.data.pages import Line, drop_running_lines

SECTION_CHARS = 20_000  # sections above 1.5 times this are cut: a bootstrap by section needs enough of them
WRAPPED_CHARS = 120  # a text with longer lines was not wrapped: its line ends are paragraph ends
NARROWEST_WRAP_CHARS = 60
VERSE_CHARS = 80  # of the longest line of a block whose line ends are the author's; longer ones are paragraphs

_LINE_ENDS_BUT_PAGES = re.compile(r"\r\n?|[\v\x1c-\x1e\x85\u2028\u2029]")
_LINE_ENDS = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
# With lone surrogates, halves of characters that JSON can hold and UTF-8 can't.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1b\x1f\x7f\u00ad\u200b\ufeff\ud800-\udfff]")
# Two blanks are the author's; three or more align something, and a tab between words is one blank.
_OTHER_BLANK = re.compile(r"[^\S ]")
_ALIGNMENT = re.compile(r" {3,}")
_INNER_TAB = re.compile(r"(?<=\S) *\t[ \t]*(?=\S)")
# A control token of the model inside a text (pasted from a chat log) would be encoded as the real token.
_CONTROL_TOKEN = re.compile(r"<\|[^|<>\s]{1,40}\|>")
# Runs are bounded, and what was matched once is not tried again: a file made for it would else take for ever.
_ITALICS = re.compile(r"(?<![^\W_])_{1,10}([^_]+)_{1,10}|_{1,10}([^_]+)_{1,10}(?![^\W_])")
_ILLUSTRATION = re.compile(r" ?\[Illustration[^\]]{0,2000}\]")
# YAML before a Markdown text
_FRONT_MATTER = re.compile(r"\A\s*---\n(?:(?!---\n)(?>[\w -]+:.*\n|[ -].*\n))++---\n")
_DROPPED_PATTERNS = (
    ("front_matter", _FRONT_MATTER),
    ("control_tokens", _CONTROL_TOKEN),
    ("illustrations", _ILLUSTRATION),
    ("page_numbers", re.compile(r" ?\[(?:Pg|Page) \d{1,4}\]|^\{\d{1,4}\}$", re.MULTILINE)),  # Gutenberg's
)
_DROPPED_FROM_MESSAGES = (("control_tokens", _CONTROL_TOKEN),)
_WORD_HYPHEN = re.compile(r"\w-$")
_TIGHT_DASH = re.compile(r"\S(?:--|—)$")
_DASH_START = re.compile(r"(?:--|—)\S")
_SCENE_BREAK = re.compile(r"[\s*\-_=#~•·]{3,}")
_GUTENBERG_START = re.compile(
    r"\*\*\*\s*START OF TH(?:E|IS) PROJECT GUTENBERG[^*]{0,300}\*\*\*|\*END\*?\s*THE SMALL PRINT!.*",
    re.IGNORECASE,
)
_GUTENBERG_END = re.compile(
    r"\*\*\*\s*END OF TH(?:E|IS) PROJECT GUTENBERG|^End of (?:the |this )?Project Gutenberg",
    re.IGNORECASE | re.MULTILINE,
)
_PRODUCED_BY = re.compile(
    r"\s*(?:Produced by|E-text prepared by|Transcribed (?:from|by))\b[^\n]*(?:\n[^\n]+)*\n", re.IGNORECASE
)


@dataclass(frozen=True)
class CleanedDocument:
    """The sections of one document, in order, and how often each rule dropped something.

    Within a section, paragraphs are separated by one blank line; a line break is kept only in verse.
    """

    sections: tuple[str, ...]
    dropped: Counter[str]


def clean_document(text: str, *, wrapped: bool = True, headings: bool = True) -> CleanedDocument:
    """Apply every rule, and cut the text at its chapter headings.

    Trailing blanks, extra blank lines, CRLF and a common indent make no difference to the result.

    Args:
        text: of one document.
        wrapped: line ends may be a printer's; else they are the author's, and a blank line ends a paragraph.
        headings: it may hold a title page, chapters, scene breaks and notices; a mail or a chat holds none, and
            what looks like one there is the author's.
    """
    dropped: Counter[str] = Counter()
    if wrapped and "\f" in text:
        text = _drop_page_edges(text, dropped)
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    text = _INNER_TAB.sub(" ", unicodedata.normalize("NFC", text)).expandtabs(4)
    if headings:
        text = _drop_gutenberg(text, dropped)
    for rule, pattern in _DROPPED_PATTERNS if headings else _DROPPED_FROM_MESSAGES:
        text, times = pattern.subn("", text)
        dropped[rule] += times
    blocks = _read_blocks(text, headings=headings) if wrapped else _read_chosen_lines(text, headings=headings)
    chapters: list[list[str]] = [[]]
    for paragraph in _drop_title_page(blocks, dropped) if headings else blocks:
        if paragraph is None:
            chapters.append([])
        else:
            chapters[-1].append(_render_paragraph(paragraph))
    sections = tuple(part for chapter in chapters for part in _cut_section([text for text in chapter if text]))
    return CleanedDocument(sections, +dropped)  # + drops the rules that never struck


def unwrap_lines(text: str) -> str:
    """Undo hard line wraps and nothing else, for a mail that is one of several in a document."""
    blocks = _read_blocks(text.expandtabs(4), headings=False)
    return "\n\n".join("\n".join(paragraph) for paragraph in blocks)


def list_lines(text: str, *, wrapped: bool, headings: bool) -> list[str]:
    """Return a raw text's paragraphs and lines of verse, cut as `clean_document` cuts them, and nothing dropped."""
    text = _LINE_ENDS.sub("\n", text).expandtabs(4)
    blocks = _read_blocks(text, headings=headings) if wrapped else _read_chosen_lines(text, headings=headings)
    return [line for paragraph in blocks for line in paragraph]


def _drop_page_edges(text: str, dropped: Counter[str]) -> str:
    """Take running heads and page numbers off a text that was printed to a file, a form feed after each page."""
    pages = [page.split("\n") for page in _LINE_ENDS_BUT_PAGES.sub("\n", text).split("\f")]
    lines = [[(number, line) for number, line in enumerate(page) if line.strip()] for page in pages]
    kept = drop_running_lines(
        [[Line(line.strip(), bottom=number) for number, line in page] for page in lines], dropped
    )
    left = [{line.bottom for line in page} for page in kept]
    return "\n".join(
        line for page, numbers in zip(pages, left, strict=True) for number, line in enumerate(page)
        if number in numbers or not line.strip()
    )  # fmt: skip


def _drop_gutenberg(text: str, dropped: Counter[str]) -> str:
    start = _GUTENBERG_START.search(text)
    if start:
        text = text[start.end() :]
        text = _PRODUCED_BY.sub("", text, count=1) if _PRODUCED_BY.match(text) else text
    end = _GUTENBERG_END.search(text)
    if end:
        text = text[: end.start()]
    dropped["gutenberg_notices"] += bool(start) + bool(end)
    return text


def _read_chosen_lines(text: str, *, headings: bool) -> list[list[str]]:
    """Cut a text whose line ends are the author's into paragraphs; short lines stay together, as in verse."""
    paragraphs: list[list[str]] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [_fold_blanks(row) for row in block.split("\n") if row.strip()]
        heading, rest = split_heading(lines) if headings else ([], lines)
        is_verse = max(map(len, rest), default=0) <= VERSE_CHARS
        paragraphs += [heading, *([rest] if is_verse else [[line] for line in rest])]
    return [paragraph for paragraph in paragraphs if paragraph]


def _fold_blanks(row: str) -> str:
    row = row.strip()
    if not row.isprintable():  # a blank other than the usual one is not; nearly every line is spared the search
        row = _OTHER_BLANK.sub(" ", row)
    return _ALIGNMENT.sub(" ", row) if "   " in row else row


def _read_blocks(text: str, *, headings: bool) -> list[list[str]]:
    """Cut the text into paragraphs, each a list of lines: one for prose, several for verse."""
    rows = [line.rstrip() for line in text.split("\n")]
    base = min((_indent(row) for row in rows if row), default=0)
    blocks: list[list[str]] = [[]]
    for row in rows:
        if row:
            blocks[-1].append(row[base:])
        elif blocks[-1]:
            blocks.append([])
    blocks = [block for block in blocks if block]
    width = _compute_width(blocks)
    return [paragraph for block in blocks for paragraph in _read_block(block, width, headings=headings)]


def _read_block(block: list[str], width: int, *, headings: bool) -> list[list[str]]:
    indents = [_indent(row) >= 2 for row in block]
    lines = [_fold_blanks(row) for row in block]
    if len(lines) == 1:
        return [lines]
    heading, rest = split_heading(lines) if headings else ([], lines)
    if heading:
        return [heading] + (_read_block(block[len(heading) :], width, headings=headings) if rest else [])
    if all(indents):  # verse, or a letter that was wrapped inside its indent
        return [[_join_lines(lines)]] if _is_wrapped_prose(lines) else [lines]
    if width > WRAPPED_CHARS:
        return [lines] if max(map(len, lines)) <= VERSE_CHARS else [[line] for line in lines]
    if indents[0] and any(indents[1:]):  # paragraphs marked by an indent, without blank lines between them
        starts = [i for i, indented in enumerate(indents) if indented] + [len(lines)]
        return [[_join_lines(lines[a:b])] for a, b in zip(starts, starts[1:], strict=False)]
    return [lines] if _is_verse(lines, width) else [[_join_lines(lines)]]


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())


def _compute_width(blocks: Sequence[Sequence[str]]) -> int:
    """Return the column of the wrap: the 90th percentile of the lengths of lines that another follows."""
    lengths = sorted(len(_fold_blanks(row)) for block in blocks for row in block[:-1])
    return lengths[len(lengths) * 9 // 10] if lengths else 0


def _is_verse(lines: Sequence[str], width: int) -> bool:
    """Tell chosen line breaks from forced ones, where the next word would not have fitted."""
    width = max(width, NARROWEST_WRAP_CHARS)
    reaches = _compute_reaches(lines)
    most = 0.25 * len(reaches)
    if sum(reach > 0.75 * width for reach in reaches) <= most:
        return True
    return len(lines) >= 4 and _starts_with_capitals(lines) and sum(r > 0.95 * width for r in reaches) <= most


def _is_wrapped_prose(lines: Sequence[str]) -> bool:
    """Say whether lines of nearly equal length run on, judged by the block's own width."""
    width = max(map(len, lines))
    reaches = _compute_reaches(lines)
    full = sum(reach > 0.8 * width for reach in reaches) >= 0.9 * len(reaches)
    running_on = sum(not _starts_with_capitals([line]) for line in lines[1:])
    return len(lines) >= 3 and full and running_on >= 0.5 * len(reaches)


def _compute_reaches(lines: Sequence[str]) -> list[int]:
    """Return how long each line but the last would be with the next line's first word on it."""
    return [len(a) + 1 + len(b.split(" ", 1)[0]) for a, b in zip(lines, lines[1:], strict=False)]


def _starts_with_capitals(lines: Sequence[str]) -> bool:
    return all(line.lstrip("\"'“‘(_—-")[:1].isupper() for line in lines)


def _join_lines(lines: Sequence[str]) -> str:
    """Undo a hard wrap; a break at a hyphen or dash that stood tight between two words is closed again."""
    parts = [lines[0]]
    end = lines[0][-3:]
    for line in lines[1:]:
        hyphen = end[-1:] == "-" and _WORD_HYPHEN.search(end) and line[:1].islower()
        dash = end[-1:] in "-—" and _TIGHT_DASH.search(end) or line[:1] in "-—" and _DASH_START.match(line)
        if not (hyphen or dash):
            parts.append(" ")
        parts.append(line)
        end = f"{end}{'' if hyphen or dash else ' '}{line[-3:]}"[-3:]
    return "".join(parts)


def _render_paragraph(lines: Sequence[str]) -> str:
    rows = _drop_italics("\n".join(lines)).split("\n")
    return "\n".join(_fold_blanks(row) for row in rows if row.strip())


def _drop_italics(text: str) -> str:
    return _ITALICS.sub(lambda match: match[1] or match[2], text) if "_" in text else text


def _drop_title_page(blocks: Sequence[list[str]], dropped: Counter[str]) -> list[list[str] | None]:
    """Replace each heading by None, a section boundary; drop titles before the text and after a heading."""
    kept: list[list[str] | None] = []
    titles: list[list[str]] = []  # title-like blocks whose fate the next block decides
    is_title_page = False
    after_boundary = True
    for block in blocks:
        lines = [_drop_italics(line) for line in block]
        heading, _ = split_heading(lines)
        if heading:
            dropped["headings"] += 1 + len(titles)
            titles = []
            kept.append(None)
            after_boundary = True
        elif all(_SCENE_BREAK.fullmatch(line) for line in block):
            dropped["scene_breaks"] += 1
        elif after_boundary and is_title(lines, at_start=not kept):
            is_title_page = is_title_page or lines[0].isupper() or lines[0].lower().startswith("by ")
            titles.append(block)
        else:
            if titles and (is_title_page or kept):
                dropped["headings"] += len(titles)
            else:
                kept.extend(titles)
            kept.append(block)
            titles, after_boundary, is_title_page = [], False, False
    if any(kept):
        dropped["headings"] += len(titles)
        return kept
    return kept + titles  # nothing but titles: then they are the text


def _cut_section(paragraphs: Sequence[str]) -> list[str]:
    """Cut a long section at paragraph ends into parts of nearly equal size."""
    total = sum(len(paragraph) + 2 for paragraph in paragraphs)
    parts = round(total / SECTION_CHARS) if total > 1.5 * SECTION_CHARS else 1
    cut: list[list[str]] = [[] for _ in range(parts)]
    position = 0
    for paragraph in paragraphs:
        middle = position + len(paragraph) // 2
        cut[min(middle * parts // total, parts - 1)].append(paragraph)
        position += len(paragraph) + 2
    return ["\n\n".join(part) for part in cut if part]
