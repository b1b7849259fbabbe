from collections.abc import Callable
from pathlib import Path

import pytest

from ghostpen.data.manifest import load_manifest
from ghostpen.data.prepare import prepare_data
from ghostpen.data.redaction import Redactor
from ghostpen.data.review import Review, render_diffs
from ghostpen.data.sections import AUTHOR_SPLITS, load_sections

MakeProse = Callable[[str, int], str]

BOOK = """THE BOOK

CHAPTER I

It was a long day, and the road was longer; nobody who walked it would
say that “this” was  short -- or [Pg 12] easy.

        *       *       *

Nobody spoke \x1b[31mof it.
"""


class Reader:
    """Reads a review and answers."""

    def __init__(self, *, answer: bool) -> None:
        self._answer = answer
        self.reviews: list[Review] = []
        self.lines: list[str] = []
        self.splits: dict[str, list[tuple[str, int, str]]] = {}

    def __call__(self, review: Review) -> bool:
        self.reviews.append(review)
        self.lines = list(render_diffs(review))
        self.splits = {
            split: [(section.document, section.section, section.text) for section in sections]
            for split, sections in review.splits.items()
        }
        return self._answer


@pytest.fixture
def texts(tmp_path: Path, make_prose: MakeProse) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "book.txt").write_text(BOOK, encoding="utf-8")
    for name in ("emma", "persuasion"):
        (folder / f"{name}.txt").write_text(make_prose(name[0], 600), encoding="utf-8")
    (folder / "copy.txt").write_text(make_prose("e", 600).replace("e7 ", "x "), encoding="utf-8")
    return folder


def test_review_shows_as_a_diff_what_goes_and_not_line_ends(texts: Path, tmp_path: Path) -> None:
    reader = Reader(answer=False)
    assert prepare_data([texts], author="A", out=tmp_path / "out", test_docs="book", review=reader) is None
    lines = reader.lines
    place = lines.index(f"--- {texts}/book.txt")
    assert lines[place : place + 11] == [
        f"--- {texts}/book.txt",
        "+++ A/book (test)",
        "@@ -1,5 +1,2 @@",
        "-THE BOOK",
        "-CHAPTER I",
        "-It was a long day, and the road was longer; nobody who walked it would say that “this” was  short -- or "
        "[Pg 12] easy.",
        "-* * *",
        "-Nobody spoke �[31mof it.",
        "+It was a long day, and the road was longer; nobody who walked it would say that “this” was  short -- or "
        "easy.",
        "+Nobody spoke [31mof it.",
        f"--- {texts}/copy.txt",
    ]
    assert lines[place + 11] == "+++ A/copy (nothing is kept)"
    assert all(line.startswith("-e") for line in lines[place + 13 : place + 25])
    assert f"--- {texts}/persuasion.txt" not in lines  # all of it is kept
    assert +reader.reviews[0].dropped == {
        "headings": 2, "scene_breaks": 1, "page_numbers": 1, "near_duplicate_documents": 1,
    }  # fmt: skip


def test_review_answered_with_no_writes_nothing_and_with_yes_what_it_showed(texts: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert prepare_data([texts], author="A", out=tmp_path / "out", review=Reader(answer=False)) is None
    assert sorted(tmp_path.iterdir()) == before
    reader = Reader(answer=True)
    prepare_data([texts], author="A", out=tmp_path / "out", review=reader)
    for split in AUTHOR_SPLITS:
        rows = [
            (section.document, section.section, section.text) for section in load_sections(tmp_path / "out", split)
        ]
        assert rows == reader.splits[split]
    prepare_data([texts], author="A", out=tmp_path / "out", review=reader)
    assert len(reader.reviews) == 1  # it is there: nothing to review


def test_review_shows_a_masked_text_masked(texts: Path, tmp_path: Path) -> None:
    (texts / "book.txt").write_text("CHAPTER I\n\nWrite to ann@example.org.\n", encoding="utf-8")
    reader = Reader(answer=False)
    prepare_data([texts], author="A", out=tmp_path / "out", redactor=Redactor(), review=reader)
    assert "example.org" not in "\n".join(reader.lines)
    assert +reader.reviews[0].masked == {"emails": 1}


def test_prepare_keeps_typography_unless_it_is_to_be_unified(texts: Path, tmp_path: Path) -> None:
    kept = prepare_data([texts], author="A", out=tmp_path / "kept", test_docs="book")
    unified = prepare_data([texts], author="A", out=tmp_path / "unified", test_docs="book", typography="unified")
    ((kept_text, _), (unified_text, _)) = (
        load_sections(tmp_path / name, "test")[0].text.split("\n\n") for name in ("kept", "unified")
    )
    assert kept_text.endswith("“this” was  short -- or easy.")
    assert unified_text.endswith('"this" was short—or easy.')
    assert (kept.manifest.repaired, unified.manifest.repaired) == ({}, {"typography": 4})
    assert load_manifest(tmp_path / "unified").inputs.typography == "unified"
