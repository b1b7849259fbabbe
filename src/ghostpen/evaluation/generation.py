"""`ghostpen write`: a run's adapter writes what is asked for, the base model too if wanted, and copies are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpen.errors import DataError
from ghostpen.evaluation.requests import Request, Sampling, find_kind_warning, render_request

if TYPE_CHECKING:
    from rich.console import Console

    from ghostpen.config import RunConfig
    from ghostpen.model.loading import LoadedModel


@dataclass(frozen=True)
class Wish:
    """What is to be written, how, how many times (with seeds that follow each other), and how long at most."""

    request: Request
    sampling: Sampling
    max_words: int
    seed: int
    count: int = 1


class Writer:
    """A run's adapter, ready to write; with `compare` the base model writes first."""

    def __init__(self, config: RunConfig, *, run_dir: Path, compare: bool, console: Console) -> None:
        """Load the models.

        Raises:
            ModelError: no adapter, or one of another base.
        """
        from ghostpen.model.loading import check_adapter_base, load_adapter, load_base

        self._config, self._run_dir, self._console = config, run_dir, console
        check_adapter_base(run_dir / "adapter", config.model.name)  # before anything heavy or anything printed
        with console.status("loading the model"):
            loaded = load_base(config.model, max_length=config.data.sequence_length)
            self._base = loaded if compare else None
            self._adapted = None if compare else load_adapter(loaded, run_dir / "adapter")

    def write(self, wish: Wish, *, warn: Callable[[str], None]) -> None:
        """Write, onto the console word by word; then say where the adapter copies from its training text.

        Raises:
            ModelError: the tokenizer's chat template is not Harmony.
        """
        adapted = self._adapted
        texts = self._compare(wish) if adapted is None else self._write_all(adapted, wish, who=None)
        with self._console.status("looking for copied text"):
            warnings = [
                find_warning(text, prompt=wish.request.text, data_dir=self._config.data.dir, run_dir=self._run_dir)
                for text in texts
            ]
        for number, warning in enumerate(warnings):
            if warning:
                warn(f"seed {wish.seed + number}: {warning}" if wish.count > 1 else warning)

    def _compare(self, wish: Wish) -> list[str]:
        from ghostpen.model.loading import load_adapter, unload_adapter

        assert self._base is not None
        self._write_all(self._base, wish, who="base model")
        adapted = load_adapter(self._base, self._run_dir / "adapter")
        try:
            return self._write_all(adapted, wish, who=f"adapter {self._config.name}")
        finally:
            self._base = unload_adapter(adapted)

    def _write_all(self, loaded: LoadedModel, wish: Wish, *, who: str | None) -> list[str]:
        texts = []
        for seed in range(wish.seed, wish.seed + wish.count):
            heading = ", ".join(part for part in (who, f"seed {seed}" if wish.count > 1 else None) if part)
            if heading:
                self._console.rule(heading, align="left")
            texts.append(self._write_one(loaded, replace(wish, seed=seed)))
        return texts

    def _write_one(self, loaded: LoadedModel, wish: Wish) -> str:
        from ghostpen.model.generation import encode_beginning, generate_text

        if wish.request.kind == "text":
            ids = list(encode_beginning(loaded.tokenizer, wish.request.text))
            self._console.out(wish.request.text, style="dim", highlight=False, end="")
        else:
            ids = render_request(wish.request, loaded.tokenizer)
        try:
            return generate_text(
                loaded.model,
                loaded.tokenizer,
                ids,
                max_words=wish.max_words,
                seed=wish.seed,
                temperature=wish.sampling.temperature,
                top_p=wish.sampling.top_p,
                min_p=wish.sampling.min_p,
                on_text=lambda piece: self._console.out(piece, highlight=False, end=""),
            )
        finally:
            self._console.out("")  # ends the line, also of a text that was broken off


def write_text(wish: Wish, writer: Writer, *, config: RunConfig, warn: Callable[[str], None]) -> None:
    """Write once, and say before whether the adapter was trained on such requests.

    Raises:
        ModelError: as `Writer.write`.
    """
    if warning := find_kind_warning(wish.request.kind, config.data):
        warn(f"warning: {warning}")
    writer.write(wish, warn=warn)


def write_at_prompt(
    wish: Wish, writer: Writer, *, config: RunConfig, ask: Callable[[], str], warn: Callable[[str], None]
) -> None:
    """Write what is asked for line by line, until there is no more; each text has the next seed.

    Ctrl-C ends a text, not the conversation.

    Args:
        wish: how to write; its text is replaced. ask: gives a line, or raises EOFError.
    """
    if warning := find_kind_warning(wish.request.kind, config.data):
        warn(f"warning: {warning}")
    while True:
        try:
            line = ask()
        except EOFError:
            return
        if not line.strip():
            continue
        try:
            writer.write(replace(wish, request=replace(wish.request, text=line)), warn=warn)
        except KeyboardInterrupt:
            warn("broken off")
        wish = replace(wish, seed=wish.seed + wish.count)


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
