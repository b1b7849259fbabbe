"""Mail: mbox files and single messages (eml), through Python's own email package.

Only messages of wanted senders are read beyond their headers. Of all others the ids are kept, because they hold
threads together.
"""

import email
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr, parsedate_to_datetime

from ghostpen.data.cleaning import unwrap_lines
from ghostpen.data.readers.markup import parse_html, render_tree
from ghostpen.data.readers.passages import Passage, Reading, Sender, SourceFile, UnreadableError
from ghostpen.data.readers.plain import decode_text
from ghostpen.data.readers.replies import extract_own_text

LARGEST_MAIL_BYTES = 64 * 1024**2  # providers take 50 MB at most, attachments encoded
_FROM_LINE = re.compile(rb"From .*\d{4}\s*$")  # ends with a year, unlike an author's line that begins with "From "
_ESCAPED_FROM = re.compile(r"^>(>*From )", re.MULTILINE)
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_NOT_SENT = {"draft", "drafts", "spam", "trash"}  # Gmail's labels
_HTML_QUOTATIONS = (
    ".gmail_quote, blockquote[type=cite], .yahoo_quoted, .protonmail_quote, .moz-cite-prefix, #divRplyFwdMsg, "
    "#divRplyFwdMsg ~ *, #appendonsend ~ *, #mail-editor-reference-message-container"
)
_HTML_SIGNATURES = ".gmail_signature, .moz-signature, #Signature, .protonmail_signature_block"


def read_mbox(file: SourceFile, reading: Reading) -> Iterator[Passage]:
    """Yield the messages of an mbox, one in memory at a time; mboxo, mboxrd and Gmail's are the same here."""
    for raw in _iterate_mbox(file, reading):
        yield from _read_message(raw, reading, is_escaped=True)


def read_eml(file: SourceFile, reading: Reading) -> Iterator[Passage]:
    """Yield the one message of a file."""
    yield from _read_message(file.read_whole(most_bytes=LARGEST_MAIL_BYTES), reading, is_escaped=False)


def _iterate_mbox(file: SourceFile, reading: Reading) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    after_blank = True
    with file.local.open("rb") as mbox:
        # A line of a gigabyte is no mail; read in pieces, it is dropped with its message.
        while line := mbox.readline(LARGEST_MAIL_BYTES):
            if after_blank and _FROM_LINE.match(line):
                if lines:
                    yield b"".join(lines)
                lines, size = [], 0
                continue
            size += len(line)
            if size <= LARGEST_MAIL_BYTES:
                lines.append(line)
            elif lines:
                reading.left_out["oversized_mails"] += 1
                lines = []
            after_blank = not line.strip()
    if lines:
        yield b"".join(lines)


def _read_message(raw: bytes, reading: Reading, *, is_escaped: bool) -> Iterator[Passage]:
    head = _HEADERS_END.split(raw, maxsplit=1)[0]
    headers = email.message_from_bytes(head)
    name, address = parseaddr(_read_header(headers, "From"))
    sender = Sender(name=name.strip(), address=address.strip())
    links = _list_links(headers)
    if not (name or address):
        reading.left_out["mails_without_sender"] += 1
    elif _is_automatic(headers):
        reading.left_out["automatic_mails"] += 1
    elif _NOT_SENT & {label.strip().casefold() for label in _read_header(headers, "X-Gmail-Labels").split(",")}:
        reading.left_out["unsent_or_deleted_mails"] += 1
    elif not reading.wants(sender):
        reading.left_out["messages_by_others"] += 1
    else:
        text = _read_own_text(raw, reading, is_escaped=is_escaped)
        digest = hashlib.sha256(head).hexdigest()[:10]
        key = links[0] if links and headers["Message-ID"] else None
        yield Passage(text, f"mail-{digest}", sender=sender, sent=_read_date(headers), links=links, key=key)
        return
    yield Passage("", links=links)


def _list_links(headers: Message) -> tuple[str, ...]:
    """Return the message's own id, those it answers, and Gmail's id of the thread."""
    ids: list[str] = []
    for name in ("Message-ID", "In-Reply-To", "References"):
        ids += [f"mail:{found}" for found in re.findall(r"<([^<>\s]+)>", _read_header(headers, name))]
    if thread := _read_header(headers, "X-GM-THRID").strip():
        ids.append(f"gmail:{thread}")
    return tuple(dict.fromkeys(ids))


def _is_automatic(headers: Message) -> bool:
    """Say whether a program wrote it: RFC 3834's mark, or those of vacation notes, reports and invitations."""
    if _read_header(headers, "Auto-Submitted").strip().casefold() not in ("", "no"):
        return True
    if _read_header(headers, "Precedence").strip().casefold() in ("bulk", "junk", "auto_reply"):
        return True
    if any(headers[name] for name in ("X-Autoreply", "X-Autorespond", "X-Auto-Reply-From", "X-Failed-Recipients")):
        return True
    return headers.get_content_type() in ("multipart/report", "text/calendar")


def _read_own_text(raw: bytes, reading: Reading, *, is_escaped: bool) -> str:
    try:
        parts = list(_iterate_texts(email.message_from_bytes(raw)))
    except RecursionError:  # parts within parts within parts, as no program writes them
        reading.left_out["unreadable_mails"] += 1
        return ""
    plain = [part for part in parts if part.get_content_type() == "text/plain"]
    texts = [_read_plain(part, reading, is_escaped=is_escaped) for part in plain]
    if not any(text.strip() for text in texts):
        texts = [_read_html(part, reading) for part in parts if part.get_content_type() == "text/html"]
    return "\n\n".join(text for text in texts if text)


def _iterate_texts(message: Message) -> Iterator[Message]:
    """Yield the parts that a mail program shows as its text: no attachment, no forwarded mail inside."""
    if message.get_content_disposition() == "attachment" or message.get_content_type() == "message/rfc822":
        return
    if message.is_multipart():
        for part in message.get_payload():
            if isinstance(part, Message):
                yield from _iterate_texts(part)
    elif message.get_content_maintype() == "text" and not message.get_filename():
        yield message


def _read_plain(part: Message, reading: Reading, *, is_escaped: bool) -> str:
    text = _decode_part(part, reading).replace("\r\n", "\n")
    if is_escaped:
        text = _ESCAPED_FROM.sub(r"\1", text)
    if str(part.get_param("format", "")).casefold() == "flowed":
        text = _join_flowed(text, delete_space=str(part.get_param("delsp", "")).casefold() == "yes")
        return extract_own_text(text, reading.left_out)
    return unwrap_lines(extract_own_text(text, reading.left_out))


def _read_html(part: Message, reading: Reading) -> str:
    try:
        tree = parse_html(_decode_part(part, reading))
        for rule, selector in (("quoted_mails", _HTML_QUOTATIONS), ("signatures", _HTML_SIGNATURES)):
            for number, tag in enumerate(tree.select(selector)):
                tag.decompose()
                reading.left_out[rule] += number == 0
        return extract_own_text(render_tree(tree, quotations=True, dropped=reading.left_out), reading.left_out)
    except UnreadableError:
        reading.left_out["unreadable_mails"] += 1
        return ""


def _decode_part(part: Message, reading: Reading) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        return content.decode(part.get_content_charset("ascii"))
    except (LookupError, UnicodeError):  # a charset that nobody knows, or the wrong one
        try:
            decoded = decode_text(content)
        except UnreadableError:
            reading.left_out["unreadable_mails"] += 1
            return ""
        reading.repaired["encodings"] += decoded.repaired
        return decoded.text


def _join_flowed(text: str, *, delete_space: bool) -> str:
    """Undo the soft line breaks of RFC 3676: a line that ends in a blank goes on in the next of equal quote depth."""
    joined: list[str] = []
    open_depth: int | None = None
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        body = line[depth:]
        body = body[1:] if body.startswith(" ") else body
        if open_depth == depth and body != "-- ":
            joined[-1] += body
        else:
            joined.append(">" * depth + (" " if depth else "") + body)
        is_open = body.endswith(" ") and body != "-- "
        open_depth = depth if is_open else None
        if is_open and delete_space:
            joined[-1] = joined[-1][:-1]
    return "\n".join(joined)


def _read_date(headers: Message) -> datetime | None:
    try:
        date = parsedate_to_datetime(_read_header(headers, "Date"))
        return date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date
    except (TypeError, ValueError, OverflowError):
        return None


def _read_header(headers: Message, name: str) -> str:
    value = headers.get(name)
    if value is None:
        return ""
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return str(value)
