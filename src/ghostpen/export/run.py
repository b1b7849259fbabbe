"""`ghostpen export`: one finished run, in the form that another program loads."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ghostpen
from ghostpen.config import RunConfig, load_saved_config
from ghostpen.data.manifest import Manifest, load_manifest
from ghostpen.errors import ConfigError, DataError, ExportError
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.run import METRICS, REPORT, hash_adapter, read_report
from ghostpen.export.adapter import write_adapter
from ghostpen.export.card import CardFacts, ExportTarget, render_card
from ghostpen.export.folder import (
    check_replaceable,
    check_room,
    is_same_export,
    render_size,
    write_export,
)
from ghostpen.export.gguf import (
    GGUF,
    MODELFILE,
    find_converter,
    find_ollama,
    render_modelfile,
    run_program,
    write_gguf,
)
from ghostpen.export.merge import MergePlan, check_base, plan_merge, write_merged
from ghostpen.model.loading import check_adapter_base, silence_libraries
from ghostpen.model.location import EMBEDDED_PREFIX, resolve_model
from ghostpen.training.manifest import read_manifest
from ghostpen.training.metrics import read_metrics

if TYPE_CHECKING:
    from rich.console import Console

CARD = "README.md"


@dataclass(frozen=True)
class ExportSettings:
    """What a person can choose of an export."""

    target: ExportTarget
    out: Path | None = None  # None: in the run's folder
    author_name: str | None = None  # None: the card names nobody
    base: str | None = None  # merge into this checkpoint, in place of the run's own
    llama_cpp: Path | None = None
    gguf_type: str = "auto"
    deadline_s: float = 7200.0
    create: str | None = None  # the name of the model that ollama is to create


@dataclass(frozen=True)
class _Source:
    """A finished run, as an export needs it."""

    run_dir: Path
    config: RunConfig
    manifest: dict[str, Any]
    adapter_sha256: str

    @property
    def adapter(self) -> Path:
        return self.run_dir / "adapter"


def export_run(run_dir: Path, settings: ExportSettings, *, console: Console) -> Path:
    """Export a finished run; do nothing where the same export stands. Gives the folder.

    Raises:
        ConfigError: no such run, or one that is not finished.
        ModelError: its adapter or base is not there.
        ExportError: it can't be exported so, or not into that folder.
    """
    check_settings(settings)
    source = _read_source(run_dir)
    card = render_card(_gather_facts(source, settings))
    folder = settings.out or run_dir / "export" / settings.target
    inputs = _describe_inputs(source, settings, card=card)
    if is_same_export(folder, inputs):
        console.print(f"nothing to do: {folder} holds the export of the same run and settings", soft_wrap=True)
    else:
        check_replaceable(folder)
        _write_export(source, settings, folder=folder, inputs=inputs, card=card, console=console)
        console.print(f"{settings.target}: {folder}", soft_wrap=True, markup=False)
    if settings.target == "ollama":
        _create_in_ollama(folder, settings, console=console)
    return folder


def check_settings(settings: ExportSettings) -> None:
    """Refuse an option that would do nothing, and find the programs that are needed before any work.

    Raises:
        ExportError: so, or a program is missing.
    """
    if settings.base and settings.target == "adapter":
        raise ExportError("--base says what is merged into, and --to adapter merges nothing; leave it out")
    if settings.gguf_type != "auto" and settings.target not in {"gguf", "ollama"}:
        raise ExportError(f"--gguf-type is for --to gguf and ollama, not for {settings.target}; leave it out")
    if settings.create and settings.target != "ollama":
        raise ExportError(f"--create is for --to ollama, not for {settings.target}; leave it out")
    if settings.target in {"gguf", "ollama"}:
        find_converter(settings.llama_cpp)
    if settings.create:
        find_ollama()


def _read_source(run_dir: Path) -> _Source:
    config = load_saved_config(run_dir)
    manifest = read_manifest(run_dir)
    if manifest is None or not manifest["finished"]:
        raise ConfigError(
            f"the run in {run_dir} is not finished, so there is nothing to export: finish it with "
            "`ghostpen train --config FILE --resume`"
        )
    adapter = run_dir / "adapter"
    check_adapter_base(adapter, config.model.name)
    return _Source(run_dir, config, manifest, hash_adapter(adapter))


def _gather_facts(source: _Source, settings: ExportSettings) -> CardFacts:
    return CardFacts(
        target=settings.target,
        manifest=source.manifest,
        data=_find_data(source),
        metrics=read_metrics(source.run_dir / METRICS),
        report=_find_report(source),
        author_name=settings.author_name,
    )


def _find_data(source: _Source) -> Manifest | None:
    """Read the data's manifest, if it is still of the texts that were trained on."""
    try:
        data = load_manifest(source.config.data.dir)
    except DataError:
        return None
    return data if data.data_sha256 == source.manifest["data_sha256"] else None


def _find_report(source: _Source) -> Report | None:
    """Read the report, if it is of this adapter."""
    report = read_report(source.run_dir / REPORT)
    if report is None or report["protocol"]["adapters_sha256"].get("author") != source.adapter_sha256:
        return None
    return report


def _describe_inputs(source: _Source, settings: ExportSettings, *, card: str) -> dict[str, Any]:
    """Say what the export is made of; equal inputs give an equal export. No name, no path: it is passed on."""
    packages = ("peft", "safetensors", "torch", "transformers")
    return {
        "target": settings.target,
        "adapter_sha256": source.adapter_sha256,
        "base": {key: value for key, value in source.manifest["base_model"].items() if not key.endswith("name")},
        "merged_into": settings.base and hashlib.sha256(settings.base.encode()).hexdigest(),
        "gguf_type": settings.gguf_type if settings.target in {"gguf", "ollama"} else None,
        "card_sha256": hashlib.sha256(card.encode()).hexdigest(),
        "ghostpen_version": ghostpen.__version__,
        "package_versions": {name: version(name) for name in packages},
    }


def _write_export(
    source: _Source, settings: ExportSettings, *, folder: Path, inputs: dict[str, Any], card: str, console: Console
) -> None:
    silence_libraries()
    plan = None
    if settings.target != "adapter":
        plan = plan_merge(source.config.model, base=source.manifest["base_model"], replacement=settings.base)
        _check_merge(source, settings, plan=plan, folder=folder, console=console)
    with write_export(folder, inputs) as part:
        if plan is None:
            if write_adapter(source.adapter, part):
                console.print("the experts' weights were rewritten for the fused layout, which other programs load")
            _copy_embedded_base(source, part)
        elif settings.target == "merged":
            _merge(source, plan, part, console=console)
        else:
            _write_gguf_export(source, settings, plan=plan, part=part, console=console)
        (part / CARD).write_text(card, encoding="utf-8")


def _copy_embedded_base(source: _Source, part: Path) -> None:
    """Put the embedded base beside its adapter: it is on no hub, and plain PEFT does not know its name."""
    if source.config.model.name.startswith(EMBEDDED_PREFIX):
        base = Path(resolve_model(source.config.model.name))
        shutil.copytree(base, part / "base", ignore=shutil.ignore_patterns("pretrain.jsonl"))


def _check_merge(
    source: _Source, settings: ExportSettings, *, plan: MergePlan, folder: Path, console: Console
) -> None:
    # A GGUF file is written beside the merged checkpoint, which goes afterwards; 32 bits are the most it takes.
    needed_bytes = plan.size_bytes
    if settings.target in {"gguf", "ollama"}:
        widest = {"f32": 4, "auto": 4 if plan.precision == "float32" else 2}.get(settings.gguf_type, 2)
        needed_bytes += plan.size_bytes * widest // (4 if plan.precision == "float32" else 2)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free_bytes = shutil.disk_usage(existing).free
    check_room(needed_bytes, free_bytes=free_bytes, folder=folder, what=f"--to {settings.target}")
    if settings.base is None:
        check_base(plan, base=source.manifest["base_model"], name=source.config.model.name)
    notes = [
        f"merging in {plan.precision}: {render_size(plan.size_bytes)} of memory, {render_size(needed_bytes)} of disk"
    ]
    if plan.dequantised:
        notes.append("the base's MXFP4 weights are dequantised to bfloat16 first")
    if source.config.model.load_in_4bit:
        notes.append("trained on 4-bit weights, merged into the 16-bit ones: the result differs a little")
    console.print("; ".join(notes), soft_wrap=True)


def _merge(source: _Source, plan: MergePlan, part: Path, *, console: Console) -> None:
    """Merge through an adapter in plain PEFT's form, which goes afterwards."""
    adapter = part / "adapter.part"
    adapter.mkdir()
    with console.status("merging"):
        write_adapter(source.adapter, adapter)
        write_merged(plan, adapter=adapter, folder=part)
    shutil.rmtree(adapter)


def _write_gguf_export(
    source: _Source, settings: ExportSettings, *, plan: MergePlan, part: Path, console: Console
) -> None:
    merged = part / "ghostpen"  # the converter makes the model's name of it
    merged.mkdir()
    _merge(source, plan, merged, console=console)
    with console.status("converting") as status:
        write_gguf(
            find_converter(settings.llama_cpp),
            merged=merged,
            path=part / GGUF,
            outtype=settings.gguf_type,
            deadline_s=settings.deadline_s,
            on_line=_make_shower(status.update),
        )
    shutil.rmtree(merged)
    if settings.target == "ollama":
        modelfile = render_modelfile(chat_share=source.config.data.chat_share)
        (part / MODELFILE).write_text(modelfile, encoding="utf-8")


def _create_in_ollama(folder: Path, settings: ExportSettings, *, console: Console) -> None:
    name = settings.create or "my-author"
    line = f"ollama create {name} -f {folder / MODELFILE}"
    if settings.create is None:
        console.print(line, soft_wrap=True, markup=False)
        return
    with console.status(line) as status:
        run_program(
            [find_ollama(), "create", name, "-f", MODELFILE],
            name="ollama create",
            deadline_s=settings.deadline_s,
            on_line=_make_shower(status.update),
            folder=folder,
        )
    console.print(f"ollama has {name}: try `ollama run {name} 'It was late when'`", soft_wrap=True, markup=False)


def _make_shower(update: Callable[..., None]) -> Callable[[str], None]:
    from rich.markup import escape

    return lambda line: update(escape(line[:100]))
