"""One training, from prepared data to an adapter: the author's, or the control's on other authors."""

from __future__ import annotations

import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.config import RunConfig, build_run_config
from ghostpen.data.manifest import load_manifest
from ghostpen.data.samples import TrainSample, build_train_samples
from ghostpen.data.sections import Section, load_sections
from ghostpen.errors import ConfigError, DataError, Interrupted, Terminated, TrainingStopped
from ghostpen.files import write_text_atomically
from ghostpen.model.location import resolve_model
from ghostpen.training.checkpoints import find_newest_checkpoint, is_whole, read_step
from ghostpen.training.course import Stop
from ghostpen.training.manifest import build_manifest, describe_base, read_manifest, write_manifest
from ghostpen.training.ranks import ALONE, Ranks
from ghostpen.training.recipe import apply_recipe, build_recipe
from ghostpen.training.recorder import SampleRow, TargetRow

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import TrainerCallback

    from ghostpen.model.architecture import TargetPlan
    from ghostpen.model.loading import LoadedModel
    from ghostpen.training.trainer import GhostpenTrainer

CONTROL_FOLDER = "control"
SAMPLE_WORDS = 80
SAMPLES = 2


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind."""

    folder: Path
    already_there: bool
    tokens_seen: int


@dataclass(frozen=True)
class _Start:
    """How a training begins."""

    folder: Path
    run_id: str
    checkpoint: Path | None
    finished: dict[str, Any] | None  # the manifest of a run that stands
    damaged: tuple[Path, ...] = ()  # newer checkpoints that are not whole


def train_run(
    config: RunConfig, *, control: bool, resume: bool, console: Console, ranks: Ranks = ALONE
) -> TrainResult:
    """Train one adapter; do nothing where the same one stands finished.

    Of several processes each is called with the same settings; only the first writes.

    Raises:
        ConfigError: the run's folder holds another run, or an unfinished one and `resume` is false.
        DataError: the data are not there, or too little for one sample.
        ModelError, TargetError: the base model cannot be loaded or adapted as asked.
        TrainingStopped: the loss or a gradient was none to follow, or nothing was learned; the best adapter until
            then was written, if there was one.
        Interrupted: Ctrl-C, or Terminated: SIGTERM; a checkpoint was written.
    """
    data = load_manifest(config.data.dir)
    load_sections(config.data.dir, "contrast_train" if control else "train")  # refused here, if at all
    validation = load_validation(config)
    start = ranks.share(lambda: plan_start(config, control=control, resume=resume, data_sha256=data.data_sha256))
    if start.finished:
        console.print(
            f"nothing to do: {start.folder} holds the adapter of the same data and settings", soft_wrap=True
        )
        return TrainResult(start.folder, True, start.finished["tokens_seen"])
    for damaged in start.damaged:
        console.print(
            f"warning: {damaged} is not whole and is left out; "
            + (f"going on from {start.checkpoint}" if start.checkpoint else "starting anew"),
            soft_wrap=True,
        )
    with console.status("loading the model"):
        from ghostpen.model.loading import attach_adapter, load_base

        loaded = load_base(config.model, max_length=max(config.data.sequence_length, config.eval.window))

    def build_samples(split: str) -> list[TrainSample]:
        return build_train_samples(
            load_sections(config.data.dir, split),
            loaded.tokenizer,
            sequence_length=config.data.sequence_length,
            harmony_share=config.data.harmony_share,
            seed=config.train.seed,
        )

    samples = build_samples("contrast_train" if control else "train")
    check_enough(samples, config)
    # The control takes the author's recipe, and so counts the author's samples.
    author_samples = build_samples("train") if control else samples
    recipe = build_recipe(config, words=data.splits["train"].words, samples=len(author_samples))
    settings = apply_recipe(config, recipe)
    from ghostpen.training.continuations import render_continuations, write_continuations

    before = write_continuations(
        loaded, validation["val"], count=SAMPLES, words=SAMPLE_WORDS, seed=config.train.seed, when="before", step=0
    )
    loaded, plan = attach_adapter(
        loaded, settings.lora, seed=config.train.seed, gradient_checkpointing=config.model.checkpointing
    )
    manifest = build_manifest(
        config,
        recipe=recipe,
        run_id=start.run_id,
        role="control" if control else "author",
        data_sha256=data.data_sha256,
        author="other authors" if control else data.inputs.author,
        base=describe_base(resolve_model(config.model.name), loaded.model, name=config.model.name),
        device=loaded.device,
        processes=ranks.size,
        plan=plan,
    )
    ranks.wait()  # what can be refused is refused before anything is written, by any process
    if ranks.is_first:
        (start.folder / "samples").mkdir(parents=True, exist_ok=True)
        write_text_atomically(render_continuations(before), start.folder / "samples/before.txt")
        write_manifest(manifest, start.folder)
    console.print(recipe.describe(), soft_wrap=True)
    console.print(
        f"{manifest['author']}: {len(samples):,} samples; training {plan.trainable_total:,} parameters: "
        + ", ".join(f"{kind} {count:,}" for kind, count in plan.trainable.items())
    )
    outcome = _execute_training(
        settings, loaded=loaded, samples=samples, validation=validation, start=start, plan=plan,
        before=before, console=console, title="control" if control else data.inputs.author, ranks=ranks,
    )  # fmt: skip
    if ranks.is_first:
        write_manifest(manifest | outcome.to_json(), start.folder)
    if outcome.failure:
        raise outcome.failure
    console.print(f"adapter, curve and samples are in {start.folder}")
    return TrainResult(start.folder, False, outcome.tokens_seen)


def load_validation(config: RunConfig) -> dict[str, list[Section]]:
    """Load the sections that the curves are measured on; other authors' where the data have them."""
    from ghostpen.training.perplexity import choose_validation_sections

    splits = {"val": load_sections(config.data.dir, "val")}
    if (config.data.dir / "contrast_val.jsonl").exists():
        splits["contrast_val"] = load_sections(config.data.dir, "contrast_val")
    for split, sections in splits.items():
        if not sections:
            raise DataError(
                f"{config.data.dir / split}.jsonl is empty, so there is nothing to measure the training on; "
                "prepare more text, or hold a document out with --val-docs"
            )
    return {
        split: choose_validation_sections(sections, config.eval.max_val_bytes) for split, sections in splits.items()
    }


def plan_start(config: RunConfig, *, control: bool, resume: bool, data_sha256: str) -> _Start:
    """Decide between a new run, a resumed one, and nothing to do.

    Raises:
        ConfigError: the folder holds a run of other data or settings, or an unfinished one without --resume.
    """
    folder = config.run_dir / CONTROL_FOLDER if control else config.run_dir
    manifest = read_manifest(folder)
    new_id = f"{config.name}{'-control' if control else ''}-{uuid.uuid4().hex[:8]}"
    if manifest is None:
        return _Start(folder, new_id, None, None)
    # Read as a config, so that a setting that came later counts with its default. Tracking changes no result.
    trained = build_run_config(manifest["config"]).model_copy(update={"tracking": config.tracking})
    if trained != config or manifest["data_sha256"] != data_sha256:
        raise ConfigError(
            f"{folder} holds a run of other data or settings; choose another name (--set name=...) or delete it"
        )
    if manifest["finished"]:
        return _Start(folder, manifest["run_id"], None, manifest)
    if manifest["stopped"]:  # a resume would come to the same end
        raise ConfigError(
            f"{folder} holds a run that ended early: {manifest['stopped']['text']}; choose another name "
            "(--set name=...) and other settings, or delete it"
        )
    found = find_newest_checkpoint(folder / "checkpoints")
    if found.newest is None:
        return _Start(folder, new_id, None, None, found.damaged)
    if not resume:
        raise ConfigError(
            f"{folder} holds a run that stopped at step {read_step(found.newest)} of {manifest['recipe']['steps']}; "
            "add --resume to go on, or delete the folder to start anew"
        )
    return _Start(folder, manifest["run_id"], found.newest, None, found.damaged)


def check_enough(samples: list[TrainSample], config: RunConfig) -> None:
    """Refuse a text that does not fill one window.

    Raises:
        DataError: so.
    """
    tokens = sum(len(sample.input_ids) for sample in samples)
    if tokens < config.data.sequence_length:
        raise DataError(
            f"{config.data.dir} holds {tokens} tokens of training text, and one sample has "
            f"{config.data.sequence_length}; prepare more text, or lower data.sequence_length"
        )


@dataclass(frozen=True)
class _Outcome:
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


def _execute_training(
    config: RunConfig, *, loaded: LoadedModel, samples: list[TrainSample], validation: dict[str, list[Section]],
    start: _Start, plan: TargetPlan, before: list[SampleRow], console: Console, title: str, ranks: Ranks,
) -> _Outcome:  # fmt: skip
    from ghostpen.model.loading import prepare_for_training, save_adapter
    from ghostpen.training.continuations import EvaluationSamples, render_continuations, write_continuations
    from ghostpen.training.curve import write_perplexity_curve
    from ghostpen.training.metrics import Measurement
    from ghostpen.training.progress import TrainingProgress
    from ghostpen.training.tracking import Tracker
    from ghostpen.training.trainer import GhostpenTrainer, StopOnSignal

    max_steps = config.train.max_steps or 0  # nothing is open any more
    resume_step = read_step(start.checkpoint) if start.checkpoint else 0

    def warn(text: str) -> None:
        console.print(f"warning: {text}", soft_wrap=True, markup=False)

    checkpoints = start.folder / "checkpoints"
    tracker = None
    if ranks.is_first:
        tracker = Tracker(config, folder=start.folder, run_id=start.run_id, resume_step=resume_step, warn=warn)
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
            if stop.received is not None and step < max_steps and trainer.stop is None:
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
                after = write_continuations(
                    loaded, validation["val"], count=SAMPLES, words=SAMPLE_WORDS, seed=config.train.seed,
                    when="after", step=best["step"],
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
    return _Outcome(trainer.token_count.tokens, training_s, step, best, trainer.stop, failure)


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
