"""TRL's SFTTrainer with a true loss curve: the pure negative log-likelihood, token-weighted, in every log.

What is changed, and why:
    compute_loss   TRL adds the router's balance loss to loss and eval_loss; Unsloth's and TRL's losses differ
                   between CPU and GPU. Here it is one function everywhere (`loss.compute_loss_nats`).
                   It is computed in the model's forward pass, where PyTorch exchanges gradients.
    evaluate       the stock one averages batch means over examples; here nats and tokens are summed. A signal
                   breaks it off, and a resume begins with it
    log            a callback that edits logs comes after the trackers; the override comes before
    _save_checkpoint   sealed, rotated only after the seal, and a full disk costs a checkpoint, not the training
    _clip_grad_norm    a gradient that is none is not followed
    the samples    come in steps of like length (`batches.plan_steps`), not at random

Import this module only after `loading.import_unsloth`: Unsloth replaces TRL's trainer when it is imported.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import TrainerCallback
from trl import SFTTrainer

from ghostpen.config import RunConfig
from ghostpen.data.samples import IGNORED_LABEL, TrainSample
from ghostpen.data.sections import Section
from ghostpen.errors import ModelError, TrainingStopped
from ghostpen.score import Score, sum_scores
from ghostpen.training.arguments import build_arguments
from ghostpen.training.balance import RouterLogits
from ghostpen.training.batches import StepOrder
from ghostpen.training.callbacks import FirstStepCheck, LastEvaluation, StepSums, TokenCount
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
from ghostpen.training.forward import give_forward_the_loss
from ghostpen.training.memory import read_peak_memory
from ghostpen.training.metrics import Measurement
from ghostpen.training.perplexity import pad_right, score_sections
from ghostpen.training.ranks import ALONE, Ranks


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Pad on the right; padding is labelled away and, being later, seen by no real token."""
    return {
        "input_ids": pad_right([sample["input_ids"] for sample in samples], 0),
        "labels": pad_right([sample["labels"] for sample in samples], IGNORED_LABEL),
    }


class _BrokenOff(Exception):
    """Leave a measurement: a signal came."""


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
        should_stop: Callable[[], bool] = lambda: False,
        before_seal: Callable[[], None] = lambda: None,
        callbacks: Sequence[TrainerCallback] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        """Set up training.

        Args:
            config: with nothing left open (`recipe.apply_recipe`).
            validation: sections to score at every evaluation, by split ("val", "contrast_val"); without "val" no step
                is the best, and the training doesn't stop early.
            fresh: not resumed, so the curve starts with the untrained adapter.
            on_measurement: called in every process, with the same numbers.
            on_warning: takes a line for the person who watches.
            should_stop: asked between the batches of a measurement, by all processes.
            before_seal: called before a checkpoint counts, by the first process.
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
        self.should_stop = should_stop
        self.before_seal = before_seal
        self.evaluation_due = False  # at this step, where it was broken off
        self.ranks = ranks
        self.course = Course()
        self.stop: Stop | None = None  # why it ended early; None where it did not
        self.router_logits = RouterLogits(model) if config.train.router_aux_loss_coef else None
        self.token_count = TokenCount(ranks)
        super().__init__(
            model=model,
            args=build_arguments(config, folder=folder, fresh=fresh, processes=ranks.size),
            train_dataset=dataset,
            eval_dataset=dataset.select(range(1)),  # evaluate() reads `validation`; Trainer wants one
            processing_class=tokenizer,
            data_collator=collate,
            callbacks=[self.token_count, FirstStepCheck(), LastEvaluation(), *callbacks],
        )
        give_forward_the_loss(model, self.router_logits)

    def restore(self, checkpoint: Path) -> None:
        """Go on counting where a checkpoint stopped; Trainer restores the rest itself."""
        progress = read_progress(checkpoint)
        self.token_count.restore(progress)
        self.course = Course.from_json(progress["course"])
        self.evaluation_due = progress.get("evaluation_due", False)

    def train_on(self, checkpoint: Path | None) -> None:
        """Train to the end, from `checkpoint` where there is one.

        Raises:
            TrainingStopped: the loss or a gradient became none to follow; `stop` says which.
        """
        if checkpoint is None:
            self.train()
            return
        step, train = read_step(checkpoint), self.ghostpen_config.train
        self.state.global_step = step
        if self.evaluation_due:
            self.load_weights(checkpoint)
            self.evaluate()
            if self.evaluation_due:
                return
        if step < self.args.max_steps:
            self.stop = find_early_stop(self.course, train, step=step)
            if self.stop is None:
                self.train(resume_from_checkpoint=str(checkpoint))
                return
        # It was the last one; only what follows the training was not done any more.
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
        """Return nats per counted token of the whole optimiser step, over all accumulated batches and processes."""
        labels = inputs["labels"]
        counted = int((labels[:, 1:] != IGNORED_LABEL).sum())
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=bool(self.args.bf16)):
            nats, balance = model(input_ids=inputs["input_ids"], labels=labels, sum_nats=True)
        self.token_count.add(nats=float(nats.detach()), tokens=counted, balance=float(balance.detach()))
        divisor = float(counted)
        if num_items_in_batch is not None:
            # Of all processes; the gradients are averaged over them, and their sum is meant.
            divisor = float(num_items_in_batch) / self.ranks.size
        loss = nats / divisor
        if self.router_logits is not None:
            share = counted / divisor  # as the loss is weighted, so that 1x8 equals 8x1
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
            TrainingStopped: the step's loss is no number in one process, or the gradients' norm is NaN, infinite or
                far above the usual; it is raised in all processes.
        """
        train, step = self.ghostpen_config.train, self.state.global_step + 1
        nats = self.token_count.close_step()
        if not math.isfinite(nats):
            self._fail(Stop("not-a-number", f"the loss became {nats} at step {step}", step))
        norm = super()._clip_grad_norm(model)
        value = float(norm)
        if stop := find_explosion(self.course, train, value, step=step):
            self._fail(stop)
        self.course = observe_gradient(self.course, value)
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Turn Trainer's log of a mean of means into a measurement of sums."""
        count = self.token_count
        if "loss" in logs and count.logged.tokens:
            elapsed_s = count.logged.training_s
            peak = read_peak_memory()
            self.on_measurement(
                Measurement(
                    step=self.state.global_step,
                    tokens_seen=count.tokens,
                    split="train",
                    score=Score(loss_nats=count.logged.nats, tokens=count.logged.tokens, size_bytes=0),
                    learning_rate=logs.get("learning_rate"),
                    tokens_per_s=count.logged.tokens / elapsed_s if elapsed_s > 0 else None,
                    balance=count.logged.balance / count.logged.tokens if self.router_logits is not None else None,
                    grad_norm=logs.get("grad_norm"),
                    peak_memory_bytes=peak.process_bytes,
                    peak_gpu_memory_bytes=peak.gpu_bytes,
                )
            )
            count.logged = StepSums()
        self.state.log_history.append({**logs, "step": self.state.global_step})

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the validation sections; the keys are Trainer's own, so that it can keep the best."""
        metrics: dict[str, float] = {}
        try:
            scores = {split: self._score(sections) for split, sections in self.validation.items()}
        except _BrokenOff:
            self.evaluation_due, self.control.should_evaluate = True, False
            self.control.should_save = self.control.should_training_stop = True
            return metrics
        self.evaluation_due = False
        for split, score in scores.items():
            self.on_measurement(Measurement(self.state.global_step, self.token_count.tokens, split, score))
            metrics[f"eval_{split}_perplexity"] = score.perplexity
            metrics[f"eval_{split}_bits_per_byte"] = score.bits_per_byte
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if "val" in self.validation:
            self._follow_course(metrics["eval_val_bits_per_byte"])
        return metrics

    def _score(self, sections: Sequence[Section]) -> Score:
        """Score sections.

        Raises:
            _BrokenOff: a signal came; not before the first step, where there is nothing to save.
            TrainingStopped: there is no number.
        """
        evaluation, step = self.ghostpen_config.eval, self.state.global_step

        def leave_on_signal() -> None:
            if step and self.should_stop():
                raise _BrokenOff

        try:
            score = sum_scores(
                score_sections(
                    self.model,
                    self.processing_class,
                    sections,
                    window=evaluation.window,
                    stride=evaluation.stride,
                    batch_size=evaluation.batch_size,
                    before_batch=leave_on_signal,
                    ranks=self.ranks,
                )
            )
            _ = score.perplexity  # which may be none, too
        except ModelError as error:
            if step == 0:
                raise  # the base model's own fault
            self._fail(Stop("not-a-number", f"at step {step}, {error.message.partition(';')[0]}", step))
        return score

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
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.ranks.is_first and checkpoint.exists():
            shutil.rmtree(checkpoint)  # of a part of the training that was not kept
        self.ranks.wait()
        reason = self._try(lambda: super(GhostpenTrainer, self)._save_checkpoint(model, trial))
        if self.ranks.max(int(reason is not None)):  # each process writes its own random state
            reason = reason or "another process could not write its part"
        if self.ranks.is_first:
            self._seal_or_remove(checkpoint, reason)
        self.ranks.wait()  # whoever looks for checkpoints finds what the first process finds

    def _seal_or_remove(self, checkpoint: Path, reason: str | None) -> None:
        """End the writing of a checkpoint; `reason` says why the disk refused it, if it did."""
        progress = self.token_count.to_json() | {
            "course": self.course.to_json(),
            "evaluation_due": self.evaluation_due,
        }
        reason = reason or self._try(self.before_seal)
        reason = reason or self._try(lambda: seal_checkpoint(checkpoint, progress=progress))
        if reason is None:
            delete_old_checkpoints(
                checkpoint.parent,
                newest_step=self.state.global_step,
                keep=self.ghostpen_config.train.keep_checkpoints,
                best_step=self.course.best_step,
            )
            return
        shutil.rmtree(checkpoint, ignore_errors=True)
        self.on_warning(
            f"no checkpoint at step {self.state.global_step}: {checkpoint}: {reason}; "
            "the training goes on, and --resume would start from the checkpoint before"
        )

    def _try(self, write: Callable[[], None]) -> str | None:
        """Write something; say why the disk refused, or None."""
        try:
            write()
        except Exception as error:
            if reason := explain_disk_error(error):
                return reason
            raise
        return None

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: the manifest says it all, and TRL's asks W&B for a URL that an offline run has not."""
