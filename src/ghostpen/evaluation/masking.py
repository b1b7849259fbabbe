"""Texts without their topic: what is left when every word that not everybody uses is masked.

Owns which words are kept, and what becomes of the others. No dictionary and no tagger, so it is of no language; it
takes for names what hardly ever has no capital, as English and its like write them. Pure functions.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ghostpen.data.ngrams import normalise
from ghostpen.data.typography import unify_typography

KEPT_WORDS = 300
"""Fewer know less, and more know no more: docs/style.md has the AUC with 150 and with 500."""

MIN_LOWER_SHARE = 0.1
"""A word that is written with a capital more often than this leaves room for is a name, a title or a month."""

WORD, NAME, NUMBER = "*", "A", "0"
"""What stands for a word that is masked: one in lower case, one with a capital, and a number."""

_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[^\w\s]")


def read_tokens(text: str) -> list[str]:
    """Return words and punctuation marks, as they are written; in one typography, whatever the edition's was."""
    return _TOKEN.findall(unify_typography(text).text)


def choose_kept_words(tokens: Mapping[str, Sequence[Sequence[str]]], *, author: str) -> frozenset[str]:
    """Choose the words that stand in most pieces, of the author and of the others alike; names are none.

    Taken is the smaller of two shares of pieces: the author's, and the mean of the others'. So a word that only one
    side often has, such as the hero of all the author's works, is not kept. That a word counts once a piece, however
    often it stands there, is for the same reason: topics come in clusters.

    Args:
        tokens: of the training pieces, by their writer; all of one length.
        author: the one who is compared with all others.
    """
    pieces = {name: Counter(word for piece in found for word in _read_words(piece)) for name, found in tokens.items()}
    shares = {
        name: {word: times / len(tokens[name]) for word, times in found.items()} for name, found in pieces.items()
    }
    own = shares.pop(author)
    common = {
        word: min(share, float(np.mean([other.get(word, 0.0) for other in shares.values()])))
        for word, share in own.items()
    }
    written = Counter(token for found in tokens.values() for piece in found for token in piece)
    ranked = sorted(
        (word for word in common if common[word] > 0 and not _is_name(word, written)),
        key=lambda word: (-common[word], word),
    )
    return frozenset(ranked[:KEPT_WORDS])


def mask_tokens(tokens: Sequence[str], kept: frozenset[str]) -> list[str]:
    """Return the tokens in lower case, with all words masked that are not kept."""
    masks = {token: _mask(token, kept) for token in set(tokens)}
    return [masks[token] for token in tokens]


def _mask(token: str, kept: frozenset[str]) -> str:
    if not token[0].isalnum():
        return token
    if token[0].isdigit():
        return NUMBER
    word = normalise(token)
    if word in kept:
        return word
    return NAME if token[0].isupper() else WORD


def _read_words(piece: Sequence[str]) -> set[str]:
    return {normalise(token) for token in piece if token[0].isalpha()}


def _is_name(word: str, written: Counter[str]) -> bool:
    """Tell whether a word is hardly ever in lower case; "I", "I'm" and their like are none."""
    if len(word.partition("'")[0]) == 1:
        return False
    lower = written[word]
    capital = written[word.capitalize()] + written[word.upper()]
    return lower < MIN_LOWER_SHARE * (lower + capital)
