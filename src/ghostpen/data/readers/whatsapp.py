"""WhatsApp's "Export chat": a text file whose lines begin with a date, a time and a name.

No library reads the shapes of all phones and languages, so they are read here. Source of the shapes: exports of
Android ("31.12.23, 23:59 - Ann: ...", "12/31/23, 11:59 PM - Ann: ..."), iOS ("[31/12/2023, 23:59:59] Ann: ...")
and old ones of iOS ("31.12.16 23:59:59: Ann: ...").
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ghostpen.data.readers.passages import Passage, Reading, Sender, SourceFile, find_chat_day
from ghostpen.data.readers.plain import decode_text

_MARKS = "\u200e\u200f\u202a\u202b\u202c\ufeff"  # direction marks, which iOS puts before what it says itself
_DATE = r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})\.?"
_TIME = r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?\s?([^\d\s\]:-][^\d\]:-]{0,14}?)?"
_HALF_DAY = re.compile(r"[ap](?=\.?\s?m)|[صم]")
_BETWEEN = r",?\s(?:[^\W\d]{1,3}\.?\s)?"  # "um", "at", "klo"
_HEADER = re.compile(
    rf"[{_MARKS}]*(?:\[{_DATE}{_BETWEEN}{_TIME}\]\s|{_DATE}{_BETWEEN}{_TIME}\s[-–]\s|{_DATE}{_BETWEEN}{_TIME}:\s)(.*)",
    re.DOTALL,
)
_SENDER = re.compile(rf"[{_MARKS}]*~?\s?([^:\n]{{1,80}}?):\s(.*)", re.DOTALL)
_MEDIA = r"jpe?g|png|webp|gif|mp4|mov|3gp|opus|ogg|m4a|mp3|aac|pdf|vcf|docx?|xlsx?|pptx?|zip|txt|csv"
_ATTACHED = re.compile(
    rf"[^\n]{{1,150}}\.(?:{_MEDIA}) \([^()\n]{{3,40}}\)(?:\n|$)", re.IGNORECASE
)  # a caption may follow
_OMITTED = re.compile(r"<[^<>\n]{3,60}>|null")
_DELETED = re.compile(
    r"(?:This message was deleted|You deleted this message|Diese Nachricht wurde gelöscht|"
    r"Du hast diese Nachricht gelöscht|Se eliminó este mensaje|Eliminaste este mensaje|Ce message a été supprimé|"
    r"Vous avez supprimé ce message|Questo messaggio è stato eliminato|Hai eliminato questo messaggio|"
    r"Esta mensagem foi apagada|Você apagou esta mensagem|Mensagem apagada|Dit bericht is verwijderd|"
    r"Je hebt dit bericht verwijderd)\.?"
)
_EDITED = re.compile(
    r"\u200e?<(?:This message was edited|Diese Nachricht wurde bearbeitet|Se editó este mensaje|"
    r"Ce message a été modifié|Questo messaggio è stato modificato|Esta mensagem foi editada|"
    r"Dit bericht is bewerkt)>$"
)


@dataclass(frozen=True)
class _Message:
    numbers: tuple[int, int, int]  # of the date, in the file's order
    hour: int
    minute: int
    second: int
    text: str


def looks_like_whatsapp(head: str) -> bool:
    """Tell a chat from a log or a diary with times: it begins with a message, and its few senders come again."""
    if not _HEADER.match(head.lstrip("\n")):
        return False
    senders = [found[1] for message in _split_messages(head) if (found := _SENDER.fullmatch(message.text))]
    return len(senders) >= 2 and len(set(senders)) <= max(2, len(senders) / 2)


def read_whatsapp(file: SourceFile, reading: Reading) -> Iterator[Passage]:
    """Yield the messages of a chat, without attachments, deleted ones and what WhatsApp says itself."""
    decoded = decode_text(file.read_whole())
    reading.repaired["encodings"] += decoded.repaired
    messages = list(_split_messages(decoded.text.replace("\r\n", "\n")))
    order = _find_order([message.numbers for message in messages])
    chat = file.path.parent.name if file.path.stem == "_chat" else file.path.stem  # every chat of an iPhone is _chat
    for message in messages:
        found = _SENDER.fullmatch(message.text)
        if not found:
            reading.left_out["service_messages"] += 1
            continue
        text = _ATTACHED.sub("", _EDITED.sub("", found[2].rstrip()).rstrip(), count=1)
        if text[:1] in _MARKS or not text or _OMITTED.fullmatch(text) or _DELETED.fullmatch(text):
            reading.left_out["attachments_and_notices"] += 1
        elif not reading.wants(sender := Sender(name=found[1].strip(_MARKS + " "))):
            reading.left_out["messages_by_others"] += 1
        else:
            sent = _build_time(message, order)
            day = find_chat_day(sent)
            yield Passage(
                text, f"{chat or 'chat'}-{day}", sender=sender, sent=sent, links=(f"whatsapp:{file.origin}/{day}",)
            )


def _split_messages(text: str) -> Iterator[_Message]:
    """Yield each line that begins with a header, with the lines after it that don't."""
    header: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*text.split("\n"), None]:
        match = _HEADER.match(line) if line is not None else None
        if header and (match or line is None):
            yield _build_message(header, "\n".join(lines))
        if match:
            header, lines = match, [match[match.lastindex or 0]]
        elif line is not None:
            lines.append(line)


def _build_message(header: re.Match[str], text: str) -> _Message:
    a, b, c, hour, minute, second, half = [group for group in _group_alternatives(header) if group[3]][0]
    half_day = _HALF_DAY.match(half.strip("\u202f\u00a0 ").casefold()) if half else None
    hours = int(hour) % 12 + (12 if half_day[0] in "pم" else 0) if half_day else int(hour)
    return _Message((int(a), int(b), int(c)), hours, int(minute), int(second or 0), text)


def _group_alternatives(header: re.Match[str]) -> list[tuple[str, ...]]:
    groups = header.groups()
    return [groups[start : start + 7] for start in (0, 7, 14)]


def _find_order(dates: Sequence[tuple[int, int, int]]) -> str:
    """Return "ymd", "dmy" or "mdy": the one in which all are dates and time never runs backwards.

    Where both of the latter would do, day before month: all but one or two countries write it so.
    """
    if any(first > 31 for first, _, _ in dates):
        return "ymd"
    if any(second > 12 for _, second, _ in dates):
        return "mdy"
    if any(first > 12 for first, _, _ in dates):
        return "dmy"
    day_first = [(year, second, first) for first, second, year in dates]
    month_first = [(year, first, second) for first, second, year in dates]
    return "mdy" if day_first != sorted(day_first) and month_first == sorted(month_first) else "dmy"


def _build_time(message: _Message, order: str) -> datetime | None:
    parts = dict(zip(order, message.numbers, strict=True))
    year = parts["y"] + (2000 if parts["y"] < 100 else 0)
    try:
        return datetime(year, parts["m"], parts["d"], message.hour, message.minute, message.second)
    except ValueError:
        return None
