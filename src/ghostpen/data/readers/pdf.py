"""PDF with text in it, through PDFium. Must run where memory and time are bounded: see `isolation`."""

import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from ghostpen.data.pages import Line, drop_running_lines, join_pages
from ghostpen.data.readers.passages import Passage, UnreadableError

MOST_PAGES = 20_000
_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD
_CREATED = re.compile(r"D:(\d{4})(\d{2})(\d{2})")


def read_pdf(path: Path, dropped: Counter[str]) -> Passage:
    """Return the text of a PDF, without page numbers and running heads.

    Raises:
        UnreadableError: it is broken or encrypted, or holds pictures of pages and no text.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == _WRONG_PASSWORD:
            raise UnreadableError("encrypted; save it without a password") from error
        raise UnreadableError("a broken PDF; get it again from where it came from") from error
    try:
        if len(document) > MOST_PAGES:
            raise UnreadableError(f"more than {MOST_PAGES:,} pages; cut it into smaller files")
        pages = [_read_lines(document[number]) for number in range(len(document))]
        created = _CREATED.match(document.get_metadata_value("CreationDate"))
    except pypdfium2.PdfiumError as error:
        raise UnreadableError("a broken PDF; get it again from where it came from") from error
    finally:
        document.close()
    text = join_pages(drop_running_lines(pages, dropped))
    if not text.strip():
        raise UnreadableError("no text in it, only pictures of pages; run it through text recognition (OCR) first")
    return Passage(text, written=_build_date(created), headings=True)


def _read_lines(page: Any) -> list[Line]:
    text_page = page.get_textpage()
    lines: list[Line] = []
    try:
        start = 0
        for row in text_page.get_text_range().split("\r\n"):
            text = row.strip()
            if text:
                first = text_page.get_charbox(start + len(row) - len(row.lstrip()), loose=True)
                last = text_page.get_charbox(start + len(row.rstrip()) - 1, loose=True)
                height = first[3] - first[1]
                lines.append(Line(text, first[0], first[1], height, right=last[2], last_bottom=last[1]))
            start += len(row) + 2
    finally:
        text_page.close()
        page.close()
    return lines


def _build_date(created: re.Match[str] | None) -> date | None:
    try:
        return date(*(int(part) for part in created.groups())) if created else None
    except ValueError:
        return None
