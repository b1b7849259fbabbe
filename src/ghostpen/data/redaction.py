"""Mask what must not be learned: addresses, phone numbers, keys, and the names that a person lists.

Owns the patterns. They rather mask too much: a masked number does little harm, a learned one may do much. Pure, but
for reading the list.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ghostpen.errors import DataError

# Each run is bounded, so that a megabyte of letters without a blank takes no longer than any other.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_DATE = r"(?!(?:\d{1,2}[./-]){2}\d{2,4}(?!\d))"
_PHONE = re.compile(
    r"(?<![\w.,+-])(?:"
    r"\+\d{1,3}(?:[ ()./\u00a0\u2010-\u2013-]{0,3}\d){6,13}"  # with the country's code
    rf"|{_DATE}\(?0\d{{1,5}}\)?(?:[ ./\u00a0\u2010-\u2013-]{{0,3}}\d){{5,10}}"  # with the 0 before an area code
    r"|(?:1[ .-])?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}"  # North America
    r")(?!\w)"
)
_PHONE_AFTER_WORD = re.compile(
    r"(?i)(?<!\w)(tel|telefon|phone|mobile|mobil|handy|cell|fax)([.: ]{1,3})(?:[ ()./-]{0,2}\d){5,14}(?!\w)"
)
# Sources: the prefixes that the services document for finding leaked tokens.
_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:.{0,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
    r"|(?<![\w-])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS
    r"|gh[pousr]_\w{36,255}|github_pat_\w{22,255}|glpat-[\w-]{20,64}"  # GitHub, GitLab
    r"|xox[abeprs]-[\w-]{10,255}"  # Slack
    r"|sk-[\w-]{20,255}|hf_\w{30,64}|AIza[\w-]{35}"  # OpenAI and others, Hugging Face, Google
    r"|[rs]k_(?:live|test)_\w{10,255}"  # Stripe
    r"|npm_\w{36}|pypi-[\w-]{50,255}"
    r"|\d{8,10}:[\w-]{35}"  # Telegram's bots
    r"|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,2000}\.[\w-]{10,1000}"  # JSON web tokens
    r"|[0-9a-fA-F]{32,128}"
    r")(?![\w-])",
    re.DOTALL,
)
_PASSWORD = re.compile(
    r"(?i)(?<!\w)(password|passwort|kennwort|mot de passe|contraseña|api[_ -]?key|secret[_ -]?key|access[_ -]?token)"
    r"(\s{0,3}(?:[:=]|ist:?|is:?)\s{0,3})(?=\S{0,199}(?:\d|[^\w\s.,;:!?]))\S{6,200}"
)
_MOST_NAMES = 10_000


class Redactor:
    """Mask texts, and count by kind what was masked.

    Args:
        names: to mask besides, in whatever case; a blank in one stands for any blanks and line ends.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Build the pattern of the names; longer ones win."""
        words = [
            r"\s+".join(map(re.escape, _normalise(name).split())) for name in sorted(names, key=len, reverse=True)
        ]
        self._names = re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE) if words else None
        self.masked: Counter[str] = Counter()

    def mask(self, text: str) -> str:
        """Return the text with [key], [email], [phone] and [name] for what was found, in Unicode's NFC."""
        text = _normalise(text)
        for kind, pattern, mask in (
            ("keys", _KEY, "[key]"),
            ("keys", _PASSWORD, r"\1\2[key]"),
            ("emails", _EMAIL, "[email]"),
            ("phones", _PHONE, "[phone]"),
            ("phones", _PHONE_AFTER_WORD, r"\1\2[phone]"),
            ("names", self._names, "[name]"),
        ):
            if pattern is not None:
                text, times = pattern.subn(mask, text)
                self.masked[kind] += times
        return text


def load_names(path: Path) -> list[str]:
    """Read a block list: a name a line; lines that begin with # are remarks.

    Raises:
        DataError: it can't be read, is not UTF-8, or holds no name or too many.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give --redact-names a file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8; save the list as UTF-8") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise DataError(f"{path}: holds no name; write one a line")
    if len(names) > _MOST_NAMES:
        raise DataError(f"{path}: holds more than {_MOST_NAMES:,} names; keep those that occur in the texts")
    return names


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFC", text)
