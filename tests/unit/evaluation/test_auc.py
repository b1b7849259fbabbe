"""The AUC by hand, and what its interval is of: sections, not pieces."""

import numpy as np
import pytest

from ghostpen.evaluation.auc import compute_auc, resample_sides, resample_within_folds


@pytest.mark.parametrize(
    ("positive", "negative", "auc"),
    [
        ([1, 2, 3], [0, 2], 0.75),  # 1: above one of two; 2: above one, equal to one; 3: above both. 4.5 of 6
        ([1.0], [0.0], 1),
        ([0.0], [1.0], 0),
        ([5, 5], [5, 5, 5], 0.5),
        ([1.0] * 20, [0.0] * 15 + [1.0] * 4 + [2.0], 17 / 20),  # beats 15, a tie with 4: (15 + 4 / 2) / 20
    ],
)
def test_auc_counts_pairs(positive: list[float], negative: list[float], auc: float) -> None:
    assert compute_auc(np.array(positive), np.array(negative)) == auc


def test_draws_of_two_sides_are_of_their_sections() -> None:
    # Section "a" wins against both of the others', "b" loses; a draw has "a" twice, once or never.
    draws = resample_sides(
        np.array([3.0, 3.0, 0.0]),
        np.array([1.0, 2.0]),
        sections=(["a", "a", "b"], ["c", "d"]),
        resamples=500,
        seed=0,
    )
    assert set(np.round(draws, 6)) == {0.0, round(2 / 3, 6), 1.0}  # "a" has two of three pieces
    assert abs((draws == 1).mean() - 1 / 4) < 0.06


def test_draws_are_wider_where_the_pieces_of_a_section_are_alike() -> None:
    rng = np.random.default_rng(5)
    levels = rng.normal(0.5, 1, 10).repeat(10) + rng.normal(0, 0.01, 100)
    others = rng.normal(0, 1, 100)
    names = [str(place) for place in range(100)]
    by_section, by_piece = (
        resample_sides(levels, others, sections=(sections, names), resamples=500, seed=0)
        for sections in ([name[:-1] or "0" for name in names], names)
    )
    assert by_section.std() > 1.5 * by_piece.std()


def test_only_scores_of_one_fold_are_compared() -> None:
    # Fold 0: 1 is above 0; fold 1: 10 is above 9. That 1 is below 9 does not count.
    auc, draws = resample_within_folds(
        np.array([1.0, 0.0, 10.0, 9.0]),
        np.array([1, 0, 1, 0]),
        folds=np.array([0, 0, 1, 1]),
        sections=["a", "a", "b", "b"],
        resamples=50,
        seed=0,
    )
    assert auc == 1.0 and len(draws) == 50 and (draws == 1).all()


def test_draw_without_a_pair_is_left_out() -> None:
    # Positives are of "a" alone, negatives of "b": a draw of one section twice compares nothing, half of the draws.
    _, draws = resample_within_folds(
        np.array([1.0, 0.0]),
        np.array([1, 0]),
        folds=np.array([0, 0]),
        sections=["a", "b"],
        resamples=400,
        seed=0,
    )
    assert abs(len(draws) - 200) < 60 and (draws == 1).all()
