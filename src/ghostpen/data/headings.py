"""Tell chapter headings and titles from an author's words.

Owns the patterns. A heading marks a section boundary and is dropped; a title is dropped only where
cleaning finds one, before the text or right after a heading.
"""

import re
from collections.abc import Sequence

TITLE_CHARS = 60
WRAPPED_LINE_CHARS = 45  # a line this long may have been wrapped

_ROMAN = r"(?=[MDCLXVI])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_COUNT = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen|twenty|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last"
)
_NUMBERED = re.compile(
    rf"(?i:(?:end of )?(?:the )?(?:chapter|book|volume|vol\.|part|letter|canto|act|scene|stave)\s+"
    rf"(?:\d{{1,3}}|{_ROMAN}|(?:the )?(?:{_COUNT})))"
    r"(?:\s*[.:—–\]-]+|\s*[.:—–-]+\s*\S.{0,70}|\s+[A-Z][A-Z'’ ,;-]+)?"
)
_BARE_NUMBER = re.compile(rf"(?:{_ROMAN}|\d{{1,3}})\.?")
_NAMED = re.compile(
    r"(?i:preface|prologue|epilogue|introduction|contents|table of contents|conclusion|foreword|afterword|"
    r"postscript|finis|fin|the end)[.:]?"
)
_MARKDOWN = re.compile(r"#{1,6}\s+\S.*")
_SENTENCE_END = re.compile(r"[.!?,;:—\"”’']$")
_TITLE_END = re.compile(r"[!?,;:—\"”]$")


def split_heading(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the lines of a block that are a heading with its title, and the lines that are not.

    The first list is empty where the block does not begin with a heading.

    Args:
        lines: the lines of one block, blanks collapsed.
    """
    heads = 0
    while heads < len(lines) and _is_heading_line(lines[heads], alone=len(lines) == 1 or heads > 0):
        heads += 1
    if heads == 0:
        return [], list(lines)
    rest = list(lines[heads:])
    wrapped = len(lines[heads - 1]) >= WRAPPED_LINE_CHARS
    continues = wrapped and len(rest) == 1 and len(rest[0]) <= TITLE_CHARS and not _SENTENCE_END.search(rest[0])
    if rest and (continues or (len(rest) <= 2 and is_title(rest, at_start=False))):
        return list(lines), []
    if rest and wrapped:
        return [], list(lines)  # a full line that runs on is a paragraph: "BOOK I. (Folio), CHAPTER I. This whale"
    return list(lines[:heads]), rest


def is_title(lines: Sequence[str], *, at_start: bool) -> bool:
    """Say whether a block looks like a title: short lines that don't end as a sentence does.

    Capital letters throughout may end in a full stop ("RIP VAN WINKLE."). Elsewhere than at the start of a
    document the longer words must be capitalised, so that the first words of a chapter are not lost.
    """
    if len(lines) > 3 or any(len(line) > TITLE_CHARS for line in lines):
        return False
    if all(line.isupper() for line in lines):
        return not _TITLE_END.search(lines[-1])
    if _SENTENCE_END.search(lines[-1]):
        return False
    return at_start or _is_title_case(" ".join(lines))


def _is_heading_line(line: str, *, alone: bool) -> bool:
    if _NUMBERED.fullmatch(line) or _MARKDOWN.fullmatch(line) or _NAMED.fullmatch(line):
        return True
    return alone and bool(_BARE_NUMBER.fullmatch(line))


def _is_title_case(text: str) -> bool:
    long_words = [word for word in re.findall(r"[^\W\d_]+", text) if len(word) >= 4]
    return bool(long_words) and not re.search(r"\d", text) and all(word[0].isupper() for word in long_words)
