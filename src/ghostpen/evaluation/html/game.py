"""The blind test: real and written continuations of the same beginning, and what a score says about its reader.

Owns the order, which a seed decides, how the page can check an answer that it doesn't show, and the sentence for each
possible score.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ghostpen.evaluation.pieces import cut_text
from ghostpen.evaluation.written import Written

ROUNDS = 8
MIN_WORDS = 12
"""Shorter than this, neither text shows anything."""

MAX_WORDS = 120
"""Nobody reads more of eight pairs."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Round:
    """One question: a beginning, two ways to go on, equally long, and the mark of the right answer."""

    number: int
    prompt: str
    texts: tuple[str, str]
    key: str


def plan_rounds(pairs: Sequence[Written], *, seed: int) -> list[Round]:
    """Shuffle each pair, and cut both texts to the words of the shorter: length must not tell.

    Args:
        pairs: what the adapter wrote, each with the real text; those that are too short are left out.
        seed: of the order.
    """
    dice = random.Random(seed)
    rounds: list[Round] = []
    for pair in pairs:
        real, written = cut_alike(pair.real or "", pair.text)
        if len(rounds) < ROUNDS and len(real.split()) >= MIN_WORDS and len(written.split()) >= MIN_WORDS:
            place = dice.randrange(2)
            texts = (written, real) if place else (real, written)
            number = len(rounds) + 1
            rounds.append(Round(number, pair.prompt, texts, render_key(number, place + 1, seed=seed)))
    return rounds


def cut_alike(left: str, right: str) -> tuple[str, str]:
    """Cut two texts to equally many words, 120 at most, keeping the blanks and line breaks between them."""
    count = min(MAX_WORDS, len(left.split()), len(right.split()))
    return cut_text(left, words=count), cut_text(right, words=count)


def render_key(number: int, place: int, *, seed: int) -> str:
    """Render what the page compares an answer with; it is no secret, it only can't be read at a glance."""
    return hash_text(f"{seed}/{number}/{place}")


def hash_text(text: str) -> str:
    """Hash a text as the page's script does.

    Source: Fowler, Noll and Vo's FNV-1a of 32 bits, which takes a line there.
    """
    value = 0x811C9DC5
    for letter in text.encode():
        value = (value ^ letter) * 0x01000193 % 2**32
    return f"{value:08x}"


def compute_at_least(right: int, rounds: int) -> float:
    """Compute how often somebody who guesses gets so many right, or more."""
    return sum(math.comb(rounds, count) for count in range(right, rounds + 1)) / 2**rounds


def compute_bounds(right: int, rounds: int) -> tuple[float, float]:
    """Compute the exact 95 % interval of a share.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
        binomial".
    """
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if right == 0 else _solve(lambda share: _compute_tail(right, rounds, share) - tail)
    high = 1.0 if right == rounds else _solve(lambda share: _compute_tail(right + 1, rounds, share) - (1 - tail))
    return low, high


def render_outcome(right: int, rounds: int) -> str:
    """Render what a score means, with its interval and what guessing would give."""
    low, high = compute_bounds(right, rounds)
    more, less = compute_at_least(right, rounds), compute_at_least(rounds - right, rounds)
    if more <= 0.05:
        meaning = "You can tell the real text from the adapter’s."
    elif less <= 0.05:
        meaning = "You took the adapter’s text for the real one more often than by chance."
    else:
        meaning = "That may well be guessing: it does not show that you can tell them apart, nor that nobody could."
    return (
        f"{right} of {rounds} right: {100 * right / rounds:.0f} % (95 % interval {100 * low:.0f} to "
        f"{100 * high:.0f} %). Somebody who guesses gets {right} or more right in {100 * more:.1f} % of games. "
        f"{meaning}"
    )


def _compute_tail(least: int, rounds: int, share: float) -> float:
    return sum(math.comb(rounds, n) * share**n * (1 - share) ** (rounds - n) for n in range(least, rounds + 1))


def _solve(rising: Callable[[float], float]) -> float:
    """Find where a rising function of 0 to 1 crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low
