"""The AUC: how often does one of these score above one of those? Equal counts half; 0.5 is guessing.

Owns the number and its bootstrap draws. What is drawn are sections, because pieces of one chapter are alike. Works on
scores and must not know what they are of.

Source:
    Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC) curve".
"""

from collections.abc import Sequence

import numpy as np

from ghostpen.evaluation.arrays import FloatArray, IntArray


def compute_auc(positive: FloatArray, negative: FloatArray) -> float:
    """Compute how often a positive's score is above a negative's; equal counts half. Neither may be empty."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive, side="left")
    not_above = np.searchsorted(order, positive, side="right")
    return float((below + not_above).mean() / (2 * len(negative)))


def resample_sides(
    positive: FloatArray,
    negative: FloatArray,
    *,
    sections: tuple[Sequence[str], Sequence[str]],
    resamples: int,
    seed: int,
) -> FloatArray:
    """Return the AUC of each bootstrap draw, where the two sides have no section in common: each draws its own.

    Args:
        sections: that of each positive, and that of each negative.
    """
    rows, columns = (_number(names) for names in sections)
    above, compared = _tabulate(positive, negative, places=(rows, columns))
    times = [
        _draw(len(set(names)), resamples=resamples, rng=rng)
        for names, rng in zip(sections, np.random.default_rng(seed).spawn(2), strict=True)
    ]
    won, drawn = (((times[0] @ table) * times[1]).sum(axis=1) for table in (above, compared))
    found: FloatArray = won / drawn
    return found


def resample_within_folds(
    scores: FloatArray, labels: IntArray, *, folds: IntArray, sections: Sequence[str], resamples: int, seed: int
) -> tuple[float, FloatArray]:
    """Return the AUC within folds, and that of each bootstrap draw of sections, which both labels may have texts of.

    A draw without a pair to compare is left out.

    Args:
        scores: comparable within a fold alone: each fold has a classifier of its own.
        labels: 1 and 0.
        folds: the fold of each score.
        sections: that of each score.
    """
    places, count = _number(sections), len(set(sections))
    above, compared = np.zeros((2, count, count))
    for fold in np.unique(folds):
        ours, theirs = (np.flatnonzero((folds == fold) & (labels == label)) for label in (1, 0))
        found = _tabulate(scores[ours], scores[theirs], places=(places[ours], places[theirs]), shape=(count, count))
        above, compared = above + found[0], compared + found[1]
    times = _draw(count, resamples=resamples, rng=np.random.default_rng(seed))
    won, drawn = (((times @ table) * times).sum(axis=1) for table in (above, compared))
    return float(above.sum() / compared.sum()), won[drawn > 0] / drawn[drawn > 0]


def _number(names: Sequence[str]) -> IntArray:
    return np.unique(names, return_inverse=True)[1]


def _tabulate(
    positive: FloatArray,
    negative: FloatArray,
    *,
    places: tuple[IntArray, IntArray],
    shape: tuple[int, int] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Sum pairs up by their sections: how many the positive is above in, and how many there are.

    Of such tables a bootstrap draw is a product with how often each section occurs.
    """
    above, compared = np.zeros((2, *(shape or (max(places[0]) + 1, max(places[1]) + 1))))
    cells = (places[0][:, None], places[1][None, :])
    np.add.at(above, cells, (np.sign(positive[:, None] - negative[None, :]) + 1) / 2)
    np.add.at(compared, cells, 1.0)
    return above, compared


def _draw(sections: int, *, resamples: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each section occurs in each draw, shape (resamples, sections)."""
    return rng.multinomial(sections, np.full(sections, 1 / sections), size=resamples).astype(np.float64)
