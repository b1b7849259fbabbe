"""`ghostpen write`: continue a text with a run's adapter, beside the base model if asked."""

from __future__ import annotations

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
) -> None:
    """Print a continuation by the run's adapter; with `compare`, the base model's first.

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


def _print(console: Console, heading: str | None, prompt: str, text: str) -> None:
    from rich.text import Text

    if heading:
        console.rule(heading, align="left")
    console.print(Text.assemble((prompt, "dim"), text), soft_wrap=not console.is_terminal)
