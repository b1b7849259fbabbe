"""Decide what becomes of each section: which go, and which split the others are in.

Owns the order of the decisions. Reads texts where they lie, and writes nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ghostpen.data.deduplication import Repeat, collect_ngrams, drop_repeats, drop_shared_paragraphs
from ghostpen.data.documents import Document, document_id, slugify
from ghostpen.data.manifest import Inputs
from ghostpen.data.progress import Progress, ShowProgress
from ghostpen.data.sections import document_key
from ghostpen.data.sides import CleanedTexts
from ghostpen.data.splitting import Traits, split_sections
from ghostpen.data.units import StoredSection
from ghostpen.errors import DataError


@dataclass(frozen=True)
class Plan:
    """What is to be written: sections by split, what is said of them, and how often each rule left something out."""

    splits: dict[str, list[StoredSection]]
    within_document: bool
    contrast_within_document: bool
    newest_in_test: bool
    dropped: Counter[str]
    repeats: tuple[Repeat, ...]


def plan_data(
    cleaned: CleanedTexts,
    sides: Sequence[Sequence[Document]],
    *,
    inputs: Inputs,
    show_progress: ShowProgress,
) -> Plan:
    """Decide every row, without touching the disk but to read texts.

    Args:
        cleaned: the sections of both sides.
        sides: the author's documents and the others'.
        inputs: say whose texts these are, and the seed.
        show_progress: shows a bar for a title.

    Raises:
        DataError: there is too little text.
    """
    own, others = sides
    if not cleaned.sections[0]:
        raise DataError("nothing is left of the author's texts after cleaning; give texts that hold prose")
    # The author's texts come before the others', and test before val before train: the first one stays.
    order = {"test": 0, "val": 1, None: 2, "train": 2}
    ranks = {document_id(d): order[d.split] + 3 * side for side, group in enumerate(sides) for d in group}
    with show_progress() as show:
        unique = drop_repeats(
            [*cleaned.sections[0], *cleaned.sections[1]], ranks=ranks, known=cleaned.known, progress=show("comparing")
        )
    dropped = cleaned.dropped + Counter(repeat.rule for repeat in unique.repeats)
    kept_own, kept_others = (
        [s for s in unique.sections if (ranks[document_key(s)] > 2) is other] for other in (False, True)
    )
    fixed = {document_id(d): d.split for d in [*own, *others] if d.split is not None}
    identities = {document_id(d): f"{d.author}/{d.identity}" for d in [*own, *others] if d.identity}
    dates = {document_id(d): d.dated for d in own if d.dated is not None}
    traits = Traits(identities, dates)
    own_split = split_sections(kept_own, fixed=fixed, seed=inputs.seed, whose="the author's texts", traits=traits)
    other_split = None
    if others:
        other_split = split_sections(
            kept_others, fixed=fixed, seed=inputs.seed, whose="the contrast texts", traits=Traits(identities)
        )
    splits = dict(own_split.splits)
    if other_split is not None:
        splits |= {f"contrast_{split}": rows for split, rows in other_split.splits.items()}
    with show_progress() as show:
        _guard_train(splits, dropped, show)
    return Plan(
        splits,
        own_split.within_document,
        other_split is not None and other_split.within_document,
        own_split.newest_in_test,
        dropped,
        tuple(unique.repeats),
    )


def check_contrast(others: Iterable[Document], author: str) -> None:
    """Refuse contrast texts by the author.

    Raises:
        DataError: there are such.
    """
    if any(slugify(document.author) == slugify(author) for document in others):
        raise DataError(f"--contrast holds texts by {author}; take them out: contrast texts are by other authors")


def _guard_train(
    splits: dict[str, list[StoredSection]], dropped: Counter[str], show: Callable[[str], Progress]
) -> None:
    """Take out of both train splits what a held-out split has: the control must not read the test either."""
    held_out = collect_ngrams(
        section for split, rows in splits.items() if not split.endswith("train") for section in rows
    )
    for split in [split for split in splits if split.endswith("train")]:
        guarded = drop_shared_paragraphs(splits[split], held_out, progress=show(f"checking {split}"))
        if not guarded.sections:
            raise DataError(f"{split}: nothing is left to train on: all of it is in val or test too; add other texts")
        splits[split] = guarded.sections
        dropped["shared_paragraphs"] += guarded.dropped_paragraphs
