"""The three models of a test, one after the other on one base: what each of them loses on texts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpen.config import EvalConfig
from ghostpen.data.progress import ShowProgress
from ghostpen.data.sections import Section
from ghostpen.evaluation.specificity import MODEL_LABELS, ModelLabel
from ghostpen.score import Score

if TYPE_CHECKING:
    from ghostpen.model.loading import LoadedModel


def visit_models(
    loaded: LoadedModel, adapters: Mapping[ModelLabel, Path], *, labels: Collection[ModelLabel] = MODEL_LABELS
) -> Iterator[tuple[ModelLabel, LoadedModel]]:
    """Yield the base model and each adapter on it, in turn; when the next one comes, the last is no more.

    Args:
        loaded: the base; it is the base again at the end. adapters: the folders of runs. labels: who is wanted.
    """
    from ghostpen.model.loading import load_adapter, unload_adapter

    if "base" in labels:
        yield "base", loaded
    for label, folder in adapters.items():
        if label in labels:
            adapted = load_adapter(loaded, folder / "adapter")
            try:
                yield label, adapted
            finally:
                loaded = unload_adapter(adapted)


def score_models(
    loaded: LoadedModel,
    adapters: Mapping[ModelLabel, Path],
    *,
    texts: Mapping[tuple[ModelLabel, str], Sequence[Section]],
    settings: EvalConfig,
    show_progress: ShowProgress,
    prompt: Sequence[int] = (),
) -> dict[tuple[ModelLabel, str], list[Score]]:
    """Score each model on its texts, which have names; returns one Score a section.

    Args:
        show_progress: shows a bar for a title.
        prompt: what the "prompted" model, which is the base, has at the head of every window in place of
            <|startoftext|>. Its windows are longer by that: they hold the same text as the others'.
    """
    from ghostpen.training.perplexity import score_sections

    scores = {}
    with show_progress() as show:
        wanted: set[ModelLabel] = {"base" if label == "prompted" else label for label, _ in texts}
        for visited, current in visit_models(loaded, adapters, labels=wanted):
            for (label, name), sections in texts.items():
                if ("base" if label == "prompted" else label) == visited:
                    head = prompt if label == "prompted" else ()
                    scores[label, name] = score_sections(
                        current.model,
                        current.tokenizer,
                        sections,
                        window=settings.window + max(0, len(head) - 1),
                        stride=settings.stride,
                        batch_size=settings.batch_size,
                        prompt=head,
                        on_progress=show(f"{label} reads {name}"),
                    )
    return scores
