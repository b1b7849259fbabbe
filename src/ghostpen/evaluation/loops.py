"""Does a text go round in circles, and does it come to an end by itself?

Pure functions over words or token ids. A model that learned no end, or too much of too little, says the same again.
"""

from collections.abc import Hashable, Sequence

from ghostpen.errors import NothingCountedError

LOOP_WORDS = 20


def has_loop(words: Sequence[Hashable], *, length: int = LOOP_WORDS) -> bool:
    """Tell whether `length` words in a row stand in a text twice; the two places may overlap."""
    seen: set[tuple[Hashable, ...]] = set()
    for start in range(len(words) - length + 1):
        ngram = tuple(words[start : start + length])
        if ngram in seen:
            return True
        seen.add(ngram)
    return False


def compute_loop_rate(texts: Sequence[Sequence[Hashable]], *, length: int = LOOP_WORDS) -> float:
    """Compute the share of texts with a loop.

    Raises:
        NothingCountedError: there is no text.
    """
    if not texts:
        raise NothingCountedError("there is no text to look for loops in")
    return sum(has_loop(text, length=length) for text in texts) / len(texts)


def compute_end_rate(ended: Sequence[bool]) -> float:
    """Compute the share of texts that ended with the model's own end mark, not at the limit.

    Raises:
        NothingCountedError: there is no text.
    """
    if not ended:
        raise NothingCountedError("there is no text whose end could be looked at")
    return sum(ended) / len(ended)
