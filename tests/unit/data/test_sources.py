"""Folders as people have them: all kinds of files, some of them broken."""

import os
import shutil
import zipfile
from collections.abc import Callable
from datetime import date
from email.message import EmailMessage
from pathlib import Path

import pytest
from tests.reading import read_source, read_sources

from ghostpen.data.sources import ReadingOptions, Source, UnreadFile
from ghostpen.errors import DataError

ASSETS = Path(__file__).parents[2] / "assets"
ANN = ReadingOptions(me=("Ann", "Ann Smith", "ann@example.org"))


def write_mail(path: Path, text: str, *, sender: str, message_id: str, answers: str = "", day: int = 1) -> None:
    message = EmailMessage()
    message["From"] = sender
    message["Date"] = f"Mon, {day} Jan 2024 10:00:00 +0000"
    message["Message-ID"] = message_id
    if answers:
        message["In-Reply-To"] = answers
    message.set_content(text)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(message.as_bytes())


def show(source: Source) -> list[tuple[str, date | None]]:
    return [(document.id, document.dated) for document in source.documents]


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """Copy one file of each kind into a folder, some of them in archives."""
    folder = tmp_path / "everything"
    shutil.copytree(
        ASSETS / "texts", folder / "texts", ignore=shutil.ignore_patterns("story.docx", "story.html", "*.md")
    )
    shutil.copytree(ASSETS / "exports/telegram", folder / "telegram", ignore=shutil.ignore_patterns("account.json"))
    for name in ("whatsapp", "discord", "reddit", "x"):
        shutil.make_archive(str(folder / name), "zip", ASSETS / "exports" / name)
    write_mail(folder / "mail/1.eml", "It rains.", sender="Ann <ann@example.org>", message_id="<1@x>")
    write_mail(folder / "mail/2.eml", "Secret", sender="Bob <bob@example.org>", message_id="<2@x>", answers="<1@x>")
    write_mail(folder / "mail/3.eml", "Still.", sender="ann@example.org", message_id="<3@x>", answers="<2@x>", day=8)
    (folder / "rows.jsonl").write_text('{"text": "One row."}\n{"text": "Two rows."}\n')
    (folder / "note.md").write_text("A note.\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    return folder


def test_source_with_a_file_of_each_kind_becomes_documents_with_dates(everything: Path) -> None:
    source = read_source(everything, author="Ann", options=ANN)
    documents = show(source)
    mail = next(document for document in source.documents if document.id.startswith("mail-"))
    assert sorted(documents, key=lambda document: document[0]) == [
        ("book", date(2026, 11, 25)),
        ("discord-123456789012345678-2023-12-28", date(2023, 12, 28)),
        ("discord-123456789012345678-2023-12-30", date(2023, 12, 30)),
        ("discord-987-2020-05-01", date(2020, 5, 1)),
        ("letter", date(2019, 2, 3)),
        (mail.id, date(2024, 1, 8)),
        ("note", None),
        ("reddit-p1", date(2024, 1, 3)),
        ("reddit-p9", date(2024, 1, 5)),
        ("rows-0", None),
        ("rows-1", None),
        ("story", date(2021, 5, 3)),
        ("telegram-4242-2024-01-01", date(2024, 1, 1)),
        ("telegram-4242-2024-01-02", date(2024, 1, 3)),
        ("tracked", date(2026, 11, 25)),
        ("whatsapp-2023-12-31", date(2024, 1, 1)),
        ("whatsapp-chat-with-bob-2023-12-30", date(2023, 12, 31)),
        ("whatsapp-chat-with-bob-2023-12-31", date(2023, 12, 31)),
        ("x-101", date(2024, 1, 3)),
        ("x-104", date(2024, 1, 4)),
        ("x-900", date(2024, 1, 5)),
    ]
    assert mail.text == "It rains.\n\nStill."  # Bob's answer holds the two together
    # book.ms; Discord's two lists; X's likes and account; Reddit's votes and direct messages; the picture
    assert source.files_of_other_types == 8
    assert source.unread == (
        UnreadFile(f"{everything}/texts/encrypted.pdf", "encrypted; save it without a password"),
    )


def test_source_of_others_words_keeps_none_of_them(everything: Path) -> None:
    texts = "\n".join(document.text for document in read_source(everything, author="Ann", options=ANN).documents)
    for words in ("Secret", "Somebody else's words", "I have no car", "Where to?", "Ferry cancelled", "removed"):
        assert words not in texts


def test_source_with_several_senders_and_no_word_of_the_author_is_refused(everything: Path) -> None:
    with pytest.raises(
        DataError, match=r"several people wrote these messages: Ann Smith \(\d+\).* --me NAME_OR_ADDRESS"
    ):
        read_source(everything, author="Ann")


def test_source_chat_without_a_message_of_mine_is_listed(everything: Path) -> None:
    source = read_source(everything, author="Ann", options=ReadingOptions(me=("Ann", "ann@example.org")))
    reasons = [file.reason for file in source.unread if file.origin.endswith("WhatsApp Chat with Bob.txt")]
    assert reasons == ["none of its 6 messages is by --me; give the name as it stands there, too"]


def test_contrast_of_a_chat_is_all_but_the_author_each_by_name() -> None:
    source = read_source(ASSETS / "exports/whatsapp", author=None, options=ANN)
    assert [(document.author, document.text) for document in source.documents] == [
        ("bob", "Perhaps. Note: I have no car."),
        ("bob", "Happy new year"),
        ("bob", "Frohes Neues!"),
    ]
    assert [document.id for document in source.documents] == [
        "whatsapp-chat-with-bob-2023-12-30",
        "whatsapp-chat-with-bob-2023-12-31",
        "chat-2023-12-31",
    ]


def test_two_chats_of_one_name_and_day_stay_two_documents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "_chat.txt").write_text(
            f"[31.12.23, 10:00:00] Ann: {name}\n[31.12.23, 10:01:00] Ann: hi\n"
        )
    sources = read_sources([tmp_path / "a", tmp_path / "b"], author="Ann")
    assert [document.id for source in sources for document in source.documents] == [
        "chat-2023-12-31",
        "chat-2023-12-31-2",
    ]


def test_mails_of_two_sources_in_one_thread_are_one_document(tmp_path: Path) -> None:
    write_mail(tmp_path / "in/2.eml", "Second.", sender="ann@example.org", message_id="<2@x>", answers="<1@x>", day=8)
    write_mail(tmp_path / "out/1.eml", "First.", sender="ann@example.org", message_id="<1@x>")
    (tmp_path / "in/note.txt").write_text("A note.")
    first, second = read_sources([tmp_path / "in", tmp_path / "out"], author="Ann")
    texts = [document.text for source in (first, second) for document in source.documents]
    assert sorted(texts) == ["A note.", "First.\n\nSecond."]


def test_signature_without_a_mark_goes_where_three_mails_have_it(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        text = f"Mail {number}.\n\nAnn Smith\nTel. 0123 456789\n"
        write_mail(tmp_path / f"mail/{number}.eml", text, sender="ann@example.org", message_id=f"<{number}@x>")
    texts = [document.text for document in read_source(tmp_path, author="Ann").documents]
    assert texts == ["Mail 1.", "Mail 2.", "Mail 3."]


# Files that can't be read


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.txt").write_text("It was day.")
    (folder / "b.pdf").write_bytes(b"%PDF-1.7 and no more")
    return folder


def test_source_file_that_cannot_be_read_is_listed_and_the_rest_is_read(broken: Path) -> None:
    source = read_source(broken, author="A")
    assert [document.id for document in source.documents] == ["a"]
    assert source.unread == (UnreadFile(f"{broken}/b.pdf", "a broken PDF; get it again from where it came from"),)


def test_source_file_that_cannot_be_read_is_an_error_where_it_is_to_be(broken: Path) -> None:
    with pytest.raises(DataError, match=r"b\.pdf: a broken PDF; .*; leave out --strict to go on without"):
        read_source(broken, author="A", options=ReadingOptions(strict=True))


def test_source_of_which_nothing_can_be_read_is_an_error_unless_another_can(broken: Path) -> None:
    with pytest.raises(DataError, match=r"b\.pdf: a broken PDF"):
        read_source(broken / "b.pdf", author="A")
    _, second = read_sources([broken / "a.txt", broken / "b.pdf"], author="A")
    assert (second.documents, len(second.unread)) == ((), 1)


def test_source_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("Secret")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("It was day.")
    (tmp_path / "texts/b.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "texts/c.txt").symlink_to("a.txt")
    source = read_source(tmp_path / "texts", author="A")
    assert [document.id for document in source.documents] == ["a", "c"]
    assert [file.reason for file in source.unread] == ["a link that leads out of the folder; give the file itself"]


def test_source_file_whose_name_is_in_no_encoding_is_read(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("It was day.")
    (document,) = read_source(tmp_path, author="A").documents
    assert (document.id, document.origin) == ("caf", f"{tmp_path}/caf?.txt")


def test_source_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match="neither a file nor a folder"):
            read_source(path, author="A")


def write_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def set_encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the first entry's flags
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("entries", "spoil", "reason"),
    [
        ({"a.txt": b"x"}, set_encrypted, "encrypted; unpack it, or save it without a password"),
        ({"a.txt": b"\0" * 20 * 1024**2}, None, "packed more than 200 times, as no text is"),
        ({"b.zip": b"PK\x03\x04"}, None, "a broken zip archive"),
        ({"../../a.txt": b"Secret"}, None, "its name leads elsewhere"),
        ({"/etc/a.txt": b"Secret"}, None, "its name leads elsewhere"),
        ({"..\\a.txt": b"Secret"}, None, "its name leads elsewhere"),
    ],
)
def test_source_archive_with_a_trick_is_listed(
    tmp_path: Path, entries: dict[str, bytes], spoil: Callable[[Path], None] | None, reason: str
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("It was day.")
    path = write_zip(tmp_path / "texts/z.zip", entries)
    if spoil:
        spoil(path)
    before = sorted(tmp_path.rglob("*"))
    source = read_source(tmp_path / "texts", author="A")
    assert [document.text for document in source.documents] == ["It was day."]
    assert [file.reason for file in source.unread][0].startswith(reason)
    assert sorted(tmp_path.rglob("*")) == before


def test_source_archive_within_an_archive_is_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"b.txt": b"Inner."}).read_bytes()
    source = read_source(write_zip(tmp_path / "x.zip", {"a.txt": b"Outer.", "inner.zip": inner}), author="A")
    assert [document.text for document in source.documents] == ["Outer."]
    assert [file.reason for file in source.unread] == ["an archive within an archive; unpack it"]


def test_source_archive_with_damaged_data_lists_the_entry(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "x.zip", {"a.txt": b"It was day, and it was a day like others. " * 50, "b.txt": b"Fine."}
    )
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF  # within the data of a.txt
    path.write_bytes(content)
    source = read_source(path, author="A")
    assert [document.text for document in source.documents] == ["Fine."]
    assert source.unread[0].origin == f"{path}/a.txt"


def test_source_leaves_nothing_in_the_temporary_folder(
    everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    read_source(everything, author="Ann", options=ANN)
    assert list(scratch.iterdir()) == []
