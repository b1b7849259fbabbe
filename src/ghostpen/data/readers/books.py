"""EPUBs and Word documents: zip archives of XML, read by way of HTML.

EPUB has no well-kept reader under a licence that ghostpen can use (EbookLib is AGPL), so its two index files are
read here; the chapters are HTML. Word documents are mammoth's work. Must run where memory is bounded: see
`isolation`.
"""

import posixpath
import re
from collections import Counter
from datetime import date
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from ghostpen.data.readers.markup import parse_date, parse_html, render_tree
from ghostpen.data.readers.passages import Passage, UnreadableError
from ghostpen.data.readers.zips import check_unpacked_size, open_zip, read_entry

_CONTAINER = "META-INF/container.xml"
_PROTECTED = {f"META-INF/{name}" for name in ("rights.xml", "license.lcpl", "sinf.xml")}  # Adobe, Readium, Apple
_NO_TEXT = {"cover", "toc", "titlepage", "copyright-page", "index", "landmarks", "halftitlepage", "imprint"}
_XML_PARTS_MAX_BYTES = 8 * 1024**2  # of an index file; the largest books have some hundred KB


def read_epub(path: Path, dropped: Counter[str]) -> Passage:
    """Return a book: its chapters in reading order, without cover, contents, title page, imprint and notes.

    Raises:
        UnreadableError: not a whole EPUB, protected, or without text (pictures of pages).
    """
    with open_zip(path) as archive:
        check_unpacked_size(archive)
        if _PROTECTED & set(archive.namelist()):
            raise UnreadableError("copy-protected (DRM); give a copy without protection")
        package_name = _find_package(read_entry(archive, _CONTAINER, most_bytes=_XML_PARTS_MAX_BYTES))
        package = _parse_xml(read_entry(archive, package_name, most_bytes=_XML_PARTS_MAX_BYTES))
        chapters: list[str] = []
        for name in _list_chapters(package, posixpath.dirname(package_name)):
            tree = parse_html(read_entry(archive, name))
            if _NO_TEXT & set(_list_types(tree)):
                dropped["page_furniture"] += 1
            else:
                chapters.append(render_tree(tree, quotations=False, dropped=dropped))
    text = "\n\n".join(chapters)
    if not text.strip():
        raise UnreadableError("no text in it, perhaps pictures of pages")
    written = package.findtext(".//{*}metadata/{*}date") or ""
    return Passage(text, written=parse_date(written), headings=True)


def read_docx(path: Path, dropped: Counter[str]) -> Passage:
    """Return a Word document: tracked insertions taken in, deletions, comments, notes and headers left out.

    Raises:
        UnreadableError: not a whole Word document, or without text.
    """
    import mammoth

    with open_zip(path) as archive:
        check_unpacked_size(archive)
        for name in archive.namelist():
            # Word writes no document type. Where there is one, it is there to name entities.
            if name.endswith((".xml", ".rels")) and b"<!DOCTYPE" in read_entry(archive, name):
                raise UnreadableError("its XML defines entities, which no Word document does; it may be an attack")
        written = (
            _read_created(archive.read("docProps/core.xml")) if "docProps/core.xml" in archive.namelist() else None
        )
    try:
        with path.open("rb") as file:
            html = mammoth.convert_to_html(
                file, convert_image=mammoth.images.img_element(lambda image: {}), ignore_empty_paragraphs=True
            ).value
    except (OSError, KeyError, ValueError, AttributeError, TypeError, ExpatError) as error:
        raise UnreadableError("a broken Word document; open it in Word and save it anew") from error
    # HTML folds blanks, Word doesn't: two of them are the author's.
    text = render_tree(parse_html(html.replace("  ", "\N{NO-BREAK SPACE} ")), quotations=False, dropped=dropped)
    if not text.strip():
        raise UnreadableError("no text in it")
    return Passage(text, written=written, headings=True)


def _find_package(container: bytes) -> str:
    for root_file in _parse_xml(container).iterfind(".//{*}rootfile"):
        if name := root_file.get("full-path"):
            return name
    raise UnreadableError("not a whole EPUB: its container names no book")


def _list_chapters(package: ElementTree.Element, folder: str) -> list[str]:
    items = {item.get("id"): item for item in package.iterfind(".//{*}manifest/{*}item")}
    chapters: list[str] = []
    for reference in package.iterfind(".//{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is None or reference.get("linear") == "no" or "nav" in (item.get("properties") or "").split():
            continue
        if "html" in (item.get("media-type") or ""):
            chapters.append(posixpath.normpath(posixpath.join(folder, unquote(urlsplit(item.get("href", "")).path))))
    if not chapters:
        raise UnreadableError("not a whole EPUB: its book has no chapters")
    return chapters


def _list_types(tree: object) -> list[str]:
    """Return the epub:type of a chapter file's body and of its only section."""
    body = getattr(tree, "body", None)
    tags = [body, body.find("section", recursive=False)] if body is not None else []
    return [kind for tag in tags if tag is not None for kind in str(tag.get("epub:type", "")).split()]


def _read_created(core: bytes) -> date | None:
    return parse_date(_parse_xml(core).findtext("{*}created") or "")


def _parse_xml(content: bytes) -> ElementTree.Element:
    """Parse an index file. Entities that refer to each other are refused here, and once more by expat >= 2.4."""
    if re.search(rb"<!ENTITY", content):
        raise UnreadableError("its XML defines entities, which no book needs; it may be an attack")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UnreadableError("its XML is broken; get it again from where it came from") from error
