"""A classifier of masked texts, for the verifier and the two-sample test: 1- to 3-grams and logistic regression.

Owns the one place where scikit-learn is used; it is imported where it is needed, because that takes a second.

Source:
    TF-IDF with 1 + ln(tf): Salton and Buckley 1988, "Term-weighting approaches in automatic text retrieval".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostpen.evaluation.arrays import FloatArray, IntArray

LONGEST_NGRAM = 3
MIN_TEXTS = 3
"""An n-gram that fewer texts have tells nothing of others."""

STRENGTH = 10.0
"""scikit-learn's C. With 1 the AUC of 400 words of the sample texts is .992, with 10 .995, with 100 .996."""

UNBOUND = 1e6
"""C where nothing is to be kept small: two numbers are fitted to hundreds."""


@dataclass(frozen=True)
class MaskedClassifier:
    """What tells texts with label 1 from texts with label 0."""

    vectoriser: Any
    model: Any

    def decide(self, texts: Sequence[Sequence[str]]) -> FloatArray:
        """Return each masked text's log-odds of being of label 1."""
        return np.asarray(self.model.decision_function(self.vectoriser.transform(texts)), dtype=np.float64)


def fit_masked(
    texts: Sequence[Sequence[str]], labels: IntArray, *, folds: IntArray
) -> tuple[MaskedClassifier, FloatArray]:
    """Fit to masked texts, both labels counting the same; and judge the same texts, as `cross_validate` does."""
    vectoriser, rows = _vectorise(texts)
    return MaskedClassifier(vectoriser, _fit(rows, labels)), _judge_folds(rows, labels, folds=folds)


def cross_validate(texts: Sequence[Sequence[str]], labels: IntArray, *, folds: IntArray) -> FloatArray:
    """Return each masked text's log-odds by a classifier that was fitted to the other folds.

    The weights of n-grams are those of all texts: they know no label.

    Args:
        folds: the fold of each text; both labels must be outside each.
    """
    _, rows = _vectorise(texts)
    return _judge_folds(rows, labels, folds=folds)


def calibrate(decided: FloatArray, labels: IntArray) -> tuple[float, float]:
    """Return slope and intercept that make log-odds of decisions, were both labels as frequent.

    Args:
        decided: by classifiers that were not fitted to these texts.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=UNBOUND, class_weight="balanced").fit(decided.reshape(-1, 1), labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def split_groups(groups: Sequence[str], *, folds: int) -> IntArray:
    """Share groups out to folds of about the same size; the whole group goes into one."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    filled = [0] * folds
    chosen: dict[str, int] = {}
    for group in sorted(sizes, key=lambda name: (-sizes[name], name)):
        chosen[group] = filled.index(min(filled))
        filled[chosen[group]] += sizes[group]
    return np.array([chosen[group] for group in groups], dtype=np.intp)


def _vectorise(texts: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(analyzer=_read_ngrams, sublinear_tf=True, min_df=MIN_TEXTS, dtype=np.float32)
    return vectoriser, vectoriser.fit_transform(texts)


def _judge_folds(rows: Any, labels: IntArray, *, folds: IntArray) -> FloatArray:
    decided = np.zeros(len(labels), dtype=np.float64)
    for fold in np.unique(folds):
        inside = folds == fold
        decided[inside] = _fit(rows[~inside], labels[~inside]).decision_function(rows[inside])
    return decided


def _fit(rows: Any, labels: IntArray) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000).fit(rows, labels)


def _read_ngrams(tokens: Sequence[str]) -> list[str]:
    grams = list(tokens)
    for length in range(2, LONGEST_NGRAM + 1):
        grams += map(" ".join, zip(*(tokens[start:] for start in range(length)), strict=False))
    return grams
