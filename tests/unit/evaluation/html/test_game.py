import pytest
from tests.reports import ADAPTER, REAL, build_written

from ghostpen.evaluation.html.game import (
    ROUNDS,
    compute_at_least,
    compute_bounds,
    cut_alike,
    hash_text,
    plan_rounds,
    render_key,
    render_outcome,
)
from ghostpen.evaluation.written import Written


def take_pairs(*, places: int = 12) -> list[Written]:
    return [text for text in build_written(places=places) if text.model == "author" and text.kind == "continuation"]


def test_cut_alike_keeps_line_breaks_and_the_words_of_the_shorter() -> None:
    assert cut_alike(" one two\n\nthree four ", "a  b c") == ("one two\n\nthree", "a  b c")


def test_plan_rounds_asks_at_most_eight_and_puts_the_real_text_on_both_sides() -> None:
    rounds = plan_rounds(take_pairs(), seed=1)

    assert [one.number for one in rounds] == list(range(1, ROUNDS + 1))
    sides = [next(side for side, text in enumerate(one.texts, start=1) if text.startswith(REAL)) for one in rounds]
    assert set(sides) == {1, 2}
    for one, side in zip(rounds, sides, strict=True):
        assert one.key == render_key(one.number, side, seed=1) != render_key(one.number, 3 - side, seed=1)
        assert one.texts[2 - side].startswith(ADAPTER)
        assert len(one.texts[0].split()) == len(one.texts[1].split())


def test_plan_rounds_of_another_seed_has_another_order() -> None:
    orders = {
        tuple(one.texts[0].startswith(REAL) for one in plan_rounds(take_pairs(), seed=seed)) for seed in range(4)
    }

    assert len(orders) > 1
    assert plan_rounds(take_pairs(), seed=3) == plan_rounds(take_pairs(), seed=3)


def test_plan_rounds_leaves_out_texts_that_are_too_short_to_tell() -> None:
    pair = take_pairs(places=1)[0]
    short = Written(**{**vars(pair), "text": "Only eleven words are in this text, which is too short."})

    assert plan_rounds([short], seed=1) == []
    assert len(plan_rounds([short, pair], seed=1)) == 1


def test_render_key_is_fnv_1a() -> None:
    # Each byte: xor, then times 0x01000193 modulo 2^32. "1" by hand: (0x811c9dc5 xor 0x31) * 0x01000193 = 0x340ca71c;
    # "foobar" is of the published test vectors.
    assert hash_text("") == "811c9dc5"
    assert hash_text("1") == "340ca71c"
    assert hash_text("foobar") == "bf9cf968"
    assert render_key(1, 2, seed=7) == hash_text("7/1/2")


@pytest.mark.parametrize(
    ("right", "rounds", "chance"),
    [(0, 3, 1.0), (3, 3, 1 / 8), (2, 3, 4 / 8), (7, 8, 9 / 256), (8, 8, 1 / 256)],
)
def test_compute_at_least_counts_the_ways_to_guess(right: int, rounds: int, chance: float) -> None:
    assert compute_at_least(right, rounds) == chance


def test_compute_bounds_are_exact() -> None:
    # All of n right: the share p below which n of n has a probability of 2.5 % is 0.025 ** (1 / n).
    assert compute_bounds(8, 8) == (pytest.approx(0.025 ** (1 / 8)), 1.0)
    assert compute_bounds(0, 8) == (0.0, pytest.approx(1 - 0.025 ** (1 / 8)))
    # Half of 10: the interval that tables of Clopper and Pearson's have.
    assert compute_bounds(5, 10) == (pytest.approx(0.1871, abs=1e-4), pytest.approx(0.8129, abs=1e-4))


def test_render_outcome_tells_the_score_its_interval_and_guessing() -> None:
    # 9 of 256 ways to guess have 7 or 8 right: 3.5 %.
    assert render_outcome(7, 8) == (
        "7 of 8 right: 88 % (95 % interval 47 to 100 %). Somebody who guesses gets 7 or more right in 3.5 % of "
        "games. You can tell the real text from the adapter’s."
    )
    assert "in 50.0 % of games. That may well be guessing" in render_outcome(2, 3)
    assert "You took the adapter’s text for the real one more often than by chance." in render_outcome(1, 8)
