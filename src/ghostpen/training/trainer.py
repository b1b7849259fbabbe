"""TRL's SFTTrainer with a true loss curve: the pure negative log-likelihood, token-weighted, in every log.

What is changed, and why:
    compute_loss   TRL adds the router's balance loss to loss and eval_loss; Unsloth's and TRL's losses differ
                   between CPU and GPU. Here it is one function everywhere (`loss.compute_loss_nats`).
    evaluate       the stock one averages batch means over examples; here nats and tokens are summed
    log            a callback that edits logs comes after the trackers; the override comes before

Import this module only after `loading.import_unsloth`: Unsloth replaces TRL's trainer when it is imported.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from ghostpen.config import RunConfig
from ghostpen.data.samples import IGNORED_LABEL, TrainSample
from ghostpen.data.sections import Section
from ghostpen.errors import TrainingStopped
from ghostpen.model.architecture import check_gradients
from ghostpen.score import Score, sum_scores
from ghostpen.training.balance import RouterLogits, compute_balance
from ghostpen.training.checkpoints import read_tokens_seen, seal_checkpoint
from ghostpen.training.metrics import Measurement
from ghostpen.training.perplexity import compute_batch_loss_nats, pad_right, score_sections

# One point of the training curve covers this many optimiser steps at most.
LOG_EVERY = 10


def build_arguments(config: RunConfig, *, folder: str, fresh: bool) -> SFTConfig:
    """Translate our settings into TRL's."""
    train = config.train
    return SFTConfig(
        output_dir=folder,
        max_steps=train.max_steps,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.gradient_accumulation,
        learning_rate=train.learning_rate,
        # The first warm-up step has a learning rate of 0: a run of one step must not be all warm-up.
        warmup_steps=min(math.ceil(train.warmup_share * train.max_steps), train.max_steps - 1),
        lr_scheduler_type=train.schedule,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        optim={"adamw": "adamw_torch", "adamw_8bit": "adamw_8bit"}[train.optimizer],
        seed=train.seed,
        data_seed=train.seed,
        bf16=train.mixed_precision,  # Unsloth turns it off on a CPU that would emulate it
        fp16=False,
        logging_steps=min(LOG_EVERY, train.eval_every),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a NaN must be seen, not replaced by the last good loss
        eval_strategy="steps",
        eval_steps=train.eval_every,
        eval_on_start=fresh,
        save_strategy="steps",
        save_steps=train.checkpoint_every,
        save_total_limit=train.keep_checkpoints,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        packing=False,
        max_length=None,
        gradient_checkpointing=False,  # Unsloth has set it on the model where it is wanted
        dataloader_num_workers=0,
        router_aux_loss_coef=0.0,  # ours is added in compute_loss, so that it cannot reach the log
    )


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Pad on the right; padding is labelled away and, being later, seen by no real token."""
    return {
        "input_ids": pad_right([sample["input_ids"] for sample in samples], 0),
        "labels": pad_right([sample["labels"] for sample in samples], IGNORED_LABEL),
    }


class GhostpenTrainer(SFTTrainer):
    """Train on windows made beforehand; report `Measurement`s to `on_measurement`."""

    def __init__(
        self,
        *,
        config: RunConfig,
        model: Any,
        tokenizer: Any,
        samples: Sequence[TrainSample],
        validation: Mapping[str, Sequence[Section]],
        folder: str,
        fresh: bool,
        on_measurement: Callable[[Measurement], None],
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        """Set up training.

        Args:
            validation: sections to score at every evaluation, by split ("val", "contrast_val").
            fresh: not resumed, so the curve starts with the untrained adapter.
        """
        from datasets import Dataset

        rows = {
            "input_ids": [list(sample.input_ids) for sample in samples],
            "labels": [list(sample.labels) for sample in samples],
        }
        dataset = Dataset.from_dict(rows)
        self.ghostpen_config = config
        self.validation = validation
        self.on_measurement = on_measurement
        self.router_logits = RouterLogits(model) if config.train.router_aux_loss_coef else None
        self._nats, self._tokens, self._balance, self._since_s = 0.0, 0, 0.0, 0.0
        self.token_count = TokenCount()
        super().__init__(
            model=model,
            args=build_arguments(config, folder=folder, fresh=fresh),
            train_dataset=dataset,
            eval_dataset=dataset.select(range(1)),  # evaluate() reads `validation`; Trainer wants one
            processing_class=tokenizer,
            data_collator=collate,
            callbacks=[self.token_count, FirstStepCheck(), *callbacks],
        )

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return nats per counted token of the whole optimiser step, over all accumulated batches.

        Raises:
            TrainingStopped: the loss is NaN or infinite.
        """
        labels = inputs["labels"]
        counted = int((labels[:, 1:] != IGNORED_LABEL).sum())
        device_type = labels.device.type
        unwrapped = self.accelerator.unwrap_model(model)
        collecting: AbstractContextManager[list[torch.Tensor]] = nullcontext([])
        if self.router_logits is not None:
            collecting = self.router_logits.collect()
        with torch.autocast(device_type, torch.bfloat16, enabled=bool(self.args.bf16)), collecting as router_logits:
            nats = compute_batch_loss_nats(unwrapped, inputs["input_ids"], labels)
        value = float(nats.detach())
        if not math.isfinite(value):
            raise TrainingStopped(
                f"the loss became {value} at step {self.state.global_step + 1}; train anew with a lower "
                "train.learning_rate, under another name (--set name=...) or after deleting the run's folder"
            )
        self._nats += value
        self._tokens += counted
        self.token_count.tokens += counted
        divisor = num_items_in_batch if num_items_in_batch is not None else counted
        loss = nats / divisor
        if self.router_logits is not None:
            balance = compute_balance(router_logits, experts_per_token=unwrapped.config.num_experts_per_tok)
            self._balance = float(balance.detach())
            share = counted / float(divisor)  # as the loss is weighted, so that 1x8 equals 8x1
            loss = loss + self.ghostpen_config.train.router_aux_loss_coef * balance * share
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Turn Trainer's log of a mean of means into a measurement of sums."""
        if "loss" in logs and self._tokens:
            now_s = self.token_count.training_s
            elapsed_s = now_s - self._since_s
            self.on_measurement(
                Measurement(
                    step=self.state.global_step,
                    tokens_seen=self.token_count.tokens,
                    split="train",
                    score=Score(loss_nats=self._nats, tokens=self._tokens, size_bytes=0),
                    learning_rate=logs.get("learning_rate"),
                    tokens_per_s=self._tokens / elapsed_s if elapsed_s > 0 else None,
                    balance=self._balance if self.router_logits is not None else None,
                )
            )
            self._nats, self._tokens, self._since_s = 0.0, 0, now_s
        self.state.log_history.append({**logs, "step": self.state.global_step})

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the validation sections; the keys are Trainer's own, so that it can keep the best."""
        metrics: dict[str, float] = {}
        evaluation = self.ghostpen_config.eval
        for split, sections in self.validation.items():
            score = sum_scores(
                score_sections(
                    self.model,
                    self.processing_class,
                    sections,
                    window=evaluation.window,
                    stride=evaluation.stride,
                    batch_size=evaluation.batch_size,
                )
            )
            self.on_measurement(Measurement(self.state.global_step, self.token_count.tokens, split, score))
            metrics[f"eval_{split}_perplexity"] = score.perplexity
            metrics[f"eval_{split}_bits_per_byte"] = score.bits_per_byte
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: the manifest says it all, and TRL's asks W&B for a URL that an offline run has not."""


class TokenCount(TrainerCallback):
    """Count the trained tokens and the seconds spent training, across resumes."""

    def __init__(self) -> None:
        """Start at zero; a resume restores the state."""
        self.tokens = 0
        self.training_s = 0.0
        self._began_s = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the watch; evaluation and checkpoints are not training."""
        self._began_s = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the watch."""
        self.training_s += time.perf_counter() - self._began_s

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seal the checkpoint: Trainer has written the rest of it."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        seal_checkpoint(checkpoint, tokens_seen=self.tokens)

    def load(self, checkpoint: Path) -> None:
        """Read the count of a checkpoint."""
        self.tokens = read_tokens_seen(checkpoint)


class FirstStepCheck(TrainerCallback):
    """Make sure in the first step that every kind of target is really trained."""

    def __init__(self) -> None:
        """Check once."""
        self.checked = False

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the gradients while they are there.

        Raises:
            TargetError: a kind received none.
        """
        if not self.checked:
            check_gradients(kwargs["model"])
            self.checked = True


class StopOnSignal(TrainerCallback):
    """Let Ctrl-C or SIGTERM end the training after the step that runs, with a checkpoint.

    A second signal ends it at once: the checkpoint before is then the newest.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        """Wait for a signal."""
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        """Take over the signals."""
        self._previous = {number: signal.signal(number, self._request) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: Any) -> None:
        self.received = number
        self.__exit__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask Trainer for a checkpoint and the end."""
        if self.received is not None:
            control.should_save = True
            control.should_training_stop = True
