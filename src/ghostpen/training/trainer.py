"""TRL's SFTTrainer with a true loss curve: the pure negative log-likelihood, token-weighted, in every log.

What is changed, and why:
    compute_loss   TRL adds the router's balance loss to loss and eval_loss; Unsloth's and TRL's losses differ
                   between CPU and GPU. Here it is one function everywhere (`loss.compute_loss_nats`).
    evaluate       the stock one averages batch means over examples; here nats and tokens are summed
    log            a callback that edits logs comes after the trackers; the override comes before
    _save_checkpoint   sealed, rotated only after the seal, and a full disk costs a checkpoint, not the training
    _clip_grad_norm    a gradient that is none is not followed
    the samples    come in steps of like length (`batches.plan_steps`), not at random

Import this module only after `loading.import_unsloth`: Unsloth replaces TRL's trainer when it is imported.
"""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from ghostpen.config import RunConfig
from ghostpen.data.samples import IGNORED_LABEL, TrainSample
from ghostpen.data.sections import Section
from ghostpen.errors import ModelError, TrainingStopped
from ghostpen.model.architecture import check_gradients
from ghostpen.score import Score, sum_scores
from ghostpen.training.balance import RouterLogits, compute_balance
from ghostpen.training.batches import StepOrder
from ghostpen.training.checkpoints import (
    delete_old_checkpoints,
    explain_disk_error,
    read_progress,
    read_step,
    seal_checkpoint,
)
from ghostpen.training.course import (
    Course,
    Stop,
    find_early_stop,
    find_explosion,
    observe_evaluation,
    observe_gradient,
)
from ghostpen.training.memory import read_peak_memory
from ghostpen.training.metrics import Measurement
from ghostpen.training.perplexity import compute_batch_loss_nats, pad_right, score_sections

# One point of the training curve covers this many optimiser steps at most.
LOG_EVERY = 10


def build_arguments(config: RunConfig, *, folder: str, fresh: bool) -> SFTConfig:
    """Translate our settings into TRL's.

    Args:
        config: with nothing left open (`recipe.apply_recipe`).
    """
    train = config.train
    assert train.max_steps is not None and train.eval_every is not None, "apply_recipe comes first"
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
        optim="adamw_torch",
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
        save_total_limit=None,  # Trainer would delete the old ones before the new one is sealed
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
        on_warning: Callable[[str], None],
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        """Set up training.

        Args:
            config: with nothing left open (`recipe.apply_recipe`).
            validation: sections to score at every evaluation, by split ("val", "contrast_val").
            fresh: not resumed, so the curve starts with the untrained adapter.
            on_warning: takes a line for the person who watches.
        """
        from datasets import Dataset

        filler = TrainSample((0, 0), (IGNORED_LABEL, IGNORED_LABEL), document="")  # for `StepOrder`, see there
        rows = {
            "input_ids": [list(sample.input_ids) for sample in [*samples, filler]],
            "labels": [list(sample.labels) for sample in [*samples, filler]],
        }
        self.sample_lengths = [len(sample.input_ids) for sample in samples]
        dataset = Dataset.from_dict(rows)
        self.ghostpen_config = config
        self.validation = validation
        self.on_measurement = on_measurement
        self.on_warning = on_warning
        self.course = Course()
        self.stop: Stop | None = None  # why it ended early; None where it did not
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
            callbacks=[self.token_count, FirstStepCheck(), LastEvaluation(), *callbacks],
        )

    def restore(self, checkpoint: Path) -> None:
        """Go on counting where a checkpoint stopped; Trainer restores the rest itself."""
        progress = read_progress(checkpoint)
        self.token_count.tokens = progress["tokens_seen"]
        self.course = Course.from_json(progress["course"])

    def train_on(self, checkpoint: Path | None) -> None:
        """Train to the end, from `checkpoint` where there is one.

        Raises:
            TrainingStopped: the loss or a gradient became none to follow; `stop` says which.
        """
        if checkpoint is None:
            self.train()
            return
        step, train = read_step(checkpoint), self.ghostpen_config.train
        self.stop = find_early_stop(self.course, train, step=step)
        if self.stop is None and step < self.args.max_steps:
            self.train(resume_from_checkpoint=str(checkpoint))
        else:  # it was the last one; only what follows the training was not done any more
            self.state.global_step = step
            self.load_weights(checkpoint)

    def load_weights(self, checkpoint: Path) -> None:
        """Give the adapter the weights that it had at a checkpoint, as a resume does."""
        self._load_from_checkpoint(str(checkpoint))

    def _get_train_sampler(self, train_dataset: Any = None) -> StepOrder:
        """Order the samples; transformers calls it for the training's dataset alone."""
        at_once = self.args.train_batch_size * self.args.world_size
        return StepOrder(
            self.sample_lengths,
            step_size=at_once * self.args.gradient_accumulation_steps,
            seed=self.args.seed,
            read_step=lambda: self.state.global_step,
            filler=len(self.sample_lengths),
            multiple=at_once if self.args.world_size > 1 else 1,
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
            step = self.state.global_step + 1
            self._fail(Stop("not-a-number", f"the loss became {value} at step {step}", step))
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

    def _fail(self, stop: Stop) -> NoReturn:
        self.stop = stop
        raise TrainingStopped(
            f"{stop.text}; train anew with a lower train.learning_rate, under another name (--set name=...) or "
            "after deleting the run's folder"
        )

    def _clip_grad_norm(self, model: Any) -> Any:
        """Scale the gradients down, unless they are not to be followed at all.

        Raises:
            TrainingStopped: their norm is NaN, infinite or far above the usual.
        """
        norm = super()._clip_grad_norm(model)
        value, train, step = float(norm), self.ghostpen_config.train, self.state.global_step + 1
        if stop := find_explosion(self.course, train, value, step=step):
            self._fail(stop)
        self.course = observe_gradient(self.course, value)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Turn Trainer's log of a mean of means into a measurement of sums."""
        if "loss" in logs and self._tokens:
            now_s = self.token_count.training_s
            elapsed_s = now_s - self._since_s
            peak = read_peak_memory()
            self.on_measurement(
                Measurement(
                    step=self.state.global_step,
                    tokens_seen=self.token_count.tokens,
                    split="train",
                    score=Score(loss_nats=self._nats, tokens=self._tokens, size_bytes=0),
                    learning_rate=logs.get("learning_rate"),
                    tokens_per_s=self._tokens / elapsed_s if elapsed_s > 0 else None,
                    balance=self._balance if self.router_logits is not None else None,
                    grad_norm=logs.get("grad_norm"),
                    peak_memory_bytes=peak.process_bytes,
                    peak_gpu_memory_bytes=peak.gpu_bytes,
                )
            )
            self._nats, self._tokens, self._since_s = 0.0, 0, now_s
        self.state.log_history.append({**logs, "step": self.state.global_step})

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the validation sections; the keys are Trainer's own, so that it can keep the best."""
        metrics: dict[str, float] = {}
        evaluation = self.ghostpen_config.eval
        for split, sections in self.validation.items():
            try:
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
                metrics[f"eval_{split}_perplexity"] = score.perplexity
            except ModelError as error:  # no number
                step = self.state.global_step
                if step == 0:
                    raise  # the base model's own fault
                self._fail(Stop("not-a-number", f"at step {step}, {error.message.partition(';')[0]}", step))
            self.on_measurement(Measurement(self.state.global_step, self.token_count.tokens, split, score))
            metrics[f"eval_{split}_bits_per_byte"] = score.bits_per_byte
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._follow_course(metrics["eval_val_bits_per_byte"])
        return metrics

    def _follow_course(self, bits_per_byte: float) -> None:
        """Have the best kept as a checkpoint, and end where more training is of no use."""
        step, train = self.state.global_step, self.ghostpen_config.train
        self.course = observe_evaluation(self.course, step=step, bits_per_byte=bits_per_byte)
        if step and self.course.best_step == step:
            self.control.should_save = True
        if step < self.state.max_steps and (stop := find_early_stop(self.course, train, step=step)):
            self.stop = stop
            self.control.should_save = True
            self.control.should_training_stop = True

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint, seal it and delete old ones; where the disk refuses, go on with those before."""
        folder = Path(self.args.output_dir)
        checkpoint = folder / f"checkpoint-{self.state.global_step}"
        try:
            if checkpoint.exists():
                shutil.rmtree(checkpoint)  # of a part of the training that was not kept
            super()._save_checkpoint(model, trial)
            progress = {"tokens_seen": self.token_count.tokens, "course": self.course.to_json()}
            seal_checkpoint(checkpoint, progress=progress)
        except Exception as error:
            reason = explain_disk_error(error)
            if reason is None:
                raise
            shutil.rmtree(checkpoint, ignore_errors=True)
            self.on_warning(
                f"no checkpoint at step {self.state.global_step}: {checkpoint}: {reason}; "
                "the training goes on, and --resume would start from the checkpoint before"
            )
            return
        keep = self.ghostpen_config.train.keep_checkpoints
        delete_old_checkpoints(folder, keep=keep, best_step=self.course.best_step)

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


class LastEvaluation(TrainerCallback):
    """Measure at the last step, too, so that the end of a training can be the best of it."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for it."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


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
