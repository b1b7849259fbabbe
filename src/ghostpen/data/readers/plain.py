"""Bytes to text: which encoding, and repair of text that was decoded wrongly before it came here.

Must not change anything else: spelling, quotes, dashes and blanks are the author's.
"""

import codecs
import re
from dataclasses import dataclass

from ghostpen.data.readers.passages import UnreadableError

_MARKS = (  # longest first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 256 * 1024  # enough to tell an encoding by
# What people's files are in. Of the rest that charset-normalizer knows, some win short texts that they don't fit.
_CANDIDATES = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "iso8859_2", "koi8_r"),
    *("mac_roman", "cp437", "cp850", "cp932", "euc_jp", "iso2022_jp", "gb18030", "big5", "cp949"),
]
_BEFORE_WINDOWS = {"cp437", "cp850", "mac_roman"}  # only where Windows's own is none
_CP1252_TYPOGRAPHY = re.compile(rb"[\x00-\x7f\x85\x91-\x97\xa0\xa7\xa9\xab\xae\xb0\xbb]*")
_UTF8_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # as Python's surrogateescape writes a byte that is no UTF-8
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
_ABOVE_ASCII = re.compile(r"[^\x00-\x7f]+")
_SURROUNDING_CHARS = 8


@dataclass(frozen=True)
class DecodedText:
    """A text, and whether its encoding had to be guessed or repaired."""

    text: str
    repaired: bool


def decode_text(content: bytes) -> DecodedText:
    """Decode a text: UTF-8 where it is that, UTF-16 and -32 by their mark, else what is likeliest.

    Raises:
        UnreadableError: it is no text in any encoding that is known here.
    """
    encoding = _find_mark(content)
    if encoding is None:
        try:
            return _repair(content.decode("utf-8-sig"), repaired=False)
        except UnicodeDecodeError:
            if _is_mostly_utf8(content):
                return DecodedText(_decode_mixed(content), repaired=True)
            encoding = _guess_single_bytes(content)
    try:
        # Windows-1252 leaves five bytes undefined, which browsers take for control characters.
        text = content.decode(encoding, errors="ignore" if encoding == "cp1252" else "strict")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"not {encoding} throughout, as its first bytes say; save it as UTF-8, then try again"
        ) from error
    return _repair(text, repaired=not encoding.startswith("utf"))


def guess_encoding(head: bytes) -> str:
    """Return the name of the encoding of a file that begins so, for a library that wants a name.

    Raises:
        UnreadableError: it is no text in any encoding that is known here.
    """
    if mark := _find_mark(head):
        return mark
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # not final: the head may end within a character
        return "utf-8-sig"
    except UnicodeDecodeError:
        return _guess_single_bytes(head)


def _find_mark(content: bytes) -> str | None:
    return next((name for mark, name in _MARKS if content.startswith(mark)), None)


def _repair(text: str, *, repaired: bool) -> DecodedText:
    """Undo mojibake, such as "cafÃ©" for "café", line by line: a line without any stays as it is."""
    if text.isascii():
        return DecodedText(text, repaired)
    import ftfy
    from ftfy.badness import is_bad

    if not is_bad(_take_surroundings(text)):
        return DecodedText(text, repaired)
    fixed = "".join(ftfy.fix_encoding(line) for line in text.splitlines(keepends=True))
    return DecodedText(fixed, repaired or fixed != text)


def _take_surroundings(text: str) -> str:
    """Return what stands within a few characters of one above ASCII: where there is mojibake, it is in that.

    To search all takes seven times as long, and ftfy's patterns match nothing in the rest (6.3: at most six
    characters in a row, one above ASCII among them).
    """
    parts: list[str] = []
    start = end = 0
    for found in _ABOVE_ASCII.finditer(text):
        if found.start() - _SURROUNDING_CHARS > end:
            parts.append(text[start:end])
            start = found.start() - _SURROUNDING_CHARS
        end = found.end() + _SURROUNDING_CHARS
    parts.append(text[start:end])
    return "".join(parts)


def _is_mostly_utf8(content: bytes) -> bool:
    """Say whether all but a few of the bytes above ASCII are UTF-8: a text put together from two files."""
    above = sum(len(run) for run in _NOT_ASCII.findall(content))
    valid = sum(len(character) for character in _UTF8_CHARACTER.findall(content))
    return valid >= 0.9 * above


def _decode_mixed(content: bytes) -> str:
    """Decode as UTF-8, and each byte that is none as Windows-1252."""
    text = content.decode("utf-8-sig", errors="surrogateescape")
    return _ESCAPED_BYTE.sub(lambda byte: bytes([ord(byte[0]) - 0xDC00]).decode("cp1252", errors="ignore"), text)


def _guess_single_bytes(content: bytes) -> str:
    if _CP1252_TYPOGRAPHY.fullmatch(content):
        return "cp1252"  # a few dots, quotes and dashes in ASCII tell charset-normalizer nothing
    from charset_normalizer import from_bytes

    matches = list(from_bytes(content[:_SAMPLE_BYTES], cp_isolation=_CANDIDATES))
    if not matches:
        raise UnreadableError("no text in an encoding that is known here; save it as UTF-8, then try again")
    least_chaos = min(match.chaos for match in matches)
    likeliest = [match for match in matches if match.chaos <= least_chaos]
    if any("cp1252" in match.could_be_from_charset for match in likeliest):
        likeliest = [match for match in likeliest if match.encoding not in _BEFORE_WINDOWS]
    most_coherence = max(match.coherence for match in likeliest)
    names = [name for match in likeliest if match.coherence >= most_coherence for name in match.could_be_from_charset]
    return "cp1252" if "cp1252" in names else names[0]
