import math

import pytest
import torch

from ghostpen.model import sampling
from ghostpen.model.sampling import RowSampler, draw_tokens

# Probabilities .1, .4, .3, .2: the likeliest first, tokens 1, 2, 3, 0.
SCORES = torch.tensor([[math.log(p) for p in (0.1, 0.4, 0.3, 0.2)]])


@pytest.mark.parametrize(("number", "token"), [(0.0, 1), (0.39, 1), (0.41, 2), (0.69, 2), (0.71, 3), (0.91, 0)])
def test_draw_tokens_takes_the_token_whose_share_holds_the_number(number: float, token: int) -> None:
    assert draw_tokens(SCORES, torch.tensor([number]), top_p=1.0, min_p=0.0).tolist() == [token]


@pytest.mark.parametrize(
    ("top_p", "min_p", "kept"),
    [
        (0.5, 0.0, {1, 2}),  # .4 is not yet half; .4 + .3 is
        (0.4, 0.0, {1}),
        (0.01, 0.0, {1}),
        (1.0, 0.6, {1, 2}),  # .3 is .75 of .4, .2 is .5 of it
        (1.0, 0.5, {1, 2, 3}),
        (0.5, 1.0, {1}),
    ],
)
def test_draw_tokens_leaves_unlikely_tokens_out(top_p: float, min_p: float, kept: set[int]) -> None:
    numbers = torch.arange(1000) / 1000
    drawn = draw_tokens(SCORES.expand(1000, 4), numbers, top_p=top_p, min_p=min_p)
    assert set(drawn.tolist()) == kept
    # .4 and .3 are four and three sevenths of what is kept.
    if kept == {1, 2}:
        assert int((drawn == 1).sum()) == pytest.approx(1000 * 4 / 7, abs=2)


@pytest.mark.parametrize(("number", "token"), [(0.0, 3), (0.49, 3), (0.51, 7), (0.99, 7)])
def test_draw_tokens_takes_equal_tokens_in_order_of_their_ids(number: float, token: int) -> None:
    scores = torch.full((1, 40), -20.0)
    scores[0, [7, 3]] = 0.0
    assert draw_tokens(scores, torch.tensor([number]), top_p=1.0, min_p=0.05).tolist() == [token]


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])  # from most tokens kept to a few
def test_draw_tokens_draws_the_same_whether_few_or_all_are_sorted(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = (spread * torch.randn(500, 200, generator=generator)).half().float()  # halves of 200 have equal ones
    numbers = torch.rand(500, generator=generator)
    drawn = draw_tokens(scores, numbers, top_p=0.95, min_p=0.05)
    monkeypatch.setattr(sampling, "FEW", 201)  # no token is few enough
    assert torch.equal(draw_tokens(scores, numbers, top_p=0.95, min_p=0.05), drawn)


def test_row_sampler_draws_a_row_from_its_own_seed_in_any_batch() -> None:
    scores = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))

    def draw(rows: list[int], times: int) -> list[list[int]]:
        sampler = RowSampler([0.9] * len(rows), seeds=rows, top_p=1.0, min_p=0.0)
        drawn = [sampler(torch.empty(0), scores[rows]).argmax(-1).tolist() for _ in range(times)]
        return [list(tokens) for tokens in zip(*drawn, strict=True)]

    together = draw([0, 1, 2], 20)
    assert [draw([row], 20)[0] for row in range(3)] == together
    assert len(set(together[0])) > 5


def test_row_sampler_leaves_a_row_at_temperature_0_as_it_is() -> None:
    sampler = RowSampler([0.0, 1.0], seeds=[0, 0], top_p=1.0, min_p=0.0)
    scores = SCORES.expand(2, 4)
    drawn = sampler(torch.empty(0), scores)
    assert torch.equal(drawn[0], scores[0])
    assert drawn[1].isfinite().sum() == 1
    assert torch.equal(RowSampler([0.0], seeds=[0], top_p=1.0, min_p=0.0)(torch.empty(0), SCORES), SCORES)
