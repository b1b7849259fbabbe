"""The true perplexity of a model on texts: one number, whatever the batch size, the padding or the trainer.

Owns how texts become a `Score`. The loss itself is `loss.compute_loss_nats`, the same for the training log,
validation and test; the definition of perplexity and bits per byte is `ghostpen.score.Score`. Nothing of the
router's balance loss is in it, and means are never averaged: nats and tokens are summed, then divided once.

Shapes: B windows, T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ghostpen.data.samples import IGNORED_LABEL, EvalWindow, render_eval_windows
from ghostpen.data.sections import Section
from ghostpen.errors import NothingCountedError
from ghostpen.model.device import find_device
from ghostpen.score import Score
from ghostpen.training.loss import compute_loss_nats
from ghostpen.training.ranks import ALONE, Ranks


def compute_hidden(model: Any, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the decoder without the output layer.

    No attention mask is given: rows are padded on the right only, so that causal attention keeps every real
    token from seeing the padding (and Unsloth's GPU attention for gpt-oss reads no mask).

    Args:
        model: a gpt-oss, adapted or not. input_ids: (B, T).

    Returns:
        The last hidden state (B, T, H) and the output embedding (V, H).
    """
    causal_lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = causal_lm.model(input_ids=input_ids, use_cache=False).last_hidden_state
    return hidden, causal_lm.lm_head.weight


def compute_batch_loss_nats(model: Any, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum -ln p over the labelled tokens of a batch.

    Args:
        input_ids: (B, T). labels: (B, T), the same tokens or IGNORED_LABEL; label t is predicted from the
            tokens before t.
    """
    hidden, weight = compute_hidden(model, input_ids)
    return compute_loss_nats(hidden[:, :-1], weight, labels[:, 1:])


def pad_right(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Stack ragged rows as (B, T), padded on the right."""
    longest = max(len(row) for row in rows)
    stacked = torch.full((len(rows), longest), value, dtype=torch.long)
    for i, row in enumerate(rows):
        stacked[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return stacked


def score_sections(
    model: Any,
    tokenizer: Any,
    sections: Sequence[Section],
    *,
    window: int,
    stride: int,
    batch_size: int,
    prompt: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
    before_batch: Callable[[], None] | None = None,
    ranks: Ranks = ALONE,
) -> list[Score]:
    """Score each section on its own, reading it in overlapping windows.

    Every token of a section is counted once. After the first window each has at least `window - stride`
    tokens of its section before it; no window sees another section.

    Args:
        window: tokens the model sees at once. stride: tokens from one window's start to the next.
        prompt: tokens at the head of every window, in place of <|startoftext|>; the window holds them, too.
        on_progress: called with (windows done, windows in all).
        before_batch: called equally often by all processes, which may so agree to leave by an error.
        ranks: the processes that share the work. Whole batches are dealt out, the same as one process makes,
            so that the result is the same to the order of the last sum; every process returns it.

    Returns:
        One Score a section, in order.

    Raises:
        NothingCountedError: no section has a token. (One without, among others, gets an empty Score.)

    Source: the strided evaluation of Hugging Face's "Perplexity of fixed-length models", with sums of nats
        in place of means of means.
    """
    windows = render_eval_windows(sections, tokenizer, window=window, stride=stride, prompt=prompt)
    if not windows:
        raise NothingCountedError("there is no token to score: the texts are empty; run `ghostpen prepare` again")
    nats, tokens = [0.0] * len(sections), [0] * len(sections)
    # Windows of like length together: less padding. The sum does not depend on the order.
    order = sorted(range(len(windows)), key=lambda i: len(windows[i].input_ids))
    was_training = model.training
    model.eval()
    try:
        for first in range(0, len(order), ranks.size * batch_size):
            if before_batch:
                before_batch()
            start = first + ranks.rank * batch_size
            batch = [windows[i] for i in order[start : start + batch_size]]
            if not batch:  # the others have the last ones
                break
            for one, (loss_nats, counted) in zip(batch, _score_batch(model, batch), strict=True):
                nats[one.section_index] += loss_nats
                tokens[one.section_index] += counted
            if on_progress:
                on_progress(min(start + batch_size, len(order)), len(order))
    finally:
        model.train(was_training)
    sums = ranks.sum([*nats, *tokens])
    nats, tokens = sums[: len(sections)], [int(count) for count in sums[len(sections) :]]
    return [
        Score(loss_nats=loss, tokens=counted, size_bytes=section.size_bytes)
        for loss, counted, section in zip(nats, tokens, sections, strict=True)
    ]


@torch.no_grad()
def _score_batch(model: Any, batch: Sequence[EvalWindow]) -> list[tuple[float, int]]:
    device = find_device(model)
    input_ids = pad_right([one.input_ids for one in batch], 0).to(device)
    labels = pad_right([one.labels for one in batch], IGNORED_LABEL).to(device)
    hidden, weight = compute_hidden(model, input_ids)
    results = []
    for row_hidden, row_labels in zip(hidden, labels, strict=True):
        loss = compute_loss_nats(row_hidden[:-1], weight, row_labels[1:])
        results.append((float(loss), int((row_labels[1:] != IGNORED_LABEL).sum())))
    return results


def choose_validation_sections(sections: Sequence[Section], max_bytes: int | None) -> list[Section]:
    """Choose sections evenly over the split until `max_bytes` are reached; all of them without a limit.

    Whole sections only, and always the same ones: every point of a curve is measured on the same text.
    """
    total = sum(section.size_bytes for section in sections)
    if max_bytes is None or total <= max_bytes:
        return list(sections)
    chosen: list[Section] = []
    taken, due = 0, 0.0
    for section in sections:
        due += section.size_bytes * max_bytes / total
        if due >= taken + section.size_bytes / 2 or not chosen:
            chosen.append(section)
            taken += section.size_bytes
    return chosen
