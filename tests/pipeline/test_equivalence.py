"""What must not change the result: how a batch is cut up, and a router loss that is not part of it."""

from pathlib import Path

import pytest
from tests.pipeline.commands import Commands
from tests.pipeline.conftest import Run
from tests.pipeline.evidence import read_rows

pytestmark = pytest.mark.pipeline


def train(commands: Commands, config: str, name: str, *settings: str) -> Path:
    options = [part for setting in (f"name={name}", *settings) for part in ("--set", setting)]
    commands.succeed("train", "--config", config, *options)
    return commands.folder / "runs" / name


def test_accumulating_gradients_equals_a_larger_batch(commands: Commands, config: str, letters: Path) -> None:
    from safetensors.torch import load_file

    # Letters and chats, because they differ in how many tokens they have and how many count: a mean of means would
    # show. bfloat16 would round the sums of 8 windows and of 1 differently. The learning rate is there from the first
    # step. An epoch has 6 steps, of which the last is smaller.
    common = [f"data.dir={letters}", "data.continue_share=0.5", "data.sequence_length=256", "train.max_steps=8"]
    common += ["train.mixed_precision=false", "train.warmup_share=0", "train.eval_every=1", "eval.max_val_bytes=1"]
    weights, tokens, grad_norms = [], [], []
    for batch_size, accumulated in ((8, 1), (1, 8)):
        cut = [f"train.batch_size={batch_size}", f"train.gradient_accumulation={accumulated}"]
        folder = train(commands, config, f"cut-{batch_size}x{accumulated}", *common, *cut)
        weights.append(load_file(folder / "adapter/adapter_model.safetensors"))
        rows = [row for row in read_rows(folder / "metrics.jsonl") if row["split"] == "train"]
        tokens.append([row["tokens"] for row in rows])
        grad_norms.append([row["grad_norm"] for row in rows])
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) == 8
    assert grad_norms[0][0] == pytest.approx(grad_norms[1][0], rel=1e-4)
    assert weights[0].keys() == weights[1].keys()
    # Single weights can differ more: AdamW divides each gradient by its own size, so that rounding decides where a
    # gradient is nearly 0. As a whole each tensor is the same; a mean of means gives other gradients, see above.
    for name, weight in weights[0].items():
        assert (weights[1][name] - weight).norm() < 0.01 * weight.norm(), name


def test_router_loss_trains_but_is_in_no_perplexity(commands: Commands, config: str, author_run: Run) -> None:
    import torch
    from safetensors.torch import load_file

    # The course of the learning rate is that of the other run, so that the trainings can be compared.
    folder = train(commands, config, "balanced", "train.router_aux_loss_coef=0.01")
    plain, balanced = (read_rows(path / "metrics.jsonl") for path in (author_run.folder, folder))
    at_start = [[row for row in rows if row["step"] == 0] for rows in (plain, balanced)]
    assert len(at_start[0]) == 2
    assert at_start[0] == at_start[1]
    first = [next(row for row in rows if row["split"] == "train") for rows in (plain, balanced)]
    assert first[0]["loss_nats"] == first[1]["loss_nats"]  # the same weights, the same windows
    # Of 4 experts: 1 where all are used alike, 4 where one does everything.
    assert all(1.0 <= row["balance"] <= 4.0 for row in balanced if row["split"] == "train")
    adapters = [load_file(path / "adapter/adapter_model.safetensors") for path in (author_run.folder, folder)]
    assert any(not torch.equal(adapters[0][name], adapters[1][name]) for name in adapters[0])
