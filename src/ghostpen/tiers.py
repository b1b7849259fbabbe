"""How much text there is, and what that is good for: the one table that recipes and advice are made from.

Source of the tiers: 1 to 3 passes with a low rank is where published fine-tunes on one author's text stop gaining
and start repeating it (StyleTunedLM, 2024: 3 epochs, rank 16; Panza, 2024: under 128 mails overfit; Schulman et al.
2025, "LoRA Without Regret": the best rate hardly depends on the rank). Rules of thumb, not measured here.
"""

import math
from dataclasses import dataclass

TOKENS_PER_WORD = 1.2  # of gpt-oss's tokenizer in English prose


@dataclass(frozen=True)
class Tier:
    """Settings for an amount of text, and what to expect of it."""

    name: str
    below_words: float
    rank: int
    epochs: float
    learning_rate: float
    expect: str


TIERS = (
    Tier(
        "small", 25_000, rank=8, epochs=2, learning_rate=2e-4,
        expect="little: some of the voice is learned, and sentences of the texts are soon repeated",
    ),
    Tier(
        "middle", 250_000, rank=16, epochs=3, learning_rate=2e-4,
        expect="enough: as much as most published fine-tunes on one author had",
    ),
    Tier(
        "large", math.inf, rank=32, epochs=2, learning_rate=1e-4,
        expect="plenty: several books; more passes would only repeat them",
    ),
)  # fmt: skip


def choose_tier(words: int) -> Tier:
    """Choose by the words of the author's training text."""
    return next(tier for tier in TIERS if words < tier.below_words)


def describe_range(tier: Tier) -> str:
    """Say from how many words to how many a tier goes."""
    place = TIERS.index(tier)
    above = TIERS[place - 1].below_words if place else 0
    if tier.below_words == math.inf:
        return f"over {above:,} words"
    return f"{above:,} to {tier.below_words:,} words" if above else f"under {tier.below_words:,} words"
