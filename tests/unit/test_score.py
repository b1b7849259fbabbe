import math

import pytest

from ghostpen.errors import ModelError, NothingCountedError
from ghostpen.score import Score, sum_scores


def test_perplexity_of_three_certain_and_one_uniform_token_is_the_geometric_mean() -> None:
    # Losses ln 1, ln 1, ln 1, ln 16: exp(ln 16 / 4) = 16 ** (1 / 4) = 2.
    assert Score(loss_nats=math.log(16), tokens=4, size_bytes=9).perplexity == pytest.approx(2.0)


def test_bits_per_byte_of_two_bits_on_eight_bytes_is_a_quarter() -> None:
    # 2 ln 2 nats are 2 bits; 2 bits / 8 bytes = 0.25.
    assert Score(loss_nats=2 * math.log(2), tokens=3, size_bytes=8).bits_per_byte == pytest.approx(0.25)


def test_add_of_two_scores_pools_losses_instead_of_averaging_perplexities() -> None:
    easy = Score(loss_nats=math.log(2), tokens=1, size_bytes=1)
    hard = Score(loss_nats=3 * math.log(8), tokens=3, size_bytes=7)

    both = easy + hard

    # ln 2 + 9 ln 2 = 10 ln 2 over 4 tokens and 8 bytes; the mean of the perplexities 2 and 8 would be 5.
    assert both.perplexity == pytest.approx(2**2.5)
    assert both.bits_per_byte == pytest.approx(10 / 8)
    assert (both.tokens, both.size_bytes) == (4, 8)


def test_sum_scores_of_ten_tenths_is_exactly_one() -> None:
    # Added one after the other, ten times 0.1 is 0.9999999999999999.
    assert sum_scores(Score(0.1, 1, 1) for _ in range(10)) == Score(1.0, 10, 10)


def test_sum_scores_of_nothing_has_no_perplexity() -> None:
    nothing = sum_scores([])

    with pytest.raises(NothingCountedError, match="at least one counted token"):
        _ = nothing.perplexity


def test_bits_per_byte_of_tokens_without_bytes_is_an_error() -> None:
    with pytest.raises(NothingCountedError, match="at least one counted byte"):
        _ = Score(loss_nats=1.0, tokens=1, size_bytes=0).bits_per_byte


def test_to_json_holds_sums_and_both_numbers() -> None:
    assert Score(loss_nats=2 * math.log(2), tokens=2, size_bytes=4).to_json() == {
        "loss_nats": pytest.approx(1.3862943611),
        "tokens": 2,
        "size_bytes": 4,
        "perplexity": pytest.approx(2.0),
        "bits_per_byte": pytest.approx(0.5),
    }


@pytest.mark.parametrize("loss_nats", [math.nan, math.inf, -math.inf])
def test_score_of_a_loss_that_is_no_number_is_an_error(loss_nats: float) -> None:
    with pytest.raises(ModelError, match="weights have diverged"):
        Score(loss_nats=loss_nats, tokens=1, size_bytes=1)


def test_perplexity_above_the_largest_float_is_an_error_of_ours() -> None:
    with pytest.raises(ModelError, match="1000 nats per token"):
        _ = Score(loss_nats=2000.0, tokens=2, size_bytes=1).perplexity


@pytest.mark.parametrize(("tokens", "size_bytes"), [(-1, 1), (1, -1)])
def test_score_of_a_negative_count_is_an_error(tokens: int, size_bytes: int) -> None:
    with pytest.raises(ValueError, match="negative count"):
        Score(loss_nats=1.0, tokens=tokens, size_bytes=size_bytes)
