"""Regularity: z by hand, and that evenness and predictability are told apart."""

import pytest

from ghostpen.errors import UnprovenError
from ghostpen.evaluation.regularity import Regularity, Spread, compute_real_spread, compute_regularity

REAL = [1.0, 2.0, 3.0] * 20  # mean 2, variance (40 * 1) / 59


def test_spread_is_mean_and_deviation() -> None:
    assert compute_real_spread(REAL) == Spread(60, 2, pytest.approx((40 / 59) ** 0.5))


def test_shift_is_in_standard_errors_of_the_difference() -> None:
    found = compute_regularity([loss + 0.5 for loss in REAL], real=REAL, seed=0)
    error = (2 * (40 / 60) / 60) ** 0.5
    assert found.z_mean == pytest.approx(0.5 / error, rel=0.08)
    assert found.z_deviation == pytest.approx(0, abs=1e-9)


def test_even_text_has_a_low_z_of_its_deviation_and_none_of_its_mean() -> None:
    even = [2 + (loss - 2) / 2 for loss in REAL]
    found = compute_regularity(even, real=REAL, seed=0)
    assert found.z_mean == pytest.approx(0, abs=1e-9)
    assert found.z_deviation < -5
    back = compute_regularity(REAL, real=even, seed=0)
    assert back.z_deviation == pytest.approx(-found.z_deviation, rel=0.1)


def test_the_evener_a_text_the_lower_its_z() -> None:
    # The deviation of real text is (40 / 59) ** .5 = .823, its standard error
    # ((fourth moment - variance ** 2) / (4 * variance * texts)) ** .5 = ((2/3 - 4/9) / (4 * 2/3 * 60)) ** .5 = .0373.
    def measure(losses: list[float]) -> Regularity:
        return compute_regularity(losses, real=REAL, seed=0)

    equal = measure([2.0] * 60)
    assert (equal.deviation, equal.z_mean) == (0, 0)
    assert equal.z_deviation == pytest.approx(-0.823 / 0.0373, rel=0.08)
    almost = measure([2.0] * 57 + [1.9, 2.1, 2.1])  # one bootstrap draw in twenty has none of the three
    half = measure([2 + (loss - 2) / 2 for loss in REAL])
    assert almost.z_deviation == pytest.approx((0.0225 - 0.823) / 0.0373, rel=0.08)
    assert equal.z_deviation < almost.z_deviation < half.z_deviation < -5


def test_same_seed_gives_the_same_numbers() -> None:
    losses = [loss * 1.1 for loss in REAL]
    assert compute_regularity(losses, real=REAL, seed=4) == compute_regularity(losses, real=REAL, seed=4)


@pytest.mark.parametrize(
    ("written", "real", "reason"),
    [
        (REAL[:29], REAL, "29 texts are too few for their regularity; it needs 30"),
        (REAL, REAL[:3], "3 texts are too few"),
        (REAL, [2.0] * 60, "all real texts are equally predictable"),
    ],
)
def test_too_little_is_refused(written: list[float], real: list[float], reason: str) -> None:
    with pytest.raises(UnprovenError, match=reason):
        compute_regularity(written, real=real, seed=0)
