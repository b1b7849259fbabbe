"""EPUB, Word, HTML and PDF, through the process that reads them."""

import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from ghostpen.data.cleaning import clean_document
from ghostpen.data.readers.isolation import IsolatedReader
from ghostpen.data.readers.markup import parse_date, parse_html, render_tree
from ghostpen.data.readers.passages import Reading, SourceFile, UnreadableError

MakeFile = Callable[[Path], SourceFile]

CHAPTERS = (
    'The boats came in at dawn – all but one. “Where is he?” she asked.\n\n'
    "She walked down to the pier, as she did every day, and counted them.\n\n"
    "My dear, I shall be late.",
    "The rib and terrors in the whale,\nArched over me a dismal gloom.\n\nNobody answered. The sea was quite calm.",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "written"),
    [
        ("story.epub", "epub", date(2021, 5, 3)),
        ("story.html", "html", date(2021, 5, 3)),
    ],
)
def test_book_becomes_its_chapters_without_notes_and_titles(
    assets: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader, name: str, kind: str, written: date
) -> None:
    passage = isolated.read(make_file(assets / "texts" / name), kind, reading)
    assert passage.written == written
    assert clean_document(passage.text, wrapped=passage.wrapped).sections == CHAPTERS


@pytest.mark.parametrize(
    ("name", "sections"), [("story.docx", CHAPTERS), ("tracked.docx", ("The sea was quite calm today.",))]
)
def test_word_document_is_read_without_notes_comments_and_deletions(
    assets: Path,
    make_file: MakeFile,
    reading: Reading,
    isolated: IsolatedReader,
    name: str,
    sections: tuple[str, ...],
) -> None:
    passage = isolated.read(make_file(assets / "texts" / name), "docx", reading)
    assert clean_document(passage.text, wrapped=False).sections == sections


def test_word_document_keeps_double_blanks_and_line_breaks_and_drops_its_header(
    assets: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader
) -> None:
    passage = isolated.read(make_file(assets / "texts/letter.docx"), "docx", reading)
    assert passage.written == date(2019, 2, 3)
    assert clean_document(passage.text, wrapped=False).sections == (
        "Dear Bob,  it rained.  We stayed in.\n\nFirst line\nsecond line\n\nYours — Ann\n\nIn a cell.",
    )


def test_pdf_becomes_the_paragraphs_that_were_typeset(
    assets: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader
) -> None:
    source = (assets / "texts/book.ms").read_text(encoding="utf-8").split(".PP\n")[1:]
    typeset = [paragraph.strip().replace("'", "’") for paragraph in source]
    passage = isolated.read(make_file(assets / "texts/book.pdf"), "pdf", reading)
    assert clean_document(passage.text, wrapped=False).sections == ("\n\n".join(typeset),)
    assert reading.left_out == {"page_numbers": 6, "running_heads": 5}


def write_pdf_of_a_picture(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.figimage([[0.0, 1.0], [1.0, 0.0]])
    figure.savefig(path, format="pdf")


# What can't be read


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("encrypted.pdf", "pdf", "encrypted; save it without a password"),
        ("book.ms", "pdf", "a broken PDF"),
        ("book.pdf", "docx", "a broken zip archive"),
        ("story.epub", "docx", "a broken Word document"),
        ("story.docx", "epub", "incomplete: a part that it refers to is missing"),
    ],
)
def test_document_that_is_none_says_why(
    assets: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader, name: str, kind: str, reason: str
) -> None:
    with pytest.raises(UnreadableError, match=reason):
        isolated.read(make_file(assets / "texts" / name), kind, reading)


def test_pdf_of_a_picture_says_that_it_holds_no_text(
    tmp_path: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader
) -> None:
    write_pdf_of_a_picture(tmp_path / "scan.pdf")
    with pytest.raises(UnreadableError, match=r"only pictures of pages; run it through text recognition"):
        isolated.read(make_file(tmp_path / "scan.pdf"), "pdf", reading)


BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "%s">%s]><a>&z;</a>' % (
    b"x" * 100,
    b"".join(b'<!ENTITY %c "&%c;&%c;&%c;&%c;">' % (c, c - 1, c - 1, c - 1, c - 1) for c in range(99, 123)),
)
EXTERNAL = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY z SYSTEM "file:///etc/passwd">]><a>&z;</a>'


def rewrite_zip(path: Path, out: Path, replaced: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, replaced.get(entry.filename, source.read(entry)))


@pytest.mark.parametrize("attack", [BOMB, EXTERNAL])
@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("story.docx", "docx", "word/document.xml"),
        ("story.docx", "docx", "docProps/core.xml"),
        ("story.epub", "epub", "META-INF/container.xml"),
        ("story.epub", "epub", "EPUB/content.opf"),
    ],
)
def test_xml_with_entities_is_refused(
    assets: Path, tmp_path: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader,
    name: str, kind: str, part: str, attack: bytes,
) -> None:  # fmt: skip
    rewrite_zip(assets / "texts" / name, tmp_path / name, {part: attack})
    with pytest.raises(UnreadableError, match="its XML defines entities, which no .* may be an attack"):
        isolated.read(make_file(tmp_path / name), kind, reading)


def test_epub_with_a_chapter_outside_of_it_is_refused(
    assets: Path, tmp_path: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader
) -> None:
    with zipfile.ZipFile(assets / "texts/story.epub") as archive:
        package = archive.read("EPUB/content.opf").replace(b"text/ch001.xhtml", b"../../../../etc/passwd")
    rewrite_zip(assets / "texts/story.epub", tmp_path / "a.epub", {"EPUB/content.opf": package})
    with pytest.raises(UnreadableError, match="a part that it refers to is missing"):
        isolated.read(make_file(tmp_path / "a.epub"), "epub", reading)


def test_epub_with_protection_is_refused(
    assets: Path, tmp_path: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader
) -> None:
    (tmp_path / "a.epub").write_bytes((assets / "texts/story.epub").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.epub", "a") as archive:
        archive.writestr("META-INF/rights.xml", "<rights/>")
    with pytest.raises(UnreadableError, match="copy-protected"):
        isolated.read(make_file(tmp_path / "a.epub"), "epub", reading)


def test_zip_bomb_in_a_document_is_refused(
    assets: Path, tmp_path: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader
) -> None:
    rewrite_zip(assets / "texts/story.docx", tmp_path / "a.docx", {"word/document.xml": b" " * 20 * 1024**2})
    with pytest.raises(UnreadableError, match="packed more than 200 times, as no text is"):
        isolated.read(make_file(tmp_path / "a.docx"), "docx", reading)


def test_html_nested_without_end_is_refused_and_unclosed_paragraphs_are_read(
    tmp_path: Path, make_file: MakeFile, reading: Reading, isolated: IsolatedReader
) -> None:
    (tmp_path / "deep.html").write_text("<div>" * 1500 + "x")
    with pytest.raises(UnreadableError, match="nested too deeply"):
        isolated.read(make_file(tmp_path / "deep.html"), "html", reading)
    (tmp_path / "old.html").write_text("<html><body>" + "<p>It was day.\n" * 2000)
    text = isolated.read(make_file(tmp_path / "old.html"), "html", reading).text
    assert text.split("\n\n").count("It was day.") == 2000


# The process


def test_process_that_does_not_answer_is_given_up_and_the_next_file_gets_a_new_one(
    assets: Path, make_file: MakeFile, reading: Reading, tmp_path: Path
) -> None:
    # Sleeps until it is started anew, when the mark is there.
    mark = tmp_path / "given-up"
    program = (
        "import pathlib, sys, time, runpy\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        "if not mark.exists():\n    time.sleep(60)\n"
        f"sys.argv = ['isolated', '{2 * 1024**3}']\n"
        "runpy.run_module('ghostpen.data.readers.isolated', run_name='__main__')\n"
    )
    file = make_file(assets / "texts/story.html")
    with IsolatedReader(deadline_s=20, command=[sys.executable, "-c", program]) as reader:
        reader.deadline_s = 0.5
        with pytest.raises(UnreadableError, match=r"not read after 0\.5 seconds"):
            reader.read(file, "html", reading)
        mark.touch()
        reader.deadline_s = 60
        assert "The boats" in reader.read(file, "html", reading).text


def test_process_that_crashes_is_one_unreadable_file(assets: Path, make_file: MakeFile, reading: Reading) -> None:
    program = "import os; input(); os.abort()"
    with IsolatedReader(command=[sys.executable, "-c", program]) as reader:
        for _ in range(2):
            with pytest.raises(UnreadableError, match="made the program that reads it crash"):
                reader.read(make_file(assets / "texts/story.html"), "html", reading)


def test_process_takes_no_more_memory_than_allowed(tmp_path: Path, make_file: MakeFile, reading: Reading) -> None:
    (tmp_path / "wide.html").write_text("<html><body>" + "<b>x</b>" * 600_000)
    reader = IsolatedReader(most_memory_bytes=256 * 1024**2)
    with reader, pytest.raises(UnreadableError, match="takes more memory to read than is allowed|crash"):
        reader.read(make_file(tmp_path / "wide.html"), "html", reading)


# HTML by itself


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p><span>I</span>T was <i>fine</i>, he_said * 2.</p>", "IT was fine, he_said * 2."),
        ("<p>One<p>Two<br>three", "One\n\nTwo\nthree"),
        ("<nav>Home</nav><p>x</p><footer>y</footer><script>z()</script>", "x"),
        ("<header>Site</header><article><h1>A</h1><p>x</p></article><p>Read more</p>", "# A\n\nx"),
        ("<p>a<sup><a href='#n1'>1</a></sup> b<span class='pagenum'>[Pg 3]</span></p>", "a b"),
        ("<table><tr><td><p>a</p><p>b</p></td><td>c</td></tr></table>", "a\n\nb\n\nc"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<p>a\n  b</p>", "a b"),
        ("<p>two&nbsp; blanks</p>", "two\u00a0 blanks"),
    ],
)
def test_html_is_text_as_a_browser_shows_it(html: str, text: str) -> None:
    assert render_tree(parse_html(html), quotations=False, dropped=Counter()).strip() == text


def test_html_quotation_is_marked_only_where_it_is_anothers() -> None:
    html = "<p>a</p><blockquote><p>b</p></blockquote>"
    assert render_tree(parse_html(html), quotations=True, dropped=Counter()).strip() == "a\n\n> b"
    assert render_tree(parse_html(html), quotations=False, dropped=Counter()).strip() == "a\n\nb"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2021-05-03T10:00:00Z", date(2021, 5, 3)),
        ("1815", date(1815, 1, 1)),
        ("2021-05", date(2021, 5, 1)),
        ("2021-13-01", None),
        ("May 2021", None),
        ("20210503", None),
    ],
)
def test_date_is_read_from_iso_forms_only(text: str, found: date | None) -> None:
    assert parse_date(text) == found
