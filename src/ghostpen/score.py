"""What a language model lost on a text, and the two numbers made of it.

Owns `Score`, the one definition of perplexity and bits per byte. Must not import torch: the evaluation
reads and adds scores where no model is installed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ghostpen.errors import ModelError, NothingCountedError


@dataclass(frozen=True)
class Score:
    """A summed negative log-likelihood, with the tokens and bytes that it was summed over.

    Two scores are joined by adding them, never by averaging their perplexities: the perplexity of a whole
    is not the mean of the perplexities of its parts.

    Args:
        loss_nats: -sum_t ln p(x_t | x_<t) over the counted tokens; a sum, not a mean.
        tokens: how many tokens were counted.
        size_bytes: UTF-8 bytes of the text which the counted tokens spell.

    Raises:
        ModelError: the loss is not a finite number.
        ValueError: a count is negative.

    Source:
        perplexity = exp(loss_nats / tokens): Jelinek, Mercer, Bahl and Baker 1977, "Perplexity: a measure of
        the difficulty of speech recognition tasks". bits per byte = loss_nats / (ln 2 * bytes), which does
        not depend on the tokenizer: Gao et al. 2020, "The Pile", section 3.1.
    """

    loss_nats: float
    tokens: int
    size_bytes: int

    def __post_init__(self) -> None:
        """Refuse a loss that is no number before it reaches a sum."""
        if self.tokens < 0 or self.size_bytes < 0:
            raise ValueError(f"negative count in a score: {self.tokens} tokens, {self.size_bytes} bytes")
        if not math.isfinite(self.loss_nats):
            raise ModelError(
                f"the model's loss over {self.tokens} tokens is {self.loss_nats}: its weights have diverged; "
                "train again with a lower train.learning_rate or with model.precision = 'float32'"
            )

    def __add__(self, other: "Score") -> "Score":
        """Return the score of both texts taken as one."""
        if not isinstance(other, Score):
            return NotImplemented
        return Score(
            loss_nats=self.loss_nats + other.loss_nats,
            tokens=self.tokens + other.tokens,
            size_bytes=self.size_bytes + other.size_bytes,
        )

    @property
    def perplexity(self) -> float:
        """Return exp(loss_nats / tokens); comparable only between models with the same tokenizer.

        Raises:
            NothingCountedError: no token was counted.
            ModelError: the loss per token is too high for a perplexity (above 709 nats).
        """
        if self.tokens == 0:
            raise NothingCountedError(
                "a perplexity needs at least one counted token and this text has none; is it empty?"
            )
        try:
            return math.exp(self.loss_nats / self.tokens)
        except OverflowError as error:
            raise ModelError(
                f"the model loses {self.loss_nats / self.tokens:.0f} nats per token: its weights have "
                "diverged; train again with a lower train.learning_rate"
            ) from error

    @property
    def bits_per_byte(self) -> float:
        """Return loss_nats / (ln 2 * size_bytes); comparable between tokenizers.

        Raises:
            NothingCountedError: the counted tokens spell no byte.
        """
        if self.size_bytes == 0:
            raise NothingCountedError(
                "bits per byte need at least one counted byte and this text has none; is it empty?"
            )
        return self.loss_nats / (math.log(2) * self.size_bytes)

    def to_json(self) -> dict[str, float | int]:
        """Return the three sums and the two numbers made of them, under their field names.

        Raises:
            NothingCountedError: no token or no byte was counted.
        """
        return {
            "loss_nats": self.loss_nats,
            "tokens": self.tokens,
            "size_bytes": self.size_bytes,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
        }


def sum_scores(scores: Iterable[Score]) -> Score:
    """Return the score of all texts taken as one; of none, an empty score, whose perplexity is an error.

    The losses are added with `math.fsum`, so that the total does not depend on the order.
    """
    listed = list(scores)
    return Score(
        loss_nats=math.fsum(score.loss_nats for score in listed),
        tokens=sum(score.tokens for score in listed),
        size_bytes=sum(score.size_bytes for score in listed),
    )
