"""Draw the next token of each row of a batch from random numbers of its own.

A row's text then depends on its own seed and prompt, not on its neighbours nor on how often others were drawn:
the same in any batch, and after a run was broken off.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Up to this share of the vocabulary the tokens that min_p keeps are sorted alone: five times (of 4,096) to fifteen
# times (of 201,088) as fast as to sort all, which cost as much as a step of a small model.
FEW = 4


class RowSampler:
    """Leave one token a row, as transformers' logits processors do: the likeliest token is then the drawn one.

    It goes with `do_sample=False`, because transformers draws a whole batch from one generator.
    """

    def __init__(self, temperatures: Sequence[float], *, seeds: Sequence[int], top_p: float, min_p: float) -> None:
        """Set up.

        Args:
            temperatures: of each row; 0 takes the likeliest token. seeds: of each row.
            top_p: the likeliest tokens are kept until they have this share; 1 keeps all.
            min_p: tokens that are less likely than this share of the likeliest are left out; 0 keeps all.
        """
        self.temperatures_B, self.top_p, self.min_p = torch.tensor(list(temperatures)), top_p, min_p
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores_BV: torch.Tensor) -> torch.Tensor:
        """Draw; a row at temperature 0 keeps its scores."""
        rows = self.temperatures_B.nonzero().flatten()
        if not len(rows):
            return scores_BV
        # Numbers from the CPU on every device: a GPU's differ from model to model.
        numbers = torch.stack([torch.rand((), generator=self._generators[row]) for row in rows.tolist()])
        rows, device = rows.to(scores_BV.device), scores_BV.device
        temperatures = self.temperatures_B.to(device)[rows]
        tokens = draw_tokens(
            scores_BV[rows].float() / temperatures[:, None], numbers.to(device), top_p=self.top_p, min_p=self.min_p
        )
        drawn = scores_BV.clone()
        drawn[rows] = float("-inf")
        drawn[rows, tokens] = 0.0
        return drawn


def draw_tokens(scores_BV: torch.Tensor, numbers_B: torch.Tensor, *, top_p: float, min_p: float) -> torch.Tensor:
    """Return the token of a row at which the sum of the kept probabilities, likeliest first, passes its number.

    Args:
        scores_BV: float32, divided by the temperature. numbers_B: from 0 to below 1.

    Source: top-p, Holtzman et al. 2020, "The curious case of neural text degeneration"; min-p, Nguyen et al. 2024,
        "Turning up the heat".
    """
    probabilities, order = _sort_likeliest(torch.softmax(scores_BV, -1), min_p=min_p)
    before = probabilities.cumsum(-1) - probabilities
    kept = (before < top_p) & (probabilities >= min_p * probabilities[:, :1])
    kept[:, 0] = True
    sums = (probabilities * kept).cumsum(-1)
    places = (sums <= numbers_B[:, None] * sums[:, -1:]).sum(-1)
    last = kept.sum(-1) - 1  # where rounding would pass the end
    return order.gather(-1, torch.minimum(places, last)[:, None])[:, 0]


def _sort_likeliest(probabilities_BV: torch.Tensor, *, min_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort each row, the likeliest first and equal ones by their ids; what `min_p` leaves out may be missing.

    Returns:
        Probabilities and ids, both (B, as many as the row needs that keeps the most).
    """
    kept = probabilities_BV >= min_p * probabilities_BV.amax(-1, keepdim=True)
    most = int(kept.sum(-1).max())
    if most > probabilities_BV.shape[-1] // FEW:
        return probabilities_BV.sort(stable=True, dim=-1, descending=True)
    ids = probabilities_BV.topk(most, sorted=False).indices.sort(-1).values  # topk gives equal ones in any order
    probabilities, places = probabilities_BV.gather(-1, ids).sort(stable=True, dim=-1, descending=True)
    return probabilities, ids.gather(-1, places)
