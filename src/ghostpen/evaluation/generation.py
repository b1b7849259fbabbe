"""`ghostpen write`: continue a text with a run's adapter, beside the base model if asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpen.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from ghostpen.config import RunConfig


def write_text(
    prompt: str,
    *,
    config: RunConfig,
    run_dir: Path,
    compare: bool,
    max_words: int,
    temperature: float,
    top_p: float,
    seed: int,
    console: Console,
    warn: Callable[[str], None],
) -> None:
    """Print a continuation by the run's adapter; with `compare`, the base model's first.

    It is said where the adapter copies from its training text, and where that could not be looked for.

    Raises:
        DataError: the prompt is empty.
        ModelError: no adapter, or one of another base.
    """
    from ghostpen.model.generation import continue_text
    from ghostpen.model.loading import check_adapter_base, load_adapter, load_base

    if not prompt.strip():
        raise DataError("the prompt is empty: write the beginning of a text, to be continued")
    folder = run_dir / "adapter"
    check_adapter_base(folder, config.model.name)  # before anything heavy or anything printed
    options = {"max_words": max_words, "temperature": temperature, "top_p": top_p, "seed": seed}
    with console.status("loading the model"):
        loaded = load_base(config.model, max_length=config.data.sequence_length)
    if compare:
        with console.status("the base model writes"):
            text = continue_text(loaded.model, loaded.tokenizer, prompt, **options)  # type: ignore[arg-type]
        _print(console, "base model", prompt, text)
    adapted = load_adapter(loaded, folder)
    with console.status("the adapter writes"):
        text = continue_text(adapted.model, adapted.tokenizer, prompt, **options)  # type: ignore[arg-type]
    _print(console, f"adapter {config.name}" if compare else None, prompt, text)
    with console.status("looking for copied text"):
        warning = find_warning(text, prompt=prompt, data_dir=config.data.dir, run_dir=run_dir)
    if warning:
        warn(warning)


def find_warning(text: str, *, prompt: str, data_dir: Path, run_dir: Path) -> str | None:
    """Return what is to be said about copies in a continuation, if anything."""
    from ghostpen.data.manifest import load_manifest
    from ghostpen.data.sections import load_sections
    from ghostpen.evaluation.copying import Sample, find_copy
    from ghostpen.evaluation.copying_report import render_span
    from ghostpen.training.manifest import read_manifest

    try:
        data_sha256, sections = load_manifest(data_dir).data_sha256, load_sections(data_dir, "train")
    except DataError as error:
        return f"not checked for copied text: {error.message}"
    manifest = read_manifest(run_dir)
    if manifest is None or manifest["data_sha256"] != data_sha256:
        return f"not checked for copied text: {data_dir} holds other data than the run was trained on"
    copied = find_copy(Sample(text, prompt=prompt), sections)
    if copied is None:
        return None
    return (
        f"copied: {render_span(copied)} of the training text; another --seed or --temperature writes something else"
    )


def _print(console: Console, heading: str | None, prompt: str, text: str) -> None:
    from rich.text import Text

    if heading:
        console.rule(heading, align="left")
    console.print(Text.assemble((prompt, "dim"), text), soft_wrap=not console.is_terminal)
