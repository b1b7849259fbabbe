"""What a file is: told by its content, and by its name only where contents look alike.

Must not read more than a file's head and an archive's list of entries.
"""

import codecs
import csv
import enum
import json
import re
import zipfile
from collections.abc import Iterable, Set

from ghostpen.data.readers.archives import DISCORD_COLUMNS, REDDIT_COLUMNS, X_POSTS, X_START
from ghostpen.data.readers.passages import SourceFile, UnreadableError
from ghostpen.data.readers.whatsapp import looks_like_whatsapp

TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")
HEAD_BYTES = 64 * 1024


class Kind(enum.Enum):
    """What a reader is chosen by; OTHER is passed over, and counted."""

    TEXT = "text"
    HTML = "html"
    EPUB = "epub"
    DOCX = "docx"
    PDF = "pdf"
    MBOX = "mbox"
    EML = "eml"
    WHATSAPP = "whatsapp"
    TELEGRAM = "telegram"
    DISCORD = "discord"
    REDDIT = "reddit"
    X = "x"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    ZIP = "zip"
    OTHER = "other"


# A file of these names is meant to be read, so that it is an error, and not just another file, where it can't be.
_MEANT = {
    ".htm": "HTML", ".html": "HTML", ".xhtml": "HTML", ".epub": "EPUB", ".docx": "Word", ".pdf": "PDF",
    ".mbox": "mbox", ".eml": "mail", ".parquet": "Parquet", ".jsonl": "JSON lines", ".ndjson": "JSON lines",
    ".csv": "CSV", ".tsv": "CSV", ".zip": "zip", **dict.fromkeys(TEXT_SUFFIXES, "text"),
}  # fmt: skip
_ADVICE = {
    ".doc": "the old Word format; save it as .docx",
    ".rtf": "RTF; save it as .docx",
    ".odt": "OpenDocument; save it as .docx",
    ".pages": "Apple Pages; export it as .docx",
    ".mobi": "Kindle format; convert it to EPUB",
    ".azw3": "Kindle format; convert it to EPUB",
    ".pst": "an Outlook archive; export it as mbox",
    ".msg": "an Outlook message; save it as .eml",
    ".7z": "packed; unpack it, or pack it as .zip",
    ".rar": "packed; unpack it, or pack it as .zip",
    ".gz": "packed; unpack it, or pack it as .zip",
    ".tgz": "packed; unpack it, or pack it as .zip",
}
_REDDIT_FILES = {"posts.csv", "comments.csv"}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old Office files, and new ones with a password
_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*+-->\s*+)*+<(?:!doctype html|html|head|body)\b", re.I | re.DOTALL
)
_HTML_FRAGMENT = re.compile(rb"<(?:p|div|h[1-6]|br|span|article)\b", re.I)
_MBOX = re.compile(rb"(?:\xef\xbb\xbf)?From .*\d{4}\s*\n(?:>?[\w-]+:|X-)")
_HEADER = re.compile(rb"([!-9;-~]+):[ \t]")
_HEADERS_OF_MAIL = {b"date", b"message-id", b"received", b"mime-version", b"return-path", b"delivered-to"}


def recognise(file: SourceFile, *, siblings: Set[str] = frozenset()) -> Kind:
    """Return what a file is.

    Args:
        file: the file.
        siblings: the names in its folder: beside a Reddit user's posts lie their votes, logins and the like.

    Raises:
        UnreadableError: its name says that it is to be read, and its content is something else.
    """
    with file.local.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    suffix = file.path.suffix.lower()
    kind = _recognise_packed(head, file) or _recognise_mail(head, suffix)
    if kind is None and not _is_binary(head):
        kind = _recognise_text(head, suffix)
    if kind is Kind.CSV and siblings >= _REDDIT_FILES:
        return Kind.OTHER
    if kind is not None:
        return kind
    if suffix in _ADVICE or head.startswith(_OLE):
        encrypted = "encrypted, or in the old Word format; save it as .docx without a password"
        raise UnreadableError(_ADVICE.get(suffix, encrypted))
    if suffix in _MEANT:
        raise UnreadableError(f"no {_MEANT[suffix]} file, although its name says so; check what it is")
    return Kind.OTHER


def _recognise_packed(head: bytes, file: SourceFile) -> Kind | None:
    if b"%PDF-" in head[:1024]:
        return Kind.PDF
    if head.startswith(b"PAR1"):
        return Kind.PARQUET
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    try:
        with zipfile.ZipFile(file.local) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise UnreadableError("a broken zip archive; get it again from where it came from") from error
    if "META-INF/container.xml" in names:
        return Kind.EPUB
    if "[Content_Types].xml" in names:
        return Kind.DOCX if "word/document.xml" in names else None
    return None if "mimetype" in names else Kind.ZIP  # with a mimetype: OpenDocument


def _recognise_mail(head: bytes, suffix: str) -> Kind | None:
    if _MBOX.match(head):
        return Kind.MBOX
    names: set[bytes] = set()
    for line in head.removeprefix(codecs.BOM_UTF8).split(b"\n"):
        match = _HEADER.match(line)
        if match:
            names.add(match[1].lower())
        elif not line.strip() or not line.startswith((b" ", b"\t")):
            break
    is_mail = b"from" in names and (suffix == ".eml" or names & _HEADERS_OF_MAIL)
    return Kind.EML if is_mail else None


def _recognise_text(head: bytes, suffix: str) -> Kind | None:
    text = head.decode("utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", errors="replace")
    if not text.strip():
        return Kind.TEXT if suffix in TEXT_SUFFIXES else None
    if start := X_START.match(text):
        return Kind.X if start[1] in X_POSTS else Kind.OTHER
    if _HTML.match(head) or (suffix in (".html", ".htm", ".xhtml") and _HTML_FRAGMENT.search(head)):
        return Kind.HTML
    if text.lstrip()[0] in "{[" and (kind := _recognise_json(text, suffix)):
        return kind
    if looks_like_whatsapp(text):
        return Kind.WHATSAPP
    if suffix in (".csv", ".tsv"):
        return _recognise_csv(text)
    return Kind.TEXT if suffix in TEXT_SUFFIXES else None


def _recognise_json(text: str, suffix: str) -> Kind | None:
    """Tell Telegram's and Discord's JSON by their first keys, other JSON by its name."""
    keys = set(re.findall(r'"(\w+)"\s*:', text))
    if keys >= {"messages", "type"} and {"from_id", "date_unixtime", "text_entities"} & keys:
        return Kind.TELEGRAM
    if keys >= {"personal_information", "user_id", "first_name"}:
        return Kind.TELEGRAM
    if text.lstrip().startswith("[") and keys >= DISCORD_COLUMNS:
        return Kind.DISCORD
    if suffix in (".jsonl", ".ndjson"):
        return Kind.JSONL
    first = text.strip().split("\n", 1)[0]
    if suffix in TEXT_SUFFIXES or suffix == ".json":
        return Kind.JSONL if _is_json_object(first) and "\n" in text.strip() else None
    return None


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _recognise_csv(text: str) -> Kind:
    first: Iterable[str] = next(csv.reader(text.split("\n", 1)[:1]), [])
    columns = {column.strip() for column in first}
    if columns >= DISCORD_COLUMNS:
        return Kind.DISCORD
    return Kind.REDDIT if columns >= REDDIT_COLUMNS else Kind.CSV


def _is_binary(head: bytes) -> bool:
    return b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
