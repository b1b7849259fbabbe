"""`ghostpen test`: base, control and author adapter on held-out texts, and the verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.config import EvalConfig, RunConfig, select_decisive
from ghostpen.data.manifest import load_manifest
from ghostpen.data.progress import ShowProgress
from ghostpen.data.tokens import encode
from ghostpen.errors import ConfigError
from ghostpen.evaluation.contrast import AUTHOR_TEXT, OTHERS_TEXT, choose_pieces, list_pieces, measure_contrast
from ghostpen.evaluation.copying import Window, choose_windows
from ghostpen.evaluation.copying_report import check_copied, render_copying_table
from ghostpen.evaluation.html.page import write_html
from ghostpen.evaluation.measures import list_continuations, measure_copying, measure_style
from ghostpen.evaluation.models import score_models
from ghostpen.evaluation.picture import write_specificity_picture
from ghostpen.evaluation.prompting import render_author_prompt
from ghostpen.evaluation.prompts import Task, plan_tasks
from ghostpen.evaluation.report import FORMAT_VERSION, build_report, render_table, write_report
from ghostpen.evaluation.report_shape import GenerationProtocol, Protocol, Report
from ghostpen.evaluation.specificity import MODEL_LABELS, SCORED_LABELS
from ghostpen.evaluation.style_table import render_style_table
from ghostpen.evaluation.texts import Texts
from ghostpen.evaluation.writing import PartFile, write_all
from ghostpen.evaluation.written import Written, read_written, write_written
from ghostpen.evaluation.written_report import build_written_report, render_written_table
from ghostpen.training.hold import hold_run
from ghostpen.training.manifest import read_manifest
from ghostpen.training.metrics import read_metrics
from ghostpen.training.run import CONTROL_FOLDER

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ghostpen.evaluation.specificity import ModelLabel

METRICS = "metrics.jsonl"
REPORT = "report.json"
PICTURE = "specificity.png"
PAGE = "report.html"
WRITTEN = "written.jsonl"
PART = "written.part.jsonl"


def test_run(config: RunConfig, *, console: Console, show_progress: ShowProgress) -> Report:
    """Have the three models write, score them on all held-out sections; write report.json and report.html.

    What is written goes to written.jsonl, and first, batch by batch, to a file from which a test that was broken
    off goes on.

    Raises:
        ConfigError: an adapter is missing, unfinished, or was trained on other data or for other steps, or another
            process trains or tests in the run's folder.
        DataError: there is no test text, by the author or by others, or no sample for eval.max_copied_words.
        ModelError: the base can't be loaded, or its tokenizer's chat template isn't Harmony.
        CopyingError: a sample of the run copies more than eval.max_copied_words; the report is written before.
    """
    folder = config.run_dir
    data = load_manifest(config.data.dir)
    texts = Texts.load(config.data.dir, contrast=config.contrast_dir)
    adapters: dict[ModelLabel, Path] = {"control": folder / CONTROL_FOLDER, "author": folder}
    manifests = {label: _read_finished(path, label) for label, path in adapters.items()}
    check_comparable(manifests, data.data_sha256)
    tasks = plan_tasks(texts.test, settings=config.eval)
    protocol = build_protocol(
        config,
        tasks=tasks,
        data_sha256=data.data_sha256,
        contrast_sha256=load_manifest(config.contrast_dir).data_sha256,
        adapters_sha256={label: hash_adapter(path / "adapter") for label, path in adapters.items()},
        base=identify_base(manifests["author"]["base_model"]),
    )
    report = read_report(folder / REPORT)
    if report is None or report["protocol"] != protocol or bool(tasks) != (folder / WRITTEN).exists():
        with hold_run(folder):
            report = measure_run(
                config,
                texts=texts,
                tasks=tasks,
                adapters=adapters,
                author=data.inputs.author,
                protocol=protocol,
                console=console,
                show_progress=show_progress,
            )
    else:
        console.print(f"nothing to do: {folder / REPORT} is of these adapters, texts and windows")
        (folder / PART).unlink(missing_ok=True)  # of a test that was killed when its report was written
    write_views(report, folder, texts=texts, manifest=manifests["author"])
    for table in render_tables(report):  # the verdict is below the first
        console.print(table)
    check_copied(report["copying"], max_copied_words=config.eval.max_copied_words)
    return report


def measure_run(
    config: RunConfig,
    *,
    texts: Texts,
    tasks: Sequence[Task],
    adapters: dict[ModelLabel, Path],
    author: str,
    protocol: Protocol,
    console: Console,
    show_progress: ShowProgress,
) -> Report:
    """Do what `test_run` does where nothing is done yet; what was written before goes first, because it can go on."""
    folder = config.run_dir
    with console.status("loading the model"):
        from ghostpen.model.loading import load_base

        room = config.eval.window // 2
        loaded = load_base(config.model, max_length=max(config.data.sequence_length, config.eval.window + room))
    # Before hours of writing: a tokenizer without Harmony is refused here.
    prompt = render_author_prompt(texts.training, loaded.tokenizer, room=room, seed=config.train.seed)
    windows: list[Window] = []
    if config.eval.extraction_windows:
        training_ids = [encode(loaded.tokenizer, section.text) for section in texts.training]
        windows = choose_windows(training_ids, count=config.eval.extraction_windows, seed=0)
    part = PartFile(folder / PART, key=hash_json([protocol, config.eval.writing_batch_size]))
    writings = write_all(
        loaded,
        adapters,
        tasks=tasks,
        windows=windows,
        settings=config.eval,
        part=part,
        console=console,
        show_progress=show_progress,
    )
    readers = SCORED_LABELS if prompt else MODEL_LABELS
    pieces = {AUTHOR_TEXT: choose_pieces(texts.test), OTHERS_TEXT: choose_pieces(texts.others_test)}
    scores = score_models(
        loaded,
        adapters,
        texts={
            **{(label, AUTHOR_TEXT): texts.test for label in readers},
            **{(label, OTHERS_TEXT): texts.others_test for label in readers},
            **list_pieces(pieces),
            **{("control", who): sections for who, sections in list_continuations(writings.written).items()},
        },
        settings=config.eval,
        show_progress=show_progress,
        prompt=prompt.ids if prompt else (),
    )
    with console.status("measuring what was written"):
        copying = measure_copying(config, texts=texts, written=writings.written)
        style = measure_style(writings.written, texts=texts, author=author, scores=scores)
    report = build_report(
        {label: scores[label, AUTHOR_TEXT] for label in readers},
        others_scores={label: scores[label, OTHERS_TEXT] for label in readers},
        author=author,
        author_parts=[section.document for section in texts.test],
        others_parts=[section.author for section in texts.others_test],
        author_words=[len(section.text.split()) for section in texts.test],
        others_words=[len(section.text.split()) for section in texts.others_test],
        protocol=protocol,
        contrast=measure_contrast(scores, pieces=pieces),
        prompt={"passages": prompt.passages, "tokens": len(prompt.ids)} if prompt else None,
        tokenizer_sha256=hash_tokenizer(loaded.tokenizer),
        copying=copying,
        written=build_written_report(writings.written, windows=windows, recited=writings.recited),
        style=style,
    )
    save_results(report, writings.written, folder=folder)
    part.remove()
    return report


def save_results(report: Report, written: Sequence[Written], *, folder: Path) -> None:
    """Write what a test measured into a run's folder; where nothing was written, no older texts stay there.

    What an older test left goes first and the report comes last: whenever this is broken off, no report stands beside
    texts, a picture or a page of another test.
    """
    for name in (REPORT, PICTURE, PAGE):
        (folder / name).unlink(missing_ok=True)
    if written:
        write_written(written, folder / WRITTEN)
    else:
        (folder / WRITTEN).unlink(missing_ok=True)
    write_report(report, folder / REPORT)


def write_views(report: Report, folder: Path, *, texts: Texts, manifest: dict[str, Any]) -> None:
    """Write specificity.png and report.html from what is in a run's folder, where they are not there yet.

    They are missing after a measuring, and where the test that measured was killed before it had drawn them.
    """
    missing = [name for name in (PICTURE, PAGE) if not (folder / name).is_file()]
    if not missing:
        return
    metrics, control_metrics = read_metrics(folder / METRICS), read_metrics(folder / CONTROL_FOLDER / METRICS)
    if PICTURE in missing:
        write_specificity_picture(report, folder / PICTURE, metrics=metrics, control_metrics=control_metrics)
    if PAGE in missing:
        write_html(
            report,
            folder / PAGE,
            metrics=metrics,
            control_metrics=control_metrics,
            written=read_written(folder / WRITTEN),
            training=texts.training,
            manifest=manifest,
        )


def render_tables(report: Report) -> Iterator[Table]:
    """Render what a test prints."""
    yield render_table(report)
    if report["written"] is not None:
        yield render_written_table(report["written"])
    if report["copying"] is not None:
        yield render_copying_table(report["copying"])
    if report["style"] is not None:
        yield render_style_table(report["style"])


def check_author(config: RunConfig) -> None:
    """Make sure that the author's adapter is trained.

    Raises:
        ConfigError: it is not, or not to its end.
    """
    _read_finished(config.run_dir, "author")


def check_comparable(manifests: dict[ModelLabel, dict[str, Any]], data_sha256: str) -> None:
    """Make sure that control and author differ in their texts alone.

    Raises:
        ConfigError: they were trained on other data, or with different settings.
    """
    for label, manifest in manifests.items():
        if manifest["data_sha256"] != data_sha256:
            raise ConfigError(
                f"the {label} adapter was trained on other data than data.dir holds now; "
                "delete the run's folder and train again"
            )
    settings = {label: select_decisive(manifest["config"]) | {"name": ""} for label, manifest in manifests.items()}
    if settings["control"] != settings["author"]:
        raise ConfigError(
            "the control adapter was trained with other settings than the author's, so their difference would "
            "not show the style; delete the control's folder and train it again with --control"
        )


def identify_base(base_model: dict[str, str | None]) -> dict[str, str | None]:
    """Keep what tells one base model from another: of weights in a folder their hash, wherever that lies."""
    return {key: value for key, value in base_model.items() if key != "name" or "weights_sha256" not in base_model}


def hash_tokenizer(tokenizer: Any) -> str:
    """Hash a fast tokenizer, as it is written to tokenizer.json."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def hash_adapter(folder: Path) -> str:
    """Hash an adapter's weights, to tell whether a report is of it."""
    try:
        return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"{folder} holds no adapter_model.safetensors ({error.strerror}); delete the run's folder and train again"
        ) from error


def read_report(path: Path) -> Report | None:
    """Read a report; None when there is none that can be read: it is then made anew."""
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get("format_version") == FORMAT_VERSION else None


def build_protocol(
    config: RunConfig,
    *,
    tasks: Sequence[Task],
    data_sha256: str,
    contrast_sha256: str,
    adapters_sha256: dict[str, str],
    base: dict[str, str | None],
) -> Protocol:
    """Name what decides what a test measures, down to the number format that the models are loaded in."""
    return {
        "window": config.eval.window,
        "stride": config.eval.stride,
        "training_seed": config.train.seed,
        "data_sha256": data_sha256,
        "adapters_sha256": adapters_sha256,
        "base": base,
        "precision": config.model.precision,
        "load_in_4bit": config.model.load_in_4bit,
        "contrast_sha256": contrast_sha256,
        "generation": build_generation_protocol(tasks, config.eval),
    }


def build_generation_protocol(tasks: Sequence[Task], settings: EvalConfig) -> GenerationProtocol:
    """Name what decides what is written."""
    return {
        "tasks": len(tasks),
        "tasks_sha256": hash_json([asdict(task) for task in tasks]),
        "top_p": settings.top_p,
        "min_p": settings.min_p,
        "extraction_windows": settings.extraction_windows,
    }


def hash_json(value: Any) -> str:
    """Hash what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read_finished(folder: Path, label: str) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is not None and manifest["finished"]:
        return manifest
    state = "is not finished" if manifest else "is not trained"
    resume = " --resume" if manifest else ""
    if label == "control":
        raise ConfigError(
            f"the control adapter in {folder} {state}: add --control auto, or train it with "
            f"`ghostpen train --config FILE --control{resume}`"
        )
    raise ConfigError(
        f"the {label} adapter in {folder} {state}: train it with `ghostpen train --config FILE{resume}`"
    )
