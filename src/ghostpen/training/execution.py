"""One training, executed: the trainer and all that watches it, and the best adapter at the end.

Owns the order in which things happen and are written; what is trained, and whether, is `run`'s decision.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.config import RunConfig
from ghostpen.data.samples import TrainSample
from ghostpen.data.sections import Section
from ghostpen.errors import Interrupted, Terminated, TrainingStopped
from ghostpen.files import sync_folder, write_text_atomically
from ghostpen.training.checkpoints import find_newest_checkpoint, is_whole, read_progress, read_step
from ghostpen.training.course import Stop
from ghostpen.training.ranks import Ranks
from ghostpen.training.recorder import SampleRow, TargetRow
from ghostpen.training.samples_file import render_continuations

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import TrainerCallback

    from ghostpen.model.architecture import TargetPlan
    from ghostpen.model.loading import LoadedModel
    from ghostpen.training.trainer import GhostpenTrainer

SAMPLES = 2  # before and after a training, twice as long as those at an evaluation


@dataclass(frozen=True)
class Start:
    """How a training begins."""

    folder: Path
    run_id: str
    checkpoint: Path | None
    finished: dict[str, Any] | None  # the manifest of a run that stands
    damaged: tuple[Path, ...] = ()  # newer checkpoints that are not whole


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    tokens_seen: int
    training_s: float
    step: int
    best: dict[str, Any] | None  # step and bits_per_byte of the adapter that was kept
    stopped: Stop | None
    failure: TrainingStopped | None  # to be raised when all is written

    def to_json(self) -> dict[str, Any]:
        """Render for the manifest."""
        return {
            "finished": self.failure is None,
            "tokens_seen": self.tokens_seen,
            "training_s": self.training_s,
            "step": self.step,
            "best": self.best,
            "stopped": asdict(self.stopped) if self.stopped else None,
        }


def list_targets(plan: TargetPlan) -> list[TargetRow]:
    """List what is trained, for the tracker's table."""
    weights = Counter(target.kind for target in plan.targets)
    return [TargetRow(kind, weights[kind], trainable) for kind, trainable in plan.trainable.items()]


def execute_training(
    config: RunConfig, *, loaded: LoadedModel, samples: list[TrainSample], validation: dict[str, list[Section]],
    start: Start, plan: TargetPlan, before: list[SampleRow], console: Console, title: str, ranks: Ranks,
) -> Outcome:  # fmt: skip
    """Train, from `start.checkpoint` where there is one, and leave the best adapter in `start.folder`.

    Args:
        config: with nothing left open (`recipe.apply_recipe`).
        before: samples of the untrained model. title: what is trained, in a word or two.

    Raises:
        Interrupted, Terminated: a signal came; the newest checkpoint is named.
    """
    from ghostpen.model.loading import prepare_for_training, save_adapter
    from ghostpen.training.callbacks import StopOnSignal
    from ghostpen.training.continuations import EvaluationSamples, write_continuations
    from ghostpen.training.curve import write_perplexity_curve
    from ghostpen.training.metrics import Measurement
    from ghostpen.training.progress import TrainingProgress
    from ghostpen.training.tracking import Tracker
    from ghostpen.training.trainer import GhostpenTrainer

    max_steps = config.train.max_steps or 0  # nothing is open any more
    resume_step = read_step(start.checkpoint) if start.checkpoint else 0
    resumed = read_progress(start.checkpoint) if start.checkpoint else {}

    def warn(text: str) -> None:
        console.print(f"warning: {text}", soft_wrap=True, markup=False)

    checkpoints = start.folder / "checkpoints"
    tracker = None
    if ranks.is_first:
        tracker = Tracker(
            config, folder=start.folder, run_id=start.run_id, resume_step=resume_step, warn=warn,
            evaluation_due=resumed.get("evaluation_due", False),
        )  # fmt: skip
        tracker.record_targets(list_targets(plan))
        if not start.checkpoint:
            tracker.record_samples(before)
    progress = TrainingProgress(console, title=title, max_steps=max_steps)

    def on_measurement(measurement: Measurement) -> None:
        if tracker:
            tracker.record(measurement)
        progress.show(measurement)

    def write_samples(step: int) -> list[SampleRow]:
        tracking, seed = config.tracking, config.train.seed
        rows = write_continuations(
            loaded, validation["val"], count=tracking.samples, words=tracking.sample_words, seed=seed,
            when="evaluation", step=step,
        )  # fmt: skip
        prepare_for_training(loaded, gradient_checkpointing=config.model.checkpointing)
        return rows

    callbacks: list[TrainerCallback] = []
    if tracker and config.tracking.samples:
        samples_folder = start.folder / "samples"
        callbacks.append(
            EvaluationSamples(
                write_samples, folder=samples_folder, on_samples=tracker.record_samples, on_warning=warn
            )
        )
    failure = None
    began_s = time.monotonic()
    try:
        with StopOnSignal(ranks) as stop:
            trainer = GhostpenTrainer(
                config=config,
                model=loaded.model,
                tokenizer=loaded.tokenizer,
                samples=samples,
                validation=validation,
                folder=str(checkpoints),
                fresh=start.checkpoint is None,
                on_measurement=on_measurement,
                on_warning=warn,
                should_stop=stop.ask,
                before_seal=tracker.sync if tracker else lambda: None,  # a resume goes on after the rows before it
                callbacks=[stop, progress, *callbacks],
                ranks=ranks,
            )
            if start.checkpoint:
                trainer.restore(start.checkpoint)
            try:
                trainer.train_on(start.checkpoint)
            except TrainingStopped as error:
                failure = error
            step = trainer.state.global_step
            unfinished = step < max_steps or trainer.evaluation_due
            if stop.received is not None and unfinished and trainer.stop is None:
                newest = find_newest_checkpoint(checkpoints).newest
                where = f"the newest checkpoint is {newest}" if newest else "no checkpoint could be written"
                error_class = Terminated if stop.received == signal.SIGTERM else Interrupted
                raise error_class(
                    f"stopped at step {step} of {max_steps}; {where}: go on with the same command and --resume"
                )
        training_s = round(time.monotonic() - began_s, 1)
        best = _load_best(trainer, checkpoints, warn=warn, failed=failure is not None)
        if not trainer.course.has_improved and trainer.stop and failure is None:
            failure = TrainingStopped(
                f"{trainer.stop.text}, and was never below the untrained adapter's; train anew with a lower "
                "train.learning_rate, under another name (--set name=...) or after deleting the run's folder"
            )
        if best and trainer.stop:
            console.print(f"{trainer.stop.text}: stopped at step {step} of {max_steps}", soft_wrap=True)
        if best and best["step"] != step:
            console.print(f"the adapter is that of step {best['step']}, the best on the author's validation text")
        if tracker:
            if best:
                save_adapter(loaded.model, loaded.tokenizer, start.folder / "adapter", base_name=config.model.name)
                sync_folder(start.folder / "adapter")  # before the manifest says that it is there
                after = write_continuations(
                    loaded, validation["val"], count=SAMPLES, words=2 * config.tracking.sample_words,
                    seed=config.train.seed, when="after", step=best["step"],
                )  # fmt: skip
                write_text_atomically(render_continuations(after), start.folder / "samples/after.txt")
                tracker.record_samples(after)
                tracker.record_adapter(start.folder / "adapter")
            write_perplexity_curve(tracker.rows, start.folder / "perplexity.png", author=title)
            tracker.finish()
    except BaseException:
        if tracker:
            tracker.abort()
        raise
    finally:
        progress.stop()
    if failure is not None and best is not None:
        failure = TrainingStopped(f"{failure.message}; {start.folder / 'adapter'} is that of step {best['step']}")
    return Outcome(trainer.token_count.tokens, training_s, step, best, trainer.stop, failure)


def _load_best(
    trainer: GhostpenTrainer, checkpoints: Path, *, warn: Callable[[str], None], failed: bool
) -> dict[str, Any] | None:
    """Put the best weights into the model; None where a failed training has left none that can be trusted."""
    course, step = trainer.course, trainer.state.global_step
    best = {"step": course.best_step, "bits_per_byte": course.best_bits_per_byte}
    if course.best_step == step and not failed:
        return best
    if course.best_step is not None and is_whole(checkpoint := checkpoints / f"checkpoint-{course.best_step}"):
        trainer.load_weights(checkpoint)
        return best
    if failed:
        return None
    warn(f"the checkpoint of step {course.best_step}, the best, is not there; the adapter is that of step {step}")
    return {"step": step, "bits_per_byte": course.last_bits_per_byte}
