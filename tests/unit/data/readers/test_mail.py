"""Mails written by Python's own email and mailbox packages."""

import mailbox
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from ghostpen.data.readers.mail import LARGEST_MAIL_BYTES, read_eml, read_mbox
from ghostpen.data.readers.passages import Passage, Reading, Sender, SourceFile
from ghostpen.data.readers.replies import extract_own_text, find_contact_block

MakeFile = Callable[[Path], SourceFile]

INTRODUCTION = "On Tue, Jan 2, 2024 at 3:04 PM Bob Smith <bob@example.org> wrote:"


def write_mail(text: str, *, sender: str = "Ann <ann@example.org>", **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = "bob@example.org"
    message["Date"] = "Mon, 1 Jan 2024 23:30:00 -0500"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


@pytest.fixture
def ann_only() -> Reading:
    return Reading(wants=lambda sender: sender.address == "ann@example.org")


@pytest.fixture
def read(tmp_path: Path, make_file: MakeFile, ann_only: Reading) -> Callable[[EmailMessage | bytes], list[Passage]]:
    def read_one(message: EmailMessage | bytes) -> list[Passage]:
        (tmp_path / "a.eml").write_bytes(message if isinstance(message, bytes) else message.as_bytes())
        return list(read_eml(make_file(tmp_path / "a.eml"), ann_only))

    return read_one


ReadMail = Callable[[EmailMessage | bytes], list[Passage]]


def test_mail_of_mine_is_read_with_sender_time_and_links(read: ReadMail) -> None:
    (passage,) = read(
        write_mail(
            "Dear Bob,\n\nit rains — as ever.\n", Message_ID="<2@x>", In_Reply_To="<1@x>", References="<0@x> <1@x>"
        )
    )
    assert passage.text == "Dear Bob,\n\nit rains — as ever."
    assert passage.sender == Sender("Ann", "ann@example.org")
    assert passage.sent == datetime(2024, 1, 2, 4, 30)  # in UTC
    assert passage.links == ("mail:2@x", "mail:1@x", "mail:0@x")
    assert passage.key == "mail:2@x"


def test_mail_of_another_gives_its_links_and_not_its_text(read: ReadMail, ann_only: Reading) -> None:
    (passage,) = read(write_mail("Secret", sender="bob@example.org", Message_ID="<1@x>"))
    assert (passage.text, passage.links) == ("", ("mail:1@x",))
    assert ann_only.left_out == {"messages_by_others": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Precedence": "bulk"},
        {"X_Autoreply": "yes"},
        {"X_Failed_Recipients": "x@example.org"},
    ],
)
def test_mail_by_a_program_is_left_out(read: ReadMail, ann_only: Reading, headers: dict[str, str]) -> None:
    assert read(write_mail("I am away.", **headers))[0].text == ""
    assert ann_only.left_out == {"automatic_mails": 1}


def test_mail_that_says_it_is_not_automatic_is_read(read: ReadMail) -> None:
    assert read(write_mail("Hi", Auto_Submitted="no"))[0].text == "Hi"


def test_draft_and_spam_of_gmail_are_left_out(read: ReadMail, ann_only: Reading) -> None:
    assert read(write_mail("Hi", X_Gmail_Labels="Drafts,Unread"))[0].text == ""
    assert ann_only.left_out == {"unsent_or_deleted_mails": 1}


def test_mail_hard_wrapped_is_unwrapped_and_short_lines_stay(read: ReadMail) -> None:
    wrapped = (
        "Dear Bob,\nhow are you?\n\n"
        "Some years ago - never mind how long precisely - having little or no\n"
        "money in my purse, and nothing particular to interest me on shore, I\n"
        "thought I would sail about.\n"
    )
    assert read(write_mail(wrapped))[0].text == (
        "Dear Bob,\nhow are you?\n\n"
        "Some years ago - never mind how long precisely - having little or no money in my purse, and nothing "
        "particular to interest me on shore, I thought I would sail about."
    )


@pytest.mark.parametrize(("delsp", "soft"), [("no", " \n"), ("yes", "  \n")])
def test_mail_with_soft_line_breaks_is_joined_at_these_only(read: ReadMail, delsp: str, soft: str) -> None:
    raw = (
        "From: ann@example.org\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n"
        f"Content-Type: text/plain; charset=us-ascii; format=flowed; delsp={delsp}\n\n"
        f"One long line, broken softly.{soft}It goes on\nand here the author broke it.\n\n"
        f"> quoted{soft}> text\n-- \nAnn\n"
    )
    assert read(raw.encode())[0].text == "One long line, broken softly. It goes on\nand here the author broke it."


def test_mail_in_html_alone_is_read_without_quotation_and_signature(read: ReadMail, ann_only: Reading) -> None:
    message = write_mail("")
    message.set_content(
        '<div dir="ltr">Hi Bob,<div><br></div><div>it&nbsp; rains.</div>'
        '<div class="gmail_signature">Ann, CEO</div></div>'
        '<div class="gmail_quote"><div class="gmail_attr">On Monday Bob wrote:</div>'
        "<blockquote>Secret</blockquote></div>",
        subtype="html",
    )
    assert read(message)[0].text == "Hi Bob,\n\nit\u00a0 rains."
    assert ann_only.left_out == {"quoted_mails": 1, "signatures": 1}


def test_mail_with_both_is_read_as_plain_text_without_attachments_and_forwarded_mails(read: ReadMail) -> None:
    message = write_mail("Plain words.\n")
    message.add_alternative("<p>HTML words.</p>", subtype="html")
    message.add_attachment("notes of others", filename="notes.txt")
    message.add_attachment(write_mail("Forwarded.", sender="bob@example.org"))
    assert read(message)[0].text == "Plain words."


@pytest.mark.parametrize(
    ("charset", "content", "text"),
    [
        ("iso-8859-1", b"caf\xe9", "café"),
        ("x-unknown", b"caf\xc3\xa9", "café"),
        ("us-ascii", b"It\x92s fine", "It’s fine"),
    ],
)
def test_mail_in_a_wrong_or_unknown_charset_is_read(read: ReadMail, charset: str, content: bytes, text: str) -> None:
    head = f"From: ann@example.org\nDate: x\nContent-Type: text/plain; charset={charset}\n\n"
    (passage,) = read(head.encode() + content)
    assert (passage.text, passage.sent) == (text, None)


def test_mail_with_an_encoded_name_is_matched_by_the_name(tmp_path: Path, make_file: MakeFile) -> None:
    seen: list[Sender] = []
    reading = Reading(wants=lambda sender: seen.append(sender) is None)
    (tmp_path / "a.eml").write_bytes(b"From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\n\nHi\n")
    list(read_eml(make_file(tmp_path / "a.eml"), reading))
    assert seen == [Sender("Jörg", "j@example.org")]


def test_mail_nested_without_end_is_counted_as_unreadable(read: ReadMail, ann_only: Reading) -> None:
    raw = b"From: ann@example.org\n"
    for level in range(2000):
        raw += b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
    assert [passage.text for passage in read(raw + b"\n\nx")] == [""]
    assert ann_only.left_out["unreadable_mails"] == 1


# mbox


def test_mbox_of_python_is_read_message_by_message(tmp_path: Path, make_file: MakeFile, ann_only: Reading) -> None:
    box = mailbox.mbox(tmp_path / "Sent")
    box.add(write_mail("From here on it rained.\n", Message_ID="<1@x>"))  # mailbox writes ">From here"
    box.add(write_mail("Secret", sender="bob@example.org", Message_ID="<2@x>"))
    box.add(write_mail("Line\n\nFrom 1820 to 1830\n", Message_ID="<3@x>"))
    box.close()
    passages = list(read_mbox(make_file(tmp_path / "Sent"), ann_only))
    assert [passage.text for passage in passages] == ["From here on it rained.", "", "Line\n\nFrom 1820 to 1830"]


def test_mbox_of_gmail_keeps_a_thread_together(tmp_path: Path, make_file: MakeFile, ann_only: Reading) -> None:
    (tmp_path / "All mail.mbox").write_bytes(
        b"From 1723853304940284153@xxx Fri Feb 04 17:10:22 +0000 2022\r\nX-GM-THRID: 1723\r\n"
        b"X-Gmail-Labels: Sent\r\nFrom: Ann <ann@example.org>\r\nMessage-ID: <1@x>\r\n\r\nHi\r\n"
    )
    (passage,) = read_mbox(make_file(tmp_path / "All mail.mbox"), ann_only)
    assert (passage.text, passage.links) == ("Hi", ("mail:1@x", "gmail:1723"))


def test_mbox_with_a_mail_of_enormous_size_skips_it(tmp_path: Path, make_file: MakeFile, ann_only: Reading) -> None:
    start = b"From ann@example.org Mon Jan  1 10:00:00 2024\nFrom: ann@example.org\n\n"
    with (tmp_path / "a").open("wb") as file:
        file.write(start + b"one\n\n" + start)
        file.seek(LARGEST_MAIL_BYTES + 100, 1)  # a hole: a line of zeros
        file.write(b"\n\n" + start + b"two\n")
    assert [passage.text for passage in read_mbox(make_file(tmp_path / "a"), ann_only)] == ["one", "two"]
    assert ann_only.left_out == {"oversized_mails": 1}


# Quotations and signatures


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (f"Yes.\n\nAnn\n\n{INTRODUCTION}\n\n> Shall we?\n>\n> Bob\n", "Yes.\n\nAnn"),
        ("Yes.\n\n" + INTRODUCTION.replace("<bob", "<\nbob") + "\n\n> Shall we?\n", "Yes."),
        (f"{INTRODUCTION}\n> Shall we?\n> Where?\n\nYes.\n\n> And when?\n\nAt noon.\n", "Yes.\n\n\nAt noon."),
        ("Hi,\n\n> Shall we?\n\nYes.\n", "Hi,\n\n\nYes."),
        ("Yes.\n\nBob Smith wrote:\n> Shall we?\n", "Yes."),
        ("Yes.\n\n-----Original Message-----\nFrom: Bob\nSent: Monday\nTo: Ann\nSubject: x\n\nShall we?\n", "Yes."),
        (f"Yes.\n\n{'_' * 32}\nFrom: Bob <b@x.org>\nSent: Monday\nTo: Ann\nSubject: x\n\nShall we?\n", "Yes."),
        ("Gern.\n\nAm 02.01.2024 um 15:04 schrieb Bob <bob@example.org>:\n> Treffen wir uns?\n", "Gern."),
        ("Gern.\n\nVon: Bob\nGesendet: Montag\nAn: Ann\nBetreff: x\n\nTreffen wir uns?\n", "Gern."),
        ("Oui.\n\nLe mar. 2 janv. 2024 à 15:04, Bob <bob@example.org> a écrit :\n\n> On se voit ?\n", "Oui."),
        ("FYI\n\n---------- Forwarded message ---------\nFrom: Bob\nDate: x\nSubject: y\nTo: Ann\n\nSecret\n", "FYI"),
        ("Yes.\n\n-- \nAnn Smith\nACME Inc.\n", "Yes."),
        ("Sure.\n\nSent from my iPhone\n", "Sure."),
        ("Gern.\n\nVon meinem iPhone gesendet\n", "Gern."),
    ],
)
def test_own_text_is_what_the_sender_wrote(text: str, own: str) -> None:
    assert extract_own_text(text, Counter()) == own


@pytest.mark.parametrize(
    "text",
    [
        "On Sunday he wrote:\n\nDear Ann, I am well.\n\nThat was all.",
        "From: the window I saw it.\nThen -- nothing.",
        "He paused.\n\n--\n\nThe end.",
        f"One scene.\n\n{'_' * 32}\n\nAnother.",
        "Sent from heaven, she thought.",
    ],
)
def test_own_text_of_an_author_who_writes_like_a_mail_program_stays(text: str) -> None:
    assert extract_own_text(text, Counter()) == text


def test_own_text_goes_on_below_a_sentence_that_looks_like_an_introduction() -> None:
    text = f"On Sunday he wrote:\n\nDear Ann.\n\nSo he did.\n\n{INTRODUCTION}\n\n> Shall we?\n> Where?\n\n-- \nAnn\n"
    assert extract_own_text(text, Counter()) == "On Sunday he wrote:\n\nDear Ann.\n\nSo he did."


@pytest.mark.parametrize(
    "text", ["On foo wrote:\n" * 20_000, "> a\n> b\n> c\nyes\n\n" * 5_000, "From: a\nTo: b\n" * 9_000]
)
def test_own_text_of_a_mail_made_to_take_for_ever_ends(text: str) -> None:
    assert ">" not in extract_own_text(text, Counter())


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("Hi.\n\nAnn Smith\nTel. 0123 456789", "Ann Smith\nTel. 0123 456789"),
        ("Hi.\n\nAnn\nwww.example.org", "Ann\nwww.example.org"),
        ("Hi.\n\nBest,\nAnn", None),
        ("Hi.\n\nSee https://example.org", None),  # one line: a sentence with an address
    ],
)
def test_contact_block_is_a_last_paragraph_with_ways_to_reach_somebody(text: str, block: str | None) -> None:
    assert find_contact_block(text) == block
