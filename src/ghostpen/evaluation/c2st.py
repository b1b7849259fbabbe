"""A two-sample test: can a classifier tell what a model wrote from what the author wrote at the same place?

Owns the comparison, its interval, and the scale that the same classifier gives on real text. It sees masked words
(`masking`), so it does not see the plot; both texts of a place have the same length, so it does not see that.
AUC: 0.5 is that it can't tell, 1 that it always can.

Classifiers are fitted to some sections and asked about others, never about a section that they know; only answers of
one classifier are compared with each other. Pure functions over texts.

Source:
    Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghostpen.errors import UnprovenError
from ghostpen.evaluation.arrays import FloatArray, IntArray
from ghostpen.evaluation.auc import resample_within_folds
from ghostpen.evaluation.masked import cross_validate, split_groups
from ghostpen.evaluation.masking import mask_tokens, read_tokens
from ghostpen.evaluation.pieces import Piece, count_words, cut_text

FOLDS = 5
MIN_TEXTS = 40
"""Of each side: with fewer, a classifier hardly learns what there is to tell."""

MAX_FLOOR = 0.65
"""An author's text can't be told from itself: a higher floor means too few or too different sections."""

REPEATS = 3
"""Draws of real text: which pieces are drawn matters more to a floor than the interval of one draw tells."""

RESAMPLES = 1000
"""Of sections; a draw does not fit the classifiers anew."""


@dataclass(frozen=True)
class Auc:
    """An AUC with its 95 % interval over sections, of so many texts a side."""

    texts: int
    auc: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """An AUC of so many texts a side, and that of each bootstrap draw of sections."""

    texts: int
    auc: float
    draws: FloatArray


@dataclass(frozen=True)
class Scale:
    """What the test says of real text.

    Args:
        texts: how many a side all three comparisons have.
        floor: the author's held-out text against other pieces of the same works.
        other_work: the author's training works against it: as far off as the author is from herself.
        others: other authors' text against it.
    """

    texts: int
    floor: Auc
    other_work: Auc
    others: Auc


@dataclass(frozen=True)
class Pair:
    """What was written, and what the author wrote there; `section` names the place."""

    text: str
    real: str
    section: str


def cut_pairs(pairs: Iterable[Pair], *, words: int) -> list[Pair]:
    """Cut both texts of a pair to the shorter one's length, `words` at most.

    A pair of less than half of that is left out.
    """
    return [
        replace(pair, text=cut_text(pair.text, words=length), real=cut_text(pair.real, words=length))
        for pair in pairs
        for length in [min(words, count_words(pair.text), count_words(pair.real))]
        if 2 * length >= words
    ]


def compute_c2st(pairs: Sequence[Pair], *, kept: frozenset[str], seed: int) -> Auc:
    """Compute how well what was written can be told from what the author wrote there.

    Args:
        pairs: as `cut_pairs` cuts them, and no more than the scale has: the more texts, the easier they are to tell.

    Raises:
        UnprovenError: there are too few pairs or sections.
    """
    sections = [pair.section for pair in pairs]
    compared = compare_texts(
        [pair.text for pair in pairs],
        [pair.real for pair in pairs],
        sections=(sections, sections),
        kept=kept,
        seed=seed,
    )
    return _pool([compared])


def prove_c2st(
    held_out: Sequence[Piece],
    *,
    training: Sequence[Piece],
    others: Sequence[Piece],
    texts: int,
    kept: frozenset[str],
    seed: int,
) -> Scale:
    """Prove the test on real text, with the same number of texts a side in all three comparisons.

    Args:
        held_out: pieces of the works that the samples go on with.
        training: pieces of the author's other works.
        others: pieces of other authors' works.
        texts: as many as there are of a model's; fewer are drawn where half of the held-out pieces, or either of
            the others, are fewer.

    Raises:
        UnprovenError: there is too little real text, or the test can't tell other authors from the author.
    """
    texts = min(texts, len(held_out) // 2, len(training), len(others))
    rng = np.random.default_rng(seed)
    found: dict[str, list[Comparison]] = {"floor": [], "other_work": [], "others": []}
    for _ in range(REPEATS):
        real, rest = _halve(held_out, rng)
        for name, pieces in (("floor", rest), ("other_work", training), ("others", others)):
            left, right = _draw(pieces, texts, rng), _draw(real, texts, rng)
            found[name].append(
                compare_texts(
                    [piece.text for piece in left],
                    [piece.text for piece in right],
                    sections=([piece.place for piece in left], [piece.place for piece in right]),
                    kept=kept,
                    seed=seed,
                )
            )
    scale = Scale(texts, **{name: _pool(comparisons) for name, comparisons in found.items()})
    if scale.floor.auc > MAX_FLOOR or scale.others.low <= scale.floor.high:
        raise UnprovenError(
            f"with {scale.texts} texts a side the two-sample test tells other authors' real text from the "
            f"author's with AUC {scale.others.auc:.2f}, the author's from itself with {scale.floor.auc:.2f}; "
            "these must be far apart, which takes more or longer texts"
        )
    return scale


def compare_texts(
    texts: Sequence[str],
    real: Sequence[str],
    *,
    sections: tuple[Sequence[str], Sequence[str]],
    kept: frozenset[str],
    seed: int,
) -> Comparison:
    """Compare texts with real ones, in folds that no section is in two of.

    Args:
        sections: where each of the texts is from, and each of the real ones.

    Raises:
        UnprovenError: there are too few texts or sections.
    """
    fewest = min(map(len, (texts, real)))
    places = min(len(set(names)) for names in sections)
    if fewest < MIN_TEXTS or places < FOLDS:
        raise UnprovenError(
            f"{fewest} texts from {places} sections are too few for the two-sample test; on either side it needs "
            f"{MIN_TEXTS} from {FOLDS}"
        )
    masked = [mask_tokens(read_tokens(text), kept) for text in (*texts, *real)]
    labels = np.array([1] * len(texts) + [0] * len(real), dtype=np.intp)
    folds = _choose_folds(*sections)
    decided = cross_validate(masked, labels, folds=folds)
    names = [*sections[0], *sections[1]]
    auc, draws = resample_within_folds(decided, labels, folds=folds, sections=names, resamples=RESAMPLES, seed=seed)
    return Comparison(fewest, auc, draws)


def _pool(found: Sequence[Comparison]) -> Auc:
    low, high = np.quantile(np.concatenate([one.draws for one in found]), [0.025, 0.975])
    return Auc(min(one.texts for one in found), float(np.mean([one.auc for one in found])), float(low), float(high))


def _choose_folds(left: Sequence[str], right: Sequence[str]) -> IntArray:
    """Choose folds that both sides fill evenly, and no section is in two of."""
    folds = dict(zip(right, split_groups(right, folds=FOLDS), strict=True))
    new = [section for section in left if section not in folds]
    folds |= dict(zip(new, split_groups(new, folds=FOLDS), strict=True))
    return np.array([folds[section] for section in (*left, *right)], dtype=np.intp)


def _halve(pieces: Sequence[Piece], rng: np.random.Generator) -> tuple[list[Piece], list[Piece]]:
    order = rng.permutation(len(pieces))
    return [pieces[place] for place in order[::2]], [pieces[place] for place in order[1::2]]


def _draw(pieces: Sequence[Piece], count: int, rng: np.random.Generator) -> list[Piece]:
    return [pieces[place] for place in rng.permutation(len(pieces))[:count]]
