"""One training, from prepared data to an adapter: the author's, or the control's on other authors."""

from __future__ import annotations

import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.config import RunConfig
from ghostpen.data.manifest import load_manifest
from ghostpen.data.samples import TrainSample, build_train_samples
from ghostpen.data.sections import Section, load_sections
from ghostpen.errors import ConfigError, DataError, Interrupted, Terminated
from ghostpen.files import write_text_atomically
from ghostpen.model.location import resolve_model
from ghostpen.training.checkpoints import find_newest_checkpoint, read_step
from ghostpen.training.manifest import build_manifest, describe_base, read_manifest, write_manifest

if TYPE_CHECKING:
    from rich.console import Console

    from ghostpen.model.loading import LoadedModel

CONTROL_FOLDER = "control"
SAMPLE_WORDS = 80
SAMPLE_PROMPT_WORDS = 40
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


def train_run(config: RunConfig, *, control: bool, resume: bool, console: Console) -> TrainResult:
    """Train one adapter; do nothing where the same one stands finished.

    Raises:
        ConfigError: the run's folder holds another run, or an unfinished one and `resume` is false.
        DataError: the data are not there, or too little for one sample.
        ModelError, TargetError: the base model cannot be loaded or adapted as asked.
        TrainingStopped: the loss became NaN.
        Interrupted: Ctrl-C, or Terminated: SIGTERM; a checkpoint was written.
    """
    data = load_manifest(config.data.dir)
    sections = load_sections(config.data.dir, "contrast_train" if control else "train")
    validation = load_validation(config)
    start = plan_start(config, control=control, resume=resume, data_sha256=data.data_sha256)
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
    samples = build_train_samples(
        sections,
        loaded.tokenizer,
        sequence_length=config.data.sequence_length,
        harmony_share=config.data.harmony_share,
        seed=config.train.seed,
    )
    check_enough(samples, config)
    before = render_samples(loaded, validation["val"], seed=config.train.seed)
    loaded, plan = attach_adapter(
        loaded, config.lora, seed=config.train.seed, gradient_checkpointing=config.model.checkpointing
    )
    manifest = build_manifest(
        config,
        run_id=start.run_id,
        role="control" if control else "author",
        data_sha256=data.data_sha256,
        author="other authors" if control else data.inputs.author,
        base=describe_base(resolve_model(config.model.name), loaded.model, name=config.model.name),
        device=loaded.device,
        plan=plan,
    )
    # From here on something is written: whatever can be refused has been.
    (start.folder / "samples").mkdir(parents=True, exist_ok=True)
    write_text_atomically(before, start.folder / "samples/before.txt")
    write_manifest(manifest, start.folder)
    console.print(
        f"{manifest['author']}: {len(samples):,} samples; training {plan.trainable_total:,} parameters: "
        + ", ".join(f"{kind} {count:,}" for kind, count in plan.trainable.items())
    )
    tokens_seen, training_s = _execute_training(
        config, loaded=loaded, samples=samples, validation=validation, start=start, plan_trainable=plan.trainable,
        before=before, console=console, title="control" if control else data.inputs.author,
    )  # fmt: skip
    write_manifest(manifest | {"finished": True, "tokens_seen": tokens_seen, "training_s": training_s}, start.folder)
    console.print(f"adapter, curve and samples are in {start.folder}")
    return TrainResult(start.folder, False, tokens_seen)


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
    if manifest["config"] != config.model_dump(mode="json") or manifest["data_sha256"] != data_sha256:
        raise ConfigError(
            f"{folder} holds a run of other data or settings; choose another name (--set name=...) or delete it"
        )
    if manifest["finished"]:
        return _Start(folder, manifest["run_id"], None, manifest)
    found = find_newest_checkpoint(folder / "checkpoints")
    if found.newest is None:
        return _Start(folder, new_id, None, None, found.damaged)
    if not resume:
        raise ConfigError(
            f"{folder} holds a run that stopped at step {read_step(found.newest)} of {config.train.max_steps}; "
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


def render_samples(loaded: LoadedModel, sections: list[Section], *, seed: int) -> str:
    """Continue the beginnings of a few held-out sections, for eyes."""
    from ghostpen.model.generation import continue_text, cut_words

    parts = []
    step = max(1, len(sections) // SAMPLES)
    for section in sections[::step][:SAMPLES]:
        prompt = cut_words(section.text, SAMPLE_PROMPT_WORDS)
        text = continue_text(
            loaded.model,
            loaded.tokenizer,
            prompt,
            max_words=SAMPLE_WORDS,
            temperature=0.8,
            top_p=0.95,
            seed=seed,
        )
        parts.append(f"[{section.document}, section {section.section}]\n{prompt} >>>{text}\n")
    return "\n".join(parts)


def _execute_training(
    config: RunConfig, *, loaded: LoadedModel, samples: list[TrainSample], validation: dict[str, list[Section]],
    start: _Start, plan_trainable: dict[str, int], before: str, console: Console, title: str,
) -> tuple[int, float]:  # fmt: skip
    from ghostpen.model.loading import save_adapter
    from ghostpen.training.curve import write_perplexity_curve
    from ghostpen.training.metrics import Measurement
    from ghostpen.training.progress import TrainingProgress
    from ghostpen.training.tracking import Tracker
    from ghostpen.training.trainer import GhostpenTrainer, StopOnSignal

    resume_step = read_step(start.checkpoint) if start.checkpoint else 0
    tracker = Tracker(config, folder=start.folder, run_id=start.run_id, resume_step=resume_step)
    tracker.record_targets(plan_trainable)
    progress = TrainingProgress(console, title=title, max_steps=config.train.max_steps)

    def on_measurement(measurement: Measurement) -> None:
        tracker.record(measurement)
        progress.show(measurement)

    began_s = time.monotonic()
    try:
        with StopOnSignal() as stop:
            trainer = GhostpenTrainer(
                config=config,
                model=loaded.model,
                tokenizer=loaded.tokenizer,
                samples=samples,
                validation=validation,
                folder=str(start.folder / "checkpoints"),
                fresh=start.checkpoint is None,
                on_measurement=on_measurement,
                callbacks=[stop, progress],
            )
            if start.checkpoint:
                trainer.token_count.load(start.checkpoint)
            trainer.train(resume_from_checkpoint=str(start.checkpoint) if start.checkpoint else None)
            step = trainer.state.global_step
            if stop.received is not None and step < config.train.max_steps:
                error = Terminated if stop.received == signal.SIGTERM else Interrupted
                raise error(
                    f"stopped at step {step} of {config.train.max_steps}; a checkpoint was written to "
                    f"{start.folder / 'checkpoints'}: go on with the same command and --resume"
                )
        save_adapter(loaded.model, loaded.tokenizer, start.folder / "adapter", base_name=config.model.name)
        after = render_samples(loaded, validation["val"], seed=config.train.seed)
        write_text_atomically(after, start.folder / "samples/after.txt")
        write_perplexity_curve(tracker.rows, start.folder / "perplexity.png", author=title)
        sent = [("before", before), ("after", after)] if config.tracking.send_samples else []
        tracker.finish(samples=sent)
    except BaseException:
        tracker.abort()
        raise
    finally:
        progress.stop()
    return trainer.token_count.tokens, round(time.monotonic() - began_s, 1)
