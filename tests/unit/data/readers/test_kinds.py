import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostpen.data.readers.kinds import Kind, recognise
from ghostpen.data.readers.passages import SourceFile, UnreadableError

MakeFile = Callable[[Path], SourceFile]

MAIL = b"From: Ann <ann@example.org>\nDate: Mon, 1 Jan 2024 10:00:00 +0000\nSubject: x\n\nHi\n"
WHATSAPP = b"1/2/24, 10:00 - Ann: hi\n1/2/24, 10:01 - Bob: ho\n"


def make_zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", b"It was day.", Kind.TEXT),
        ("a.MD", b"# A\n", Kind.TEXT),
        ("a.txt", b"%PDF-1.7\n\x00", Kind.PDF),
        ("a", b"%PDF-1.7\n", Kind.PDF),
        ("a.doc", make_zip("[Content_Types].xml", "word/document.xml"), Kind.DOCX),
        ("a.zip", make_zip("mimetype", "META-INF/container.xml"), Kind.EPUB),
        ("a.bin", make_zip("b.txt"), Kind.ZIP),
        ("a.txt", b"PAR1\x00\x00", Kind.PARQUET),
        ("Sent", b"From ann@example.org Mon Jan  1 10:00:00 2024\n" + MAIL, Kind.MBOX),
        ("a.txt", MAIL, Kind.EML),
        ("a.eml", b"From: ann@example.org\n\nHi\n", Kind.EML),
        ("a.txt", b"From: the window I saw it.\n\nIt was day.\n", Kind.TEXT),
        ("a.txt", b"From Paris, in the year 1820\nDear Ann,\n", Kind.TEXT),
        ("a.txt", b"<!DOCTYPE html><html><p>x", Kind.HTML),
        ("a.html", b"<p>x</p>", Kind.HTML),
        ("a.txt", b"I wrote <p> in HTML.", Kind.TEXT),
        ("a.txt", WHATSAPP, Kind.WHATSAPP),
        ("log.txt", b"[2024-01-02 10:00:00] INFO start\n[2024-01-02 10:00:01] INFO end\n", Kind.TEXT),
        (
            "diary.txt",
            b"1/2/24, 10:00 - A walk: rain\n1/3/24, 9:00 - At home: snow\n1/4/24, 9:00 - A visit: sun\n",
            Kind.TEXT,
        ),
        ("a.json", json.dumps({"name": "x", "type": "personal_chat", "messages": [{"from_id": "user1"}]}).encode(),
         Kind.TELEGRAM),
        ("a.json", json.dumps([{"ID": 1, "Timestamp": "t", "Contents": "c"}]).encode(), Kind.DISCORD),
        ("a.csv", b"ID,Timestamp,Contents,Attachments\n", Kind.DISCORD),
        ("a.csv", b"id,permalink,date,ip,subreddit,gildings,title,url,body\n", Kind.REDDIT),
        ("a.csv", b"id;text\n1;x\n", Kind.CSV),
        ("tweets.js", b"window.YTD.tweets.part0 = [", Kind.X),
        ("like.js", b"window.YTD.like.part0 = [", Kind.OTHER),
        ("a.jsonl", b'{"text": "x"}\n', Kind.JSONL),
        ("a.json", b'{"text": "x"}\n{"text": "y"}\n', Kind.JSONL),
        ("settings.json", b'{"a": 1}', Kind.OTHER),
        ("a.txt", b"{It was day.}\n", Kind.TEXT),
        ("picture.png", b"\x89PNG\r\n\x1a\n\x00", Kind.OTHER),
        ("code.py", b"print(1)\n", Kind.OTHER),
        ("README", b"text", Kind.OTHER),
        ("a.txt", "It was day.".encode("utf-16"), Kind.TEXT),
    ],
)  # fmt: skip
def test_recognise_by_content(tmp_path: Path, make_file: MakeFile, name: str, content: bytes, kind: Kind) -> None:
    (tmp_path / name).write_bytes(content)
    assert recognise(make_file(tmp_path / name)) is kind


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pdf", b"It was day.", "no PDF file, although its name says so"),
        ("a.txt", b"\x89PNG\x00", "no text file, although its name says so"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "encrypted, or in the old Word format"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "the old Word format; save it as .docx"),
        ("a.odt", make_zip("mimetype", "content.xml"), "OpenDocument; save it as .docx"),
        ("a.pst", b"!BDN\x00", "export it as mbox"),
        ("a.epub", b"PK\x03\x04 no zip", "a broken zip archive"),
        ("a.tgz", b"\x1f\x8b\x00", "packed; unpack it"),
    ],
)
def test_recognise_what_was_meant_to_be_read_and_cannot_says_why(
    tmp_path: Path, make_file: MakeFile, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=reason):
        recognise(make_file(tmp_path / name))


def test_recognise_votes_beside_reddit_posts_are_no_table(tmp_path: Path, make_file: MakeFile) -> None:
    (tmp_path / "votes.csv").write_bytes(b"id,permalink,direction\n")
    file = make_file(tmp_path / "votes.csv")
    assert recognise(file, siblings={"posts.csv", "comments.csv", "votes.csv"}) is Kind.OTHER
    assert recognise(file, siblings={"votes.csv"}) is Kind.CSV


def test_recognise_html_behind_comments_and_comments_without_end(tmp_path: Path, make_file: MakeFile) -> None:
    (tmp_path / "a.txt").write_bytes(b"<?xml version='1.0'?>\n<!-- a -->\n<!-- b --><!DOCTYPE html><p>x")
    assert recognise(make_file(tmp_path / "a.txt")) is Kind.HTML
    (tmp_path / "b.txt").write_bytes(b"<!---->" * 9000 + b"x")
    assert recognise(make_file(tmp_path / "b.txt")) is Kind.TEXT
