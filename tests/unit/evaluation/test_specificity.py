import math
from itertools import product

import numpy as np
import pytest

from ghostpen.errors import DataError, NothingCountedError
from ghostpen.evaluation.specificity import (
    SCORED_LABELS,
    Interval,
    SectionScores,
    check_aligned,
    compute_gain,
    compute_specificity,
    name_model,
)
from ghostpen.score import Score


def build_score(bits: float, size_bytes: int) -> Score:
    return Score(loss_nats=bits * math.log(2), tokens=4, size_bytes=size_bytes)


def build_scores(control_bits: list[float], author_bits: list[float], size_bytes: list[int]) -> SectionScores:
    return {
        "control": [build_score(bits, size) for bits, size in zip(control_bits, size_bytes, strict=True)],
        "author": [build_score(bits, size) for bits, size in zip(author_bits, size_bytes, strict=True)],
    }


def simulate_text(rng: np.random.Generator, *, sections: int, gain: float) -> SectionScores:
    """Sections that differ from each other (0.1) far more than the two models do (gain, with 0.02)."""
    size_bytes = rng.integers(5_000, 20_000, sections)
    control = rng.normal(1.8, 0.1, sections)
    author = control - rng.normal(gain, 0.02, sections)
    sizes = [int(size) for size in size_bytes]
    return build_scores(list(control * size_bytes), list(author * size_bytes), sizes)


def test_compute_specificity_of_two_texts_gives_gains_worked_by_hand() -> None:
    # Author's text: (20 + 40) - (18 + 36) = 6 bits over 10 + 20 bytes: G_A = 0.2.
    author = build_scores([20, 40], [18, 36], [10, 20])
    # Others: (30 + 30) - (28 + 31) = 1 bit over 10 + 10 bytes: G_O = 0.05. S = 0.2 - 0.05 = 0.15.
    others = build_scores([30, 30], [28, 31], [10, 10])

    found = compute_specificity(author, others, resamples=10)

    assert found.g_a.estimate == pytest.approx(0.2)
    assert found.g_o.estimate == pytest.approx(0.05)
    assert found.s.estimate == pytest.approx(0.15)


def test_compute_specificity_pools_bytes_instead_of_averaging_sections() -> None:
    # 1 bit saved on 1 byte, none on 99: pooled 1 / 100; the mean over the two sections would be 0.5.
    author = build_scores([2, 198], [1, 198], [1, 99])
    others = build_scores([2, 198], [2, 198], [1, 99])

    assert compute_specificity(author, others, resamples=10).g_a.estimate == pytest.approx(0.01)


def test_compute_specificity_of_a_control_equal_to_the_author_is_exactly_zero() -> None:
    rng = np.random.default_rng(1)
    author, others = (simulate_text(rng, sections=12, gain=0.05) for _ in range(2))
    same_author: SectionScores = {"control": author["author"], "author": author["author"]}
    same_others: SectionScores = {"control": others["author"], "author": others["author"]}

    found = compute_specificity(same_author, same_others)

    assert found.g_a == found.g_o == found.s == Interval(estimate=0.0, low=0.0, high=0.0)


def test_compute_specificity_of_one_gain_everywhere_has_an_interval_without_width() -> None:
    # Each section saves 1 bit in 10 bytes, so every draw of sections gives 0.1.
    author = build_scores([21.0 + n for n in range(6)], [20.0 + n for n in range(6)], [10] * 6)
    others = build_scores([20.0] * 6, [20.0] * 6, [10] * 6)

    found = compute_specificity(author, others, resamples=50)

    assert found.s.low == pytest.approx(0.1)
    assert found.s.high == pytest.approx(0.1)


def test_compute_gain_interval_equals_the_quantiles_over_all_draws() -> None:
    # 5 sections of one size: all 5 ** 5 = 3,125 draws can be listed, and their quantiles taken exactly.
    saved = [0.0, 1.0, 2.0, 4.0, 8.0]
    scores = build_scores([20 + bits for bits in saved], [20.0] * 5, [10] * 5)
    every_draw = [sum(draw) / 50 for draw in product(saved, repeat=5)]
    low, high = np.quantile(every_draw, [0.025, 0.975])

    found = compute_gain(scores, reference="control", model="author", resamples=100_000)

    assert found.low == pytest.approx(low, abs=0.021)  # neighbouring draws are 1 / 50 apart
    assert found.high == pytest.approx(high, abs=0.021)


def test_compute_specificity_interval_covers_a_known_effect_about_95_times_of_100() -> None:
    rng = np.random.default_rng(20_250)
    covered = 0
    for seed in range(200):
        author = simulate_text(rng, sections=40, gain=0.05)
        others = simulate_text(rng, sections=40, gain=0.01)
        s = compute_specificity(author, others, resamples=400, seed=seed).s
        assert s.low is not None and s.high is not None
        covered += s.low <= 0.04 <= s.high

    # 190 expected; a binomial spread of 3.1 and the bootstrap's known narrowness give 178 to 199.
    assert 178 <= covered <= 199


def test_compute_specificity_interval_is_of_paired_differences() -> None:
    rng = np.random.default_rng(5)
    found = compute_specificity(simulate_text(rng, sections=40, gain=0.05), simulate_text(rng, sections=40, gain=0.0))

    # Unpaired, the spread between sections (0.1) would give about 4 * 0.1 * sqrt(2 / 40) = 0.09.
    assert found.g_a.low is not None and found.g_a.high is not None
    assert found.g_a.high - found.g_a.low < 0.02


def test_compute_specificity_with_the_same_seed_is_the_same_and_with_another_is_not() -> None:
    rng = np.random.default_rng(2)
    author, others = (simulate_text(rng, sections=9, gain=gain) for gain in (0.05, 0.0))

    first, again, another = (compute_specificity(author, others, seed=seed) for seed in (3, 3, 4))

    assert first == again
    assert first.s.low != another.s.low
    assert first.s.estimate == another.s.estimate


@pytest.mark.parametrize(("author_sections", "others_sections"), [(4, 5), (5, 4)])
def test_compute_specificity_of_four_sections_gives_no_interval_for_s(
    author_sections: int, others_sections: int
) -> None:
    rng = np.random.default_rng(2)
    found = compute_specificity(
        simulate_text(rng, sections=author_sections, gain=0.05),
        simulate_text(rng, sections=others_sections, gain=0.0),
    )

    assert found.s.low is None and found.s.high is None
    assert (found.g_a.low is None) == (author_sections == 4)
    assert (found.g_o.low is None) == (others_sections == 4)


def test_compute_specificity_of_lists_of_unequal_length_is_an_error() -> None:
    whole = build_scores([20, 40], [18, 36], [10, 20])
    short: SectionScores = {"control": whole["control"], "author": whole["author"][:1]}

    with pytest.raises(DataError, match="author's test split: 2 sections .* control and 1 with author"):
        compute_specificity(short, whole)
    with pytest.raises(DataError, match="other authors' test split: 2 sections"):
        compute_specificity(whole, short)


def test_compute_specificity_of_lists_in_another_order_is_an_error() -> None:
    whole = build_scores([20, 40], [18, 36], [10, 20])
    turned: SectionScores = {"control": whole["control"], "author": whole["author"][::-1]}

    with pytest.raises(DataError, match="section 0 has 4 tokens and 10 bytes with control but 4 and 20"):
        compute_specificity(turned, whole)


def test_check_aligned_without_the_control_names_it() -> None:
    with pytest.raises(DataError, match="no scores of the control model"):
        check_aligned({"base": [build_score(1, 1)], "author": [build_score(1, 1)]}, text="the text")


def test_check_aligned_of_no_section_is_an_error() -> None:
    with pytest.raises(NothingCountedError, match="the text has no section"):
        check_aligned({"control": [], "author": []}, text="the text", models=("control", "author"))


def test_check_aligned_of_a_section_without_tokens_names_the_section() -> None:
    scores = [build_score(1, 1), Score(loss_nats=0.0, tokens=0, size_bytes=0)]

    with pytest.raises(NothingCountedError, match="section 1 has no counted token"):
        check_aligned({"control": scores, "author": scores}, text="the text", models=("control", "author"))


def test_models_have_names_for_people() -> None:
    assert [name_model(label) for label in SCORED_LABELS] == ["base model", "prompted", "control", "adapter"]
    assert [name_model(label, brief=True) for label in SCORED_LABELS] == ["base", "prompted", "control", "adapter"]
