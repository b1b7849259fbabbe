"""The classifier of masked texts: folds by hand, and that nobody is asked about what he was taught."""

import numpy as np
import pytest

from ghostpen.evaluation.masked import calibrate, cross_validate, fit_masked, split_groups


def test_groups_go_whole_into_folds_of_equal_size() -> None:
    # a (3) into 0; b (2) into 1; c (1) into 1, which holds fewer.
    assert split_groups(["a", "b", "a", "c", "b", "a"], folds=2).tolist() == [0, 1, 0, 1, 1, 0]


def test_classifier_tells_labels_by_their_words() -> None:
    texts = [["it", "was"]] * 5 + [["was", "it"]] * 3
    labels = np.array([1] * 5 + [0] * 3)
    folds = np.array([0, 1] * 4)
    classifier, judged = fit_masked(texts, labels, folds=folds)
    assert (judged == cross_validate(texts, labels, folds=folds)).all()
    decided = classifier.decide([["it", "was"], ["was", "it"], ["new"]])
    assert decided[0] > 0 > decided[1]
    assert decided[2] == pytest.approx(0, abs=0.1)  # of nothing known: labels count the same, not texts


def test_fold_is_judged_by_what_the_others_teach() -> None:
    # In the one fold "p" marks label 1, in the other label 0: whoever learns from the other is always wrong.
    texts = [["p"], ["q"]] * 4 + [["q"], ["p"]] * 4
    labels = np.array([1, 0] * 8)
    decided = cross_validate(texts, labels, folds=np.array([0] * 8 + [1] * 8))
    assert ((decided > 0) == (labels == 0)).all()


def test_calibration_puts_0_where_both_are_as_likely() -> None:
    # Decisions of the one label are around 3, of the other around 1, and four times as many: the middle is 2.
    decided = np.array([2.0, 3.0, 4.0, 1.9] + [0.0, 1.0, 2.0, 2.1] * 4)
    slope, intercept = calibrate(decided, np.array([1] * 4 + [0] * 16))
    assert slope > 0
    assert -intercept / slope == pytest.approx(2, abs=0.05)
