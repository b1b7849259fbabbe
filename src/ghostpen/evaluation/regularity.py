"""Is what a model wrote too even? People are harder to predict in one place than in another; models are not.

Owns the comparison of how predictable texts are. Is given numbers, and must not know models or texts.

Source:
    arXiv 2603.23219: regular perplexity is the main sign by which mimicry of style is found out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostpen.errors import UnprovenError
from ghostpen.evaluation.arrays import FloatArray

MIN_TEXTS = 30
"""Of each side: the deviation of 30 numbers is known to about an eighth."""

RESAMPLES = 2_000


@dataclass(frozen=True)
class Spread:
    """How predictable texts are: mean and standard deviation of their bits per byte."""

    texts: int
    mean: float
    deviation: float


@dataclass(frozen=True)
class Regularity(Spread):
    """What was written, and how many standard errors its mean and its deviation are off those of real text.

    The deviations themselves are compared, not their logarithms: text without any deviation is too even, and far so.
    """

    z_mean: float
    z_deviation: float


def compute_real_spread(losses: Sequence[float]) -> Spread:
    """Compute mean and deviation of real texts.

    Raises:
        UnprovenError: there are too few texts, or they are all alike.
    """
    if len(set(losses)) == 1:
        raise UnprovenError("all real texts are equally predictable, so there is no regularity to compare")
    return _compute_spread(losses)


def compute_regularity(written: Sequence[float], *, real: Sequence[float], seed: int) -> Regularity:
    """Compare how predictable written texts and real ones are, in bits per byte under one and the same model.

    Raises:
        UnprovenError: there are too few texts on either side, or the real ones are all alike.
    """
    ours, theirs = _compute_spread(written), compute_real_spread(real)
    rng = np.random.default_rng(seed)
    drawn, drawn_real = (_resample(np.asarray(losses, dtype=np.float64), rng) for losses in (written, real))
    error_mean, error_deviation = np.std(drawn - drawn_real, axis=1)
    return Regularity(
        texts=ours.texts,
        mean=ours.mean,
        deviation=ours.deviation,
        z_mean=(ours.mean - theirs.mean) / float(error_mean),
        z_deviation=(ours.deviation - theirs.deviation) / float(error_deviation),
    )


def _compute_spread(losses: Sequence[float]) -> Spread:
    if len(losses) < MIN_TEXTS:
        raise UnprovenError(f"{len(losses)} texts are too few for their regularity; it needs {MIN_TEXTS}")
    return Spread(len(losses), float(np.mean(losses)), float(np.std(losses, ddof=1)))


def _resample(losses: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return mean and deviation of each bootstrap draw, shape (2, RESAMPLES); a draw may be of one text alone."""
    draws = losses[rng.integers(len(losses), size=(RESAMPLES, len(losses)))]
    return np.stack([draws.mean(axis=1), draws.std(axis=1, ddof=1)])
