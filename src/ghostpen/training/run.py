"""One training, from prepared data to an adapter: the author's, or the control's on other authors."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.config import RunConfig, build_run_config, check_run_id, select_decisive
from ghostpen.data.manifest import load_manifest
from ghostpen.data.mix import MixedSamples, build_train_samples
from ghostpen.data.pairs import PairKind, Pairs, load_pairs
from ghostpen.data.samples import TrainSample
from ghostpen.data.sections import CONTRAST_SPLITS, Section, load_sections
from ghostpen.errors import ConfigError, DataError
from ghostpen.files import write_text_atomically
from ghostpen.training.checkpoints import find_newest_checkpoint, read_step
from ghostpen.training.execution import SAMPLES, Start, execute_training
from ghostpen.training.hold import hold_run
from ghostpen.training.manifest import (
    build_manifest,
    check_same_base,
    describe_base,
    read_manifest,
    write_manifest,
)
from ghostpen.training.ranks import ALONE, Ranks
from ghostpen.training.recipe import apply_recipe, build_recipe
from ghostpen.training.samples_file import render_continuations

if TYPE_CHECKING:
    from rich.console import Console

CONTROL_FOLDER = "control"


@dataclass(frozen=True)
class TrainResult:
    """What a training left behind."""

    folder: Path
    already_there: bool
    tokens_seen: int


def train_run(
    config: RunConfig,
    *,
    control: bool,
    resume: bool,
    console: Console,
    run_id: str | None = None,
    ranks: Ranks = ALONE,
) -> TrainResult:
    """Train one adapter; do nothing where the same one stands finished.

    Of several processes each is called with the same settings; only the first writes.

    Args:
        run_id: of a new run, for its manifest and the tracker; None makes one up. The control's has -control behind.

    Raises:
        ConfigError: the run's folder holds another run, one of other base weights, or an unfinished one and `resume`
            is false, or another process works in it; or the router's balance can't be trained.
        DataError: the data are not there, or too little for one sample.
        ModelError, TargetError: the base model cannot be loaded or adapted as asked.
        TrainingStopped: the loss or a gradient was none to follow, or nothing was learned; the best adapter until
            then was written, if there was one.
        Interrupted: Ctrl-C, or Terminated: SIGTERM; a checkpoint was written.
    """
    data = load_manifest(config.data.dir)
    split = "contrast_train" if control else "train"
    texts = {
        wanted: load_training(config, wanted) for wanted in dict.fromkeys((split, "train"))
    }  # refused here, if at all
    pairs_sha256 = {pairs.path.name: pairs.sha256 for pairs in texts[split].pairs}
    validation = load_validation(config)

    def plan() -> Start:
        return ranks.share(
            lambda: plan_start(
                config, control=control, resume=resume, run_id=run_id, data_sha256=data.data_sha256,
                pairs_sha256=pairs_sha256,
            )
        )  # fmt: skip

    start = plan()
    if start.finished:
        return _leave_finished(start, start.finished, console=console)
    with console.status("loading the model"):
        from ghostpen.model.loading import attach_adapter, load_base

        loaded = load_base(config.model, max_length=max(config.data.sequence_length, config.eval.window))

    def build_samples(text: TrainingText) -> MixedSamples:
        return build_train_samples(
            text.sections, loaded.tokenizer, settings=config.data, pairs=text.pairs, seed=config.train.seed
        )

    mixed = build_samples(texts[split])
    samples = mixed.samples
    check_enough(samples, config)
    # The control takes the author's recipe, and so counts the author's samples.
    author_samples = build_samples(texts["train"]).samples if control else samples
    recipe = build_recipe(config, words=data.splits["train"].words, samples=len(author_samples))
    settings = apply_recipe(config, recipe)
    from ghostpen.training.continuations import write_continuations

    before = write_continuations(
        loaded, validation["val"], count=SAMPLES, words=2 * config.tracking.sample_words, seed=config.train.seed,
        when="before", step=0,
    )  # fmt: skip
    loaded, targets = attach_adapter(
        loaded, settings.lora, seed=config.train.seed, gradient_checkpointing=config.model.checkpointing
    )
    base = describe_base(loaded.source, loaded.model, name=config.model.name)
    ranks.wait()  # what can be refused is refused before anything is written, by any process
    with ExitStack() as stack:
        ranks.share(lambda: stack.enter_context(hold_run(start.folder)))
        start = plan()  # anew: until now another process may have worked here
        if start.finished:
            return _leave_finished(start, start.finished, console=console)
        for damaged in start.damaged:
            console.print(
                f"warning: {damaged} is not whole and is left out; "
                + (f"going on from {start.checkpoint}" if start.checkpoint else "starting anew"),
                soft_wrap=True,
            )
        if start.checkpoint and (warning := ranks.share(lambda: _compare_base(start.folder, base))):
            console.print(f"warning: {warning}", soft_wrap=True)
        manifest = build_manifest(
            config,
            recipe=recipe,
            run_id=start.run_id,
            role="control" if control else "author",
            data_sha256=data.data_sha256,
            pairs_sha256=pairs_sha256,
            author="other authors" if control else data.inputs.author,
            base=base,
            device=loaded.device,
            processes=ranks.size,
            plan=targets,
        )
        if ranks.is_first:
            (start.folder / "samples").mkdir(parents=True, exist_ok=True)
            write_text_atomically(render_continuations(before), start.folder / "samples/before.txt")
            write_manifest(manifest, start.folder)
        console.print(recipe.describe(), soft_wrap=True)
        if config.data.chat_share > 0:
            console.print(f"samples by kind: {mixed.describe()}", soft_wrap=True)
        for pairs in texts[split].pairs:
            if pairs.quoting:
                console.print(
                    f"{pairs.path.name}: {pairs.quoting:,} left out: they quote their passage", soft_wrap=True
                )
        console.print(
            f"{manifest['author']}: {len(samples):,} samples; training {targets.trainable_total:,} parameters: "
            + ", ".join(f"{kind} {count:,}" for kind, count in targets.trainable.items())
        )
        outcome = execute_training(
            settings, loaded=loaded, samples=samples, validation=validation, start=start, plan=targets,
            before=before, console=console, title="control" if control else data.inputs.author, ranks=ranks,
        )  # fmt: skip
        if ranks.is_first:
            write_manifest(manifest | outcome.to_json(), start.folder)
        if outcome.failure:
            raise outcome.failure
        console.print(f"adapter, curve and samples are in {start.folder}")
    return TrainResult(start.folder, False, outcome.tokens_seen)


def _compare_base(folder: Path, base: Mapping[str, Any]) -> str | None:
    began = read_manifest(folder)
    return check_same_base(began["base_model"], base, folder=folder) if began else None


def _leave_finished(start: Start, manifest: Mapping[str, Any], *, console: Console) -> TrainResult:
    console.print(f"nothing to do: {start.folder} holds the adapter of the same data and settings", soft_wrap=True)
    return TrainResult(start.folder, True, manifest["tokens_seen"])


@dataclass(frozen=True)
class TrainingText:
    """The sections of one training split, and the pairs that its config wants."""

    sections: list[Section]
    pairs: list[Pairs]


def load_training(config: RunConfig, split: str) -> TrainingText:
    """Load what is trained on.

    Raises:
        DataError: it is not there, or a line of it is none.
    """
    folder = config.contrast_dir if split in CONTRAST_SPLITS else config.data.dir
    sections = load_sections(folder, split)
    shares: dict[PairKind, float] = {"brief": config.data.brief_share, "rewrite": config.data.rewrite_share}
    wanted = [kind for kind, share in shares.items() if share > 0]
    return TrainingText(sections, [load_pairs(folder, kind, split, sections) for kind in wanted])


def load_validation(config: RunConfig) -> dict[str, list[Section]]:
    """Load the sections that the curves are measured on; other authors' where the data have them."""
    from ghostpen.training.perplexity import choose_validation_sections

    splits = {"val": load_sections(config.data.dir, "val")}
    if (config.contrast_dir / "contrast_val.jsonl").exists():
        splits["contrast_val"] = load_sections(config.contrast_dir, "contrast_val")
    for split, sections in splits.items():
        if not sections:
            raise DataError(
                f"{config.data.dir / split}.jsonl is empty, so there is nothing to measure the training on; "
                "prepare more text, or hold a document out with --val-docs"
            )
    return {
        split: choose_validation_sections(sections, config.eval.max_val_bytes) for split, sections in splits.items()
    }


def plan_start(
    config: RunConfig,
    *,
    control: bool,
    resume: bool,
    data_sha256: str,
    pairs_sha256: dict[str, str] | None = None,
    run_id: str | None = None,
) -> Start:
    """Decide between a new run, a resumed one, and nothing to do.

    Raises:
        ConfigError: the folder holds a run of other data or settings, or an unfinished one without --resume; or
            `run_id` is none.
    """
    folder = config.run_dir / CONTROL_FOLDER if control else config.run_dir
    manifest = read_manifest(folder)
    role = "-control" if control else ""
    made_up = f"{config.name}{role}-{uuid.uuid4().hex[:8]}"
    new_id = made_up if run_id is None else f"{check_run_id(run_id)}{role}"
    if manifest is None:
        return Start(folder, new_id, None, None)
    # Read as a config, so that a setting that came later counts with its default.
    configs = (build_run_config(manifest["config"]), config)
    trained, wanted = (select_decisive(settings.model_dump(mode="json")) for settings in configs)
    same_texts = manifest["data_sha256"] == data_sha256 and manifest.get("pairs_sha256", {}) == (pairs_sha256 or {})
    if trained != wanted or not same_texts:
        raise ConfigError(
            f"{folder} holds a run of other data or settings; choose another name (--set name=...) or delete it"
        )
    if manifest["finished"]:
        return Start(folder, manifest["run_id"], None, manifest)
    if manifest["stopped"]:  # a resume would come to the same end
        raise ConfigError(
            f"{folder} holds a run that ended early: {manifest['stopped']['text']}; choose another name "
            "(--set name=...) and other settings, or delete it"
        )
    found = find_newest_checkpoint(folder / "checkpoints")
    if found.newest is None:
        return Start(folder, new_id, None, None, found.damaged)
    if not resume:
        raise ConfigError(
            f"{folder} holds a run that stopped at step {read_step(found.newest)} of {manifest['recipe']['steps']}; "
            "add --resume to go on, or delete the folder to start anew"
        )
    return Start(folder, manifest["run_id"], found.newest, None, found.damaged)


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
