"""Is what a model wrote too even? People are harder to predict in one place than in another; models are not.

Owns the comparison of how predictable texts are. Is given numbers, and must not know models or texts.

Source:
    arXiv 2603.23219: regular perplexity is the main sign by which mimicry of style is found out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostpen.errors import UnprovenError
from ghostpen.evaluation.masked import FloatArray

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
class Regularity:
    """What was written, and how many standard errors its mean and its deviation are off those of real text.

    The deviations are compared as logarithms: half is as far off as double.
    """

    written: Spread
    z_mean: float
    z_deviation: float


def compute_spread(losses: Sequence[float]) -> Spread:
    """Compute mean and deviation.

    Raises:
        UnprovenError: there are too few texts, or they are all alike.
    """
    if len(losses) < MIN_TEXTS:
        raise UnprovenError(f"{len(losses)} texts are too few for their regularity; it needs {MIN_TEXTS}")
    deviation = float(np.std(losses, ddof=1))
    if not deviation > 0:
        raise UnprovenError("all texts are equally predictable, so there is no regularity to compare")
    return Spread(len(losses), float(np.mean(losses)), deviation)


def compute_regularity(written: Sequence[float], *, real: Sequence[float], seed: int) -> Regularity:
    """Compare how predictable written texts and real ones are, in bits per byte under one and the same model.

    Raises:
        UnprovenError: there are too few texts on either side.
    """
    ours, theirs = compute_spread(written), compute_spread(real)
    rng = np.random.default_rng(seed)
    drawn, drawn_real = (_resample(np.asarray(losses, dtype=np.float64), rng) for losses in (written, real))
    error_mean, error_deviation = np.std(drawn - drawn_real, axis=1)
    return Regularity(
        written=ours,
        z_mean=(ours.mean - theirs.mean) / float(error_mean),
        z_deviation=float(np.log(ours.deviation / theirs.deviation)) / float(error_deviation),
    )


def _resample(losses: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return mean and logarithm of the deviation of each bootstrap draw, shape (2, RESAMPLES)."""
    draws = losses[rng.integers(len(losses), size=(RESAMPLES, len(losses)))]
    spread = np.maximum(draws.std(axis=1, ddof=1), np.finfo(np.float64).tiny)  # a draw may be of one text alone
    return np.stack([draws.mean(axis=1), np.log(spread)])
