"""Cosine Delta: whose most frequent words, and how often each, does a pool of text have?

Owns the distance of pools to the author and to the nearest other author, and the proof on real unseen text that it
can tell them apart here. Without that proof it reports nothing. Pure functions over texts.

    z      a word's share of a pool, less its mean over all authors' pools, over its standard deviation
    delta  1 - cos(z of the pool, mean z of an author's pools): 0 is alike, 1 has nothing to do with it

Source:
    Burrows 2002, "Delta: a measure of stylistic difference"; the cosine: Evert et al. 2017, "Understanding and
    explaining Delta measures for authorship attribution".
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ghostpen.data.ngrams import read_words
from ghostpen.errors import NothingCountedError, UnprovenError
from ghostpen.evaluation.arrays import FloatArray
from ghostpen.evaluation.pools import POOL_WORDS

FREQUENT_WORDS = 500
MIN_REAL_POOLS = 3
MIN_CEILING = 0.9
"""At least so many of the author's real unseen pools must be found to be the author's, and of others' to be not."""


@dataclass(frozen=True)
class DeltaModel:
    """The words that are counted, their usual shares, and each author's mean z; `author` is the one that counts."""

    author: str
    words: tuple[str, ...]
    mean: FloatArray
    deviation: FloatArray
    centroids: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Distances:
    """A pool's Delta to the author, and to the nearest other author."""

    own: float
    nearest: float
    nearest_author: str

    @property
    def is_own(self) -> bool:
        """Tell whether the author is nearest."""
        return self.own < self.nearest


@dataclass(frozen=True)
class DeltaCeiling:
    """How well Delta does on real text that it was not fitted to.

    Args:
        own_pools: the author's; other_pools: other authors'.
        other_pools: see own_pools.
        recognised: share of own_pools whose nearest author is the author.
        rejected: share of other_pools whose nearest author is another, or that are farther off than own_95: an
            author who is not among the fitted ones is near to nobody, and may be least far from the author.
        own_95: Delta to the author that 95 % of own_pools stay below.
    """

    own_pools: int
    other_pools: int
    recognised: float
    rejected: float
    own_95: float


@dataclass(frozen=True)
class DeltaReport:
    """Pools of what a model wrote: their mean distances to the author, and to the nearest other author.

    `recognised` is the share of pools that are nearest to the author, and as near as 95 % of real ones.
    """

    pools: int
    own: float
    nearest: float
    recognised: float


def fit_delta(pools: Mapping[str, Sequence[str]], *, author: str) -> DeltaModel:
    """Fit to training text: choose the most frequent words, and find every author's centre.

    Each author counts the same in choosing and scaling, however much there is of each.

    Args:
        pools: of every author, as `pools.cut_pools_by_author` cuts them; the author's own among them.

    Raises:
        NothingCountedError: the author has no pool, or nobody else has.
    """
    if not pools.get(author) or not any(found for name, found in pools.items() if name != author):
        raise NothingCountedError("Delta needs a pool of training text by the author and one by another author")
    counts = {name: [Counter(read_words(pool)) for pool in found] for name, found in pools.items() if found}
    total: Counter[str] = Counter()
    for found in counts.values():
        share = 1 / sum(pool.total() for pool in found)
        for pool in found:
            for word, times in pool.items():
                total[word] += times * share  # type: ignore[assignment]  # a Counter of shares
    words = tuple(sorted(total, key=lambda word: (-total[word], word))[:FREQUENT_WORDS])
    shares = {name: _compute_shares(found, words) for name, found in counts.items()}
    means = np.array([found.mean(axis=0) for found in shares.values()])
    mean = means.mean(axis=0)
    spread = [((found - mean) ** 2).mean(axis=0) for found in shares.values()]
    deviation = np.sqrt(np.mean(spread, axis=0))
    deviation[deviation == 0] = 1.0  # the same share in every pool: z is 0
    centroids = {name: ((found - mean) / deviation).mean(axis=0) for name, found in shares.items()}
    return DeltaModel(author, words, mean, deviation, centroids)


def measure_delta(model: DeltaModel, pool: str) -> Distances:
    """Measure one pool."""
    [shares] = _compute_shares([Counter(read_words(pool))], model.words)
    z = (shares - model.mean) / model.deviation
    deltas = {name: 1 - _compute_cosine(z, centroid) for name, centroid in model.centroids.items()}
    own = deltas.pop(model.author)
    nearest = min(deltas, key=lambda name: deltas[name])
    return Distances(own, deltas[nearest], nearest)


def compute_ceiling(model: DeltaModel, *, real: Sequence[str], others: Sequence[str]) -> DeltaCeiling:
    """Compute how well Delta tells real unseen text apart.

    Args:
        real: pools of the author's held-out works.
        others: pools of works by others that were not fitted to.

    Raises:
        UnprovenError: there are too few pools, or Delta can't tell them apart.
    """
    if min(len(real), len(others)) < MIN_REAL_POOLS:
        raise UnprovenError(
            f"{len(real)} pools of the author's held-out text and {len(others)} of others' can't show what Delta is "
            f"worth here; it needs {MIN_REAL_POOLS} of each"
        )
    own = [measure_delta(model, pool) for pool in real]
    foreign = [measure_delta(model, pool) for pool in others]
    own_95 = float(np.quantile([distances.own for distances in own], 0.95))
    recognised = float(np.mean([distances.is_own for distances in own]))
    rejected = float(np.mean([not (distances.is_own and distances.own <= own_95) for distances in foreign]))
    if min(recognised, rejected) < MIN_CEILING:
        raise UnprovenError(
            f"Delta can't tell these authors apart: of real unseen pools it finds {recognised:.0%} of the author's "
            f"and turns away {rejected:.0%} of others'; both must be {MIN_CEILING:.0%}"
        )
    return DeltaCeiling(len(own), len(foreign), recognised, rejected, own_95)


def compute_delta(model: DeltaModel, generated: Sequence[str], *, ceiling: DeltaCeiling) -> DeltaReport:
    """Compute the distances of pools that a model wrote.

    Raises:
        UnprovenError: there is none.
    """
    if not generated:
        raise UnprovenError(f"the samples are less than a pool of {POOL_WORDS:,} words")
    found = [measure_delta(model, pool) for pool in generated]
    return DeltaReport(
        pools=len(found),
        own=float(np.mean([distances.own for distances in found])),
        nearest=float(np.mean([distances.nearest for distances in found])),
        recognised=float(np.mean([distances.is_own and distances.own <= ceiling.own_95 for distances in found])),
    )


def _compute_shares(counts: Sequence[Counter[str]], words: Sequence[str]) -> FloatArray:
    return np.array([[count[word] / max(count.total(), 1) for word in words] for count in counts], dtype=np.float64)


def _compute_cosine(left: FloatArray, right: FloatArray) -> float:
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else 0.0
