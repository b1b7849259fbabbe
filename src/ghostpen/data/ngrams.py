"""Texts as hashes of their n-grams of words: what two texts share, whatever their case, blanks and punctuation.

Owns what a word is here. The hashes are the same in every process; of 64 bits, they are the same for two n-grams that
differ about once in 10^19 pairs.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

_WORD = re.compile(r"[^\W_]+")
_CHUNK = re.compile(r"\S+")
_MOST_WORDS_KEPT = 2**19  # of which the hash is kept: about 70 MB
FACTOR = 0x9E3779B97F4A7C15  # odd, so that no power of it loses bits; 2^64 over the golden ratio


@dataclass(frozen=True)
class ReadText:
    """A text, what is left of it without typesetting, case and line ends, and its words as hashes."""

    text: str
    normal: str
    words: "Hashes"


def read_text(text: str) -> ReadText:
    """Read a text once for all that compares it."""
    normal = " ".join(normalise(text).split())
    return ReadText(text, normal, hash_words(_WORD.findall(normal)))


def read_words(text: str) -> list[str]:
    """Return the words of a text, case folded, without what stands between them."""
    return _WORD.findall(normalise(text))


@dataclass(frozen=True)
class PlacedWord:
    """A word as `read_words` reads it, and where it stands in the text: from `start` to before `end`."""

    word: str
    start: int
    end: int


def place_words(text: str) -> list[PlacedWord]:
    """Return the words that `read_words` reads, with their places.

    Where marks are written apart from their letters, or one sign stands for several words, all that is written
    without a blank is the place.
    """
    placed = []
    for chunk in _CHUNK.finditer(text):  # nothing that `normalise` joins has a blank inside
        words = read_words(chunk[0])
        found = list(_WORD.finditer(chunk[0]))
        if len(found) == len(words) and unicodedata.is_normalized("NFC", chunk[0]):
            spans = [(chunk.start() + one.start(), chunk.start() + one.end()) for one in found]
        else:
            spans = [chunk.span()] * len(words)
        placed += [PlacedWord(word, start, end) for word, (start, end) in zip(words, spans, strict=True)]
    return placed


def normalise(text: str) -> str:
    """Return a text without what typesetting changes: ligatures, wide forms, case."""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def hash_words(words: Sequence[str]) -> "Hashes":
    """Return one hash a word."""
    import numpy as np

    return np.fromiter(map(_hash_word, words), dtype=np.uint64, count=len(words))


def hash_ngrams(words: "Hashes", length: int) -> "Hashes":
    """Return the hash of each n-gram, by its first word's place; of a shorter text none.

    Args:
        words: as `hash_words` gives them.
        length: in words.
    """
    import numpy as np

    count = max(len(words) - length + 1, 0)
    ngrams = np.zeros(count, dtype=np.uint64)
    for place in range(length):
        ngrams *= np.uint64(FACTOR)  # modulo 2^64
        ngrams += words[place : place + count]
    return ngrams


@functools.lru_cache(maxsize=_MOST_WORDS_KEPT)
def _hash_word(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
