"""WhatsApp's text export and Telegram's JSON."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath

import pytest

from ghostpen.data.readers.passages import Passage, Reading, Sender, SourceFile, UnreadableError
from ghostpen.data.readers.telegram import read_telegram
from ghostpen.data.readers.whatsapp import read_whatsapp

MakeFile = Callable[[Path], SourceFile]


@pytest.fixture
def ann_only() -> Reading:
    return Reading(wants=lambda sender: sender.name.startswith("Ann") if sender.is_owner is None else sender.is_owner)


def show(passages: list[Passage]) -> list[tuple[str, str]]:
    return [(passage.name, passage.text) for passage in passages]


def test_whatsapp_of_android_is_read_by_day_without_attachments_and_notices(
    assets: Path, make_file: MakeFile, ann_only: Reading
) -> None:
    passages = list(read_whatsapp(make_file(assets / "exports/whatsapp/WhatsApp Chat with Bob.txt"), ann_only))
    assert show(passages) == [
        ("WhatsApp Chat with Bob-2023-12-30", "Are you coming tomorrow?"),
        ("WhatsApp Chat with Bob-2023-12-30", "I can fetch you.\nAt eight?\n\nOr at nine?"),
        ("WhatsApp Chat with Bob-2023-12-30", "Still awake?  I am."),  # 1:05 at night
        ("WhatsApp Chat with Bob-2023-12-31", "Good morning"),
    ]
    assert passages[0].sent == datetime(2023, 12, 30, 21, 15)
    assert ann_only.left_out == {"service_messages": 2, "messages_by_others": 2, "attachments_and_notices": 3}


def test_whatsapp_of_ios_is_read_with_its_direction_marks(assets: Path, ann_only: Reading) -> None:
    path = assets / "exports/whatsapp/_chat.txt"
    file = SourceFile(PurePosixPath("whatsapp/_chat.txt"), str(path), path)
    passages = list(read_whatsapp(file, ann_only))
    assert show(passages) == [
        ("whatsapp-2023-12-31", "hello"),  # the folder's name: every chat of an iPhone is called _chat
        ("whatsapp-2023-12-31", "Danke, dir auch\nund bis morgen"),
    ]
    assert ann_only.left_out == {"messages_by_others": 1, "attachments_and_notices": 3}


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        ("31.12.23, 23:59 - ", datetime(2023, 12, 31, 23, 59)),
        ("12/31/23, 11:59\u202fPM - ", datetime(2023, 12, 31, 23, 59)),
        ("12/31/23, 12:05 AM - ", datetime(2023, 12, 31, 0, 5)),
        ("[31/12/2023, 23:59:58] ", datetime(2023, 12, 31, 23, 59, 58)),
        ("\u200e[12/31/23, 11:59:58 PM] ", datetime(2023, 12, 31, 23, 59, 58)),
        ("31.12.16 23:59:58: ", datetime(2016, 12, 31, 23, 59, 58)),
        ("2023-12-31, 23:59 - ", datetime(2023, 12, 31, 23, 59)),
        ("31.12.2023 klo 23.59 - ", datetime(2023, 12, 31, 23, 59)),
        ("31/12/23 11:59 p. m. - ", datetime(2023, 12, 31, 23, 59)),
        ("31.12.2023 um 23:59 - ", datetime(2023, 12, 31, 23, 59)),
    ],
)
def test_whatsapp_time_is_read_in_the_forms_of_phones_and_countries(
    tmp_path: Path, make_file: MakeFile, reading: Reading, header: str, sent: datetime
) -> None:
    (tmp_path / "a.txt").write_text(f"{header}Ann: Note: hi\n", encoding="utf-8")
    (passage,) = read_whatsapp(make_file(tmp_path / "a.txt"), reading)
    assert (passage.sender, passage.text, passage.sent) == (Sender("Ann"), "Note: hi", sent)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("IMG-20240101-WA0001.jpg (file attached)\nLook at this!", ["Look at this!"]),
        ("My notes.pdf (Datei angehängt)", []),
        ("I like it.OK (really good)", ["I like it.OK (really good)"]),
        ("<Medien ausgeschlossen>", []),
        ("null", []),
        ("You deleted this message", []),
        ("Well <this is odd>", ["Well <this is odd>"]),
    ],
)
def test_whatsapp_attachments_go_and_captions_stay(
    tmp_path: Path, make_file: MakeFile, reading: Reading, text: str, kept: list[str]
) -> None:
    (tmp_path / "a.txt").write_text(f"31.12.23, 23:59 - Ann: {text}\n", encoding="utf-8")
    assert [passage.text for passage in read_whatsapp(make_file(tmp_path / "a.txt"), reading)] == kept


@pytest.mark.parametrize(
    ("dates", "first"),
    [
        (("5/6/23", "6/6/23"), datetime(2023, 6, 5)),  # both are possible: day before month
        (("5/30/23", "6/1/23"), datetime(2023, 5, 30)),  # 30 is no month
        (("5/6/23", "5/7/23", "6/1/23"), datetime(2023, 5, 6)),  # the other way round, time would run backwards
    ],
)
def test_whatsapp_order_of_day_and_month_is_told_by_the_whole_file(
    tmp_path: Path, make_file: MakeFile, reading: Reading, dates: tuple[str, ...], first: datetime
) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{date}, 00:00 - Ann: hi\n" for date in dates))
    assert next(read_whatsapp(make_file(tmp_path / "a.txt"), reading)).sent == first


def test_telegram_chat_is_read_without_forwarded_and_empty_messages(
    assets: Path, make_file: MakeFile, ann_only: Reading
) -> None:
    passages = list(read_telegram(make_file(assets / "exports/telegram/chat.json"), ann_only))
    assert show(passages) == [
        ("telegram-4242-2024-01-01", "Shall we walk?"),
        ("telegram-4242-2024-01-01", "To the old mill, see https://example.org/mill"),
        ("telegram-4242-2024-01-02", "That was long ago."),  # 0:30 on the 3rd
    ]
    assert passages[0].sender == Sender("Ann", "user111", is_owner=None)
    assert ann_only.left_out == {
        "service_messages": 1,
        "messages_by_others": 1,
        "forwarded_messages": 1,
        "attachments_and_notices": 1,
    }


def test_telegram_account_says_who_its_owner_is_and_bots_are_left_out(
    assets: Path, make_file: MakeFile, ann_only: Reading
) -> None:
    passages = list(read_telegram(make_file(assets / "exports/telegram/account.json"), ann_only))
    assert [passage.text for passage in passages][-1] == "A note to myself."
    assert "/start" not in [passage.text for passage in passages]
    assert {passage.sender for passage in passages} == {Sender("Ann", "user111", is_owner=True)}


def test_telegram_file_that_breaks_off_gives_what_it_has_and_says_so(
    tmp_path: Path, assets: Path, make_file: MakeFile, reading: Reading
) -> None:
    whole = (assets / "exports/telegram/chat.json").read_bytes()
    (tmp_path / "a.json").write_bytes(whole[: whole.index(b"Where to?")])
    passages = read_telegram(make_file(tmp_path / "a.json"), reading)
    assert next(passages).text == "Shall we walk?"
    with pytest.raises(UnreadableError, match="broken JSON"):
        next(passages)


def test_telegram_message_of_another_shape_is_no_crash(tmp_path: Path, make_file: MakeFile, reading: Reading) -> None:
    messages = [{"type": "message", "text": [1, {"a": 2}], "date": 7}, {"type": "message", "text": {"a": 1}}]
    (tmp_path / "a.json").write_text(json.dumps({"type": "x", "id": 1, "messages": messages}))
    assert show(list(read_telegram(make_file(tmp_path / "a.json"), reading))) == [("telegram-1-undated", "1")]
