"""What a word is where texts are compared: whatever their case, blanks and punctuation."""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def read_words(text: str) -> list[str]:
    """Return the words of a text, case folded, without what stands between them."""
    return _WORD.findall(normalise(text))


def normalise(text: str) -> str:
    """Return a text without what typesetting changes: ligatures, wide forms, case."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
