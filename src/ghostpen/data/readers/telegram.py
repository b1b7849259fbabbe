"""Telegram Desktop's export as JSON: of one chat, or of the whole account, which says who its owner is.

Source of the shape: https://core.telegram.org/import-export. Read as a stream: an account's export can have
gigabytes.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ghostpen.data.readers.passages import Passage, Reading, Sender, SourceFile, UnreadableError, find_chat_day

_MESSAGE_LISTS = ("messages.item", "chats.list.item.messages.item", "left_chats.list.item.messages.item")


def read_telegram(file: SourceFile, reading: Reading) -> Iterator[Passage]:
    """Yield the messages that somebody typed: none forwarded, none of bots, no captions of others.

    Raises:
        UnreadableError: the JSON is broken; what was yielded before is of use all the same.
    """
    import ijson

    try:
        with file.local.open("rb") as stream:
            for chat, owner, message in _iterate_messages(stream):
                yield from _read_message(message, chat, owner, reading)
    except ijson.JSONError as error:
        raise UnreadableError("broken JSON; export it again") from error


def _iterate_messages(stream: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the chat's id, the owner's id ("" where it isn't told) and the message."""
    import ijson
    from ijson.common import ObjectBuilder

    chat = chat_type = owner = ""
    builder: Any = None
    building = ""
    for prefix, event, value in ijson.parse(stream, use_float=True):
        if builder is not None:
            builder.event(event, value)
            if event == "end_map" and prefix == building:
                if chat_type != "bot_chat":
                    yield chat, owner, builder.value
                builder = None
        elif event == "start_map" and prefix in _MESSAGE_LISTS:
            builder, building = ObjectBuilder(), prefix
            builder.event(event, value)
        elif prefix in ("id", "chats.list.item.id", "left_chats.list.item.id"):
            chat = str(value)
        elif prefix in ("type", "chats.list.item.type", "left_chats.list.item.type"):
            chat_type = str(value)
        elif prefix == "personal_information.user_id":
            owner = f"user{value}"


def _read_message(message: dict[str, Any], chat: str, owner: str, reading: Reading) -> Iterator[Passage]:
    address = str(message.get("from_id") or "")
    sender = Sender(str(message.get("from") or ""), address, is_owner=address == owner if owner else None)
    text = _join_text(message.get("text") or message.get("text_entities") or "")
    if message.get("type") != "message":
        reading.left_out["service_messages"] += 1
    elif message.get("forwarded_from") or message.get("via_bot"):
        reading.left_out["forwarded_messages"] += 1
    elif not text.strip():
        reading.left_out["attachments_and_notices"] += 1
    elif not reading.wants(sender):
        reading.left_out["messages_by_others"] += 1
    else:
        sent = _read_time(message.get("date"))
        day = find_chat_day(sent)
        key = f"telegram:{chat}/{message.get('id')}"
        links = (f"telegram:{chat}/{day}",)
        yield Passage(text, f"telegram-{chat}-{day}", sender=sender, sent=sent, links=links, key=key)


def _join_text(text: object) -> str:
    """Join a text that may come in pieces: strings, and objects that say how a piece is set."""
    if isinstance(text, str):
        return text
    pieces = text if isinstance(text, list) else []
    return "".join(str(piece.get("text", "")) if isinstance(piece, dict) else str(piece) for piece in pieces)


def _read_time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError:
        return None
