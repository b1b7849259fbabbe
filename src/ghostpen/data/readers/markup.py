"""HTML to text: paragraphs apart, headings marked with #, quotations with >; page furniture dropped.

Used for web pages, for the chapters of EPUBs, for Word documents by way of HTML, and for mails. Must not fetch
anything: what a page refers to is ignored.
"""

import re
import warnings
from collections import Counter
from datetime import date
from typing import Any

from ghostpen.data.readers.passages import UnreadableError

LARGEST_HTML_BYTES = 32 * 1024**2  # its tree takes some 30 times as much memory

_FURNITURE = {
    *("script", "style", "template", "noscript", "iframe", "object", "svg", "math"),
    *("form", "button", "select", "nav", "aside", "footer", "figcaption"),
}
_FURNITURE_ROLES = {"navigation", "banner", "contentinfo", "search"}
_PAGE_NUMBERS = {"pagenum", "pageno", "page-number", "pagebreak", "doc-pagebreak"}
_NOTES = {"noteref", "footnote", "footnotes", "endnote", "endnotes", "doc-noteref", "doc-footnote", "doc-endnotes"}
_WORD_NOTE = re.compile(r"(?:foot|end)note-\d+")  # the id that mammoth gives a note's list item
_GUTENBERG = {"pg-boilerplate", "pg-header", "pg-footer", "pg-machine-header"}
_TABLES = {"table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption"}  # the layout of mails and old pages
_INLINE = ["a", "b", "i", "em", "strong", "u", "s", "del", "ins", "code", "kbd", "samp", "sub", "sup", "img", "q"]
_WRITTEN = (
    ("meta[property='article:published_time']", "content"),
    ("meta[name='dcterms.created' i]", "content"),
    ("meta[name='dcterms.date' i]", "content"),
    ("meta[name='dc.date' i]", "content"),
    ("meta[name='date' i]", "content"),
    ("article time[datetime]", "datetime"),
)
_LINE_END = re.compile(r"[ \t]*[\r\n]\s*")
_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?(?!\d)")


def parse_html(content: str | bytes) -> Any:
    """Return the tree of a page.

    Raises:
        UnreadableError: it is too large, or nested too deeply to be read.
    """
    from bs4 import BeautifulSoup, UnusualUsageWarning
    from bs4.exceptions import ParserRejectedMarkup

    if len(content) > LARGEST_HTML_BYTES:
        raise UnreadableError(f"HTML larger than {LARGEST_HTML_BYTES // 1024**2} MiB; cut it into smaller files")
    try:
        with warnings.catch_warnings():  # XHTML is meant to be read as HTML here, and a mail may be a bare address
            warnings.simplefilter("ignore", UnusualUsageWarning)
            return BeautifulSoup(content, "lxml")
    except ParserRejectedMarkup as error:
        raise UnreadableError("HTML that can't be read; open it in a browser and save it anew") from error


def render_tree(tree: Any, *, quotations: bool, dropped: Counter[str]) -> str:
    """Return a tree's text; the tree is used up.

    Args:
        tree: as `parse_html` gives it.
        quotations: whether a <blockquote> is marked with >; in a mail it is another's, in a book the author's.
        dropped: counts what was left out.

    Raises:
        UnreadableError: it is nested too deeply.
    """
    from markdownify import MarkdownConverter

    root = _find_main(tree)
    for tag in root.find_all(True):
        if tag.decomposed:
            continue
        if rule := _find_rule(tag):
            tag.decompose()
            dropped[rule] += 1
        elif tag.name in _TABLES:
            tag.name = "div"
    for string in root.find_all(string=_LINE_END.search):
        if string.find_parent("pre") is None:
            string.replace_with(
                _LINE_END.sub(" ", string)
            )  # in HTML a line end is a blank, and only <br> ends a line
    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        strip=_INLINE if quotations else [*_INLINE, "blockquote"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    try:
        text: str = converter.convert_soup(root)
    except RecursionError as error:
        raise UnreadableError("HTML nested too deeply; open it in a browser and save it as text") from error
    lines = (line.rstrip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line != "```")  # the fences of <pre>


def find_date(tree: Any) -> date | None:
    """Return when a page says that it was published."""
    for selector, attribute in _WRITTEN:
        for tag in tree.select(selector):
            if found := parse_date(str(tag.get(attribute, ""))):
                return found
    return None


def parse_date(text: str) -> date | None:
    """Return the date that an ISO timestamp begins with, of a year or month its first day; None without one."""
    match = _DATE.match(text.strip())
    try:
        return date(*(int(part) for part in match.groups(default="1"))) if match else None
    except ValueError:
        return None


def _find_main(tree: Any) -> Any:
    """Return the one <article> or <main> of a page, or all of it."""
    for name in ("article", "main"):
        found = tree.find_all(name)
        if len(found) == 1:
            return found[0]
    return tree.body or tree


def _find_rule(tag: Any) -> str | None:
    """Return the rule by which an element is no part of the text."""
    marks = {*tag.get_attribute_list("class"), *str(tag.get("epub:type", "")).split(), tag.get("role"), tag.get("id")}
    if tag.name in _FURNITURE or tag.has_attr("hidden") or marks & _FURNITURE_ROLES:
        return "page_furniture"
    if tag.name == "header" and tag.parent.name == "body":
        return "page_furniture"
    if marks & _GUTENBERG:
        return "gutenberg_notices"
    if marks & _PAGE_NUMBERS:
        return "page_numbers"
    if marks & _NOTES or (tag.name == "li" and _WORD_NOTE.fullmatch(str(tag.get("id", "")))):
        return "notes"
    if tag.name == "a" and tag.parent.name == "sup" and str(tag.get("href", "")).startswith("#"):
        return "notes"
    return None
