"""`ghostpen test`: base, control and author adapter on held-out texts, and the verdict."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpen.config import RunConfig, select_decisive
from ghostpen.data.manifest import load_manifest
from ghostpen.data.sections import Section, load_sections
from ghostpen.errors import ConfigError, DataError
from ghostpen.evaluation.copying import Sample
from ghostpen.evaluation.copying_report import (
    CopyingReport,
    build_copying_report,
    check_copied,
    render_copying_table,
)
from ghostpen.evaluation.html.page import write_html
from ghostpen.evaluation.picture import write_specificity_picture
from ghostpen.evaluation.report import Protocol, Report, build_report, render_table, write_report
from ghostpen.score import Score
from ghostpen.training.manifest import read_manifest
from ghostpen.training.metrics import read_metrics
from ghostpen.training.run import CONTROL_FOLDER

if TYPE_CHECKING:
    from rich.console import Console

    from ghostpen.evaluation.specificity import ModelLabel

METRICS = "metrics.jsonl"
REPORT = "report.json"
PICTURE = "specificity.png"
PAGE = "report.html"
SAMPLES = "samples/after.txt"


def test_run(config: RunConfig, *, console: Console) -> Report:
    """Score the three models on all held-out sections; write report.json, specificity.png and report.html.

    Raises:
        ConfigError: an adapter is missing, unfinished, or was trained on other data or for other steps.
        DataError: there is no test text, by the author or by others, or no sample for eval.max_copied_words.
        CopyingError: a sample of the run copies more than eval.max_copied_words; the report is written before.
    """
    folder = config.run_dir
    data = load_manifest(config.data.dir)
    texts = {"author": _load_test(config, "test"), "others": _load_test(config, "contrast_test")}
    adapters: dict[ModelLabel, Path] = {"control": folder / CONTROL_FOLDER, "author": folder}
    check_comparable({label: _read_finished(path, label) for label, path in adapters.items()}, data.data_sha256)
    protocol: Protocol = {
        "window": config.eval.window,
        "stride": config.eval.stride,
        "training_seed": config.train.seed,
        "data_sha256": data.data_sha256,
        "adapters_sha256": {label: hash_adapter(path / "adapter") for label, path in adapters.items()},
    }
    report = read_report(folder / REPORT)
    if report is None or report["protocol"] != protocol:
        scores = score_models(config, texts=texts, adapters=adapters, console=console)
        report = build_report(
            {label: scores[label, "author"] for label in ("base", "control", "author")},
            others_scores={label: scores[label, "others"] for label in ("base", "control", "author")},
            author=data.inputs.author,
            author_parts=[section.document for section in texts["author"]],
            others_parts=[section.author for section in texts["others"]],
            protocol=protocol,
            copying=measure_copying(config, test=texts["author"]),
        )
        write_report(report, folder / REPORT)
        curves = {
            "metrics": read_metrics(folder / METRICS),
            "control_metrics": read_metrics(folder / CONTROL_FOLDER / METRICS),
        }
        write_specificity_picture(report, folder / PICTURE, **curves)
        write_html(report, folder / PAGE, **curves, written=[], training=load_sections(config.data.dir, "train"))
    else:
        console.print(f"nothing to do: {folder / REPORT} is of these adapters, texts and windows")
    console.print(render_table(report))  # with the verdict below it
    if report["copying"] is not None:
        console.print(render_copying_table(report["copying"]))
    check_copied(report["copying"], max_copied_words=config.eval.max_copied_words)
    return report


def measure_copying(config: RunConfig, *, test: list[Section]) -> CopyingReport | None:
    """Measure what the samples that the author's adapter wrote after its training copy; None without samples."""
    from ghostpen.training.continuations import parse_continuations

    try:
        text = (config.run_dir / SAMPLES).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):  # an older run, or a file that is not ours
        return None
    return build_copying_report(
        [Sample(written, prompt=beginning) for beginning, written in parse_continuations(text)],
        training=load_sections(config.data.dir, "train"),
        validation=load_sections(config.data.dir, "val"),
        test=test,
        others=load_sections(config.data.dir, "contrast_train"),
    )


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


def score_models(
    config: RunConfig,
    *,
    texts: dict[str, list[Section]],
    adapters: dict[ModelLabel, Path],
    console: Console,
) -> dict[tuple[ModelLabel, str], list[Score]]:
    """Score every model on every text; returns one Score a section, by (model, text)."""
    with console.status("loading the model"):
        from ghostpen.model.loading import load_adapter, load_base, unload_adapter
        from ghostpen.training.perplexity import score_sections

        loaded = load_base(config.model, max_length=max(config.data.sequence_length, config.eval.window))
    scores: dict[tuple[ModelLabel, str], list[Score]] = {}
    models: list[tuple[ModelLabel, Path | None]] = [("base", None), *adapters.items()]
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        for label, path in models:
            current = load_adapter(loaded, path / "adapter") if path else loaded
            for name, sections in texts.items():
                task = progress.add_task(f"{label} on {name}")

                def on_progress(done: int, total: int, task: Any = task) -> None:
                    progress.update(task, completed=done, total=total)

                scores[label, name] = score_sections(
                    current.model,
                    current.tokenizer,
                    sections,
                    window=config.eval.window,
                    stride=config.eval.stride,
                    batch_size=config.eval.batch_size,
                    on_progress=on_progress,
                )
            if path:
                loaded = unload_adapter(current)
    return scores


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
    return report if isinstance(report, dict) and {"protocol", "copying"} <= report.keys() else None


def _load_test(config: RunConfig, split: str) -> list[Section]:
    sections = load_sections(config.data.dir, split)
    if not sections:
        raise DataError(
            f"{config.data.dir / split}.jsonl is empty, so there is nothing to test on; "
            "prepare more documents, or name the ones to hold out with --test-docs"
        )
    return sections


def _read_finished(folder: Path, label: str) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is not None and manifest["finished"]:
        return manifest
    option = " --control" if label == "control" else ""
    state = "is not finished" if manifest else "is not trained"
    raise ConfigError(
        f"the {label} adapter in {folder} {state}: train it with `ghostpen train --config FILE{option}`"
        + (" --resume" if manifest else "")
    )
