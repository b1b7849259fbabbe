"""`ghostpen write`: a run's adapter writes what is asked for, the base model too if wanted, and copies are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpen.evaluation.copy_watch import CopyWatch, load_copy_watch
from ghostpen.evaluation.requests import Request, RequestKind, Sampling, find_kind_warning, render_request

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


def load_writer(
    config: RunConfig,
    *,
    run_dir: Path,
    kind: RequestKind,
    compare: bool,
    console: Console,
    warn: Callable[[str], None],
) -> Writer:
    """Load a run's adapter, ready to write; say before whether it was trained on such requests.

    Raises:
        ModelError: no adapter, or one of another base.
    """
    from ghostpen.model.loading import check_adapter_base, load_adapter, load_base

    check_adapter_base(run_dir / "adapter", config.model.name)  # before anything heavy or anything printed
    if warning := find_kind_warning(kind, config.data):
        warn(f"warning: {warning}")
    with console.status("loading the model"):
        loaded = load_base(config.model, max_length=config.data.sequence_length)
        adapted = load_adapter(loaded, run_dir / "adapter")
    return Writer(adapted, config=config, run_dir=run_dir, compare=compare, console=console, warn=warn)


class Writer:
    """A run's adapter, ready to write; with `compare` the base model writes first."""

    def __init__(
        self,
        adapted: LoadedModel,
        *,
        config: RunConfig,
        run_dir: Path,
        compare: bool,
        console: Console,
        warn: Callable[[str], None],
    ) -> None:
        """Set up; `warn` is given what there is to say of copies."""
        self._adapted, self._config, self._run_dir, self._compare = adapted, config, run_dir, compare
        self._console, self._warn = console, warn

    def write(self, wish: Wish) -> None:
        """Write, onto the console word by word; then say where the adapter copies from its training text.

        Raises:
            ModelError: the tokenizer's chat template is not Harmony.
        """
        if self._compare:
            with self._adapted.model.disable_adapter():
                self._write_all(wish, who="base model")
        texts = self._write_all(wish, who=f"adapter {self._config.name}" if self._compare else None)
        with self._console.status("looking for copied text"):
            warnings = [self._watch.find_warning(text, prompt=wish.request.text) for text in texts]
        for number, warning in enumerate(warnings):
            if warning:
                self._warn(f"seed {wish.seed + number}: {warning}" if wish.count > 1 else warning)

    @cached_property
    def _watch(self) -> CopyWatch:
        return load_copy_watch(data_dir=self._config.data.dir, run_dir=self._run_dir)

    def _write_all(self, wish: Wish, *, who: str | None) -> list[str]:
        texts = []
        for seed in range(wish.seed, wish.seed + wish.count):
            heading = ", ".join(part for part in (who, f"seed {seed}" if wish.count > 1 else None) if part)
            if heading:
                self._console.rule(heading, align="left")
            texts.append(self._write_one(replace(wish, seed=seed)))
        return texts

    def _write_one(self, wish: Wish) -> str:
        from ghostpen.model.generation import encode_beginning, generate_text

        loaded = self._adapted
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


def write_at_prompt(wish: Wish, writer: Writer, *, ask: Callable[[], str], warn: Callable[[str], None]) -> None:
    """Write what is asked for line by line, until there is no more; each text has the next seed.

    Ctrl-C ends a text, not the conversation.

    Args:
        wish: how to write; its text is replaced. ask: gives a line, or raises EOFError.
    """
    while True:
        try:
            line = ask()
        except EOFError:
            return
        if not line.strip():
            continue
        try:
            writer.write(replace(wish, request=replace(wish.request, text=line)))
        except KeyboardInterrupt:
            warn("broken off")
        wish = replace(wish, seed=wish.seed + wish.count)
