"""Names that leak: people and places of the training works that turn up in a text that is not about them.

Owns what is taken for a name: a rule about capital letters, no dictionary and no model, so it knows English and its
like. Where it does not hold (German has capitals on every noun), real held-out text shows it, and nothing is said.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ghostpen.data.ngrams import normalise
from ghostpen.errors import NothingCountedError

MIN_TIMES = 3
"""A word must stand so often with a capital where no sentence begins; once may be a slip, or a title."""

MAX_LOWER_SHARE = 0.02
"""At most so much of a name's occurrences is in lower case."""

MAX_FLOOR = 0.5
"""From so large a share of real, unseen text with such names on, the rule does not find names in these texts."""

_ABBREVIATION = re.compile(r"[A-Z][a-z]{0,3}\.")  # "Mr." ends no sentence
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class NameLeak:
    """How many samples hold a name of the training works that their prompt does not.

    Args:
        names: how many names the training works have.
        samples: how many were looked at.
        share: of the samples, 0 to 1; None where the floor is too high for it to mean anything.
        floor: the same of real text by the author that was held out.
        leaked: the names that leaked most, at most ten; none where share is None.
    """

    names: int
    samples: int
    share: float | None
    floor: float
    leaked: tuple[str, ...]


def find_names(texts: Iterable[str], *, others: Iterable[str] = ()) -> frozenset[str]:
    """Find the names in an author's texts that other authors' texts do not have.

    Args:
        texts: the works whose names count.
        others: texts by other authors; what has a capital there, too, is nobody's own: months, titles, "God".
    """
    inside: Counter[str] = Counter()
    words: Counter[str] = Counter()  # as they are written
    for text in texts:
        inside.update(_read_capitals(text))
        words.update(_LETTERS.findall(text))
    common = {word for text in others for word in _read_capitals(text)}
    return frozenset(
        word
        for word, times in inside.items()
        if times >= MIN_TIMES
        and word not in common
        and words[normalise(word)] <= MAX_LOWER_SHARE * (times + words[normalise(word)])
    )


def compute_name_leak(samples: Sequence[tuple[str, str]], names: frozenset[str], *, real: Sequence[str]) -> NameLeak:
    """Compute the share of samples with a name from the training works, beside that of real unseen text.

    Args:
        samples: each what was written, and the prompt.
        names: as `find_names` finds them in the training works.
        real: pieces of held-out text by the same author, about as long as the samples.

    Raises:
        NothingCountedError: there is no sample, or no real text.
    """
    if not samples or not real:
        raise NothingCountedError(
            f"{len(samples)} samples and {len(real)} pieces of real text: a leak needs some of both"
        )
    found = [_find_leaked(text, prompt, names) for text, prompt in samples]
    floor = sum(bool(_find_leaked(piece, "", names)) for piece in real) / len(real)
    reliable = floor < MAX_FLOOR
    leaked = Counter(name for each in found for name in each)
    return NameLeak(
        names=len(names),
        samples=len(samples),
        share=sum(map(bool, found)) / len(found) if reliable else None,
        floor=floor,
        leaked=tuple(sorted(leaked, key=lambda name: (-leaked[name], name))[:10]) if reliable else (),
    )


def _read_capitals(text: str) -> list[str]:
    """Return the words with a capital, and not in capitals, where no sentence begins."""
    capitals = []
    for before, token in itertools.pairwise(text.split()):
        if token[0].isupper() and (before[-1].isalnum() or before[-1] in ",;" or _ABBREVIATION.fullmatch(before)):
            word = _LETTERS.match(token)
            if word and len(word[0]) > 1 and word[0][1:].islower():
                capitals.append(word[0])
    return capitals


def _find_leaked(text: str, prompt: str, names: frozenset[str]) -> set[str]:
    return (set(_LETTERS.findall(text)) & names) - set(_LETTERS.findall(prompt))
