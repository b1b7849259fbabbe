"""Divide an author's documents into train, val and test, 80/10/10 by bytes, whole documents only.

Where there are fewer documents than splits, the longest is divided inside, with a gap. Pure functions.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ghostpen.data.sections import AUTHOR_SPLITS, Section
from ghostpen.errors import DataError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
GAP_WORDS = 1_000  # between the parts of a divided document, so that no scene runs on from one into the next
MIN_WORDS_WITHIN = 5_000  # 2,000 of them go into the gaps; val and test get 300 each


@dataclass(frozen=True)
class SplitSections:
    """Sections by split, in reading order, and whether one document had to be divided."""

    splits: dict[str, list[Section]]
    within_document: bool


def split_sections(sections: Sequence[Section], *, fixed: Mapping[str, str], seed: int, whose: str) -> SplitSections:
    """Give every section to a split; the split of a document that isn't fixed is drawn.

    Args:
        sections: in reading order, each document's together.
        fixed: the split of a document, by `document_key`, where a person decided it.
        seed: the same seed and documents give the same splits.
        whose: for messages, such as "the author's texts".

    Raises:
        DataError: too few documents for the splits, or a text too short to be divided.
    """
    documents = {key: list(group) for key, group in groupby(sections, key=document_key)}
    split_of = {key: fixed[key] for key in documents if key in fixed}
    free = [key for key in documents if key not in fixed]
    needed = [split for split in AUTHOR_SPLITS if split not in split_of.values()]
    if needed and not free:
        raise DataError(
            f"{whose}: no document is left for {' and '.join(needed)}; add texts, or fix fewer documents "
            "(--val-docs, --test-docs, folders called train, val or test)"
        )
    if len(free) >= len(needed):
        sizes = {key: sum(section.size_bytes for section in documents[key]) for key in documents}
        split_of |= _draw_splits(sizes, split_of, seed=seed)
        return SplitSections(_collect(documents, split_of), within_document=False)
    longest = max(free, key=lambda key: _count_words(documents[key]))
    parts = _divide_document(documents.pop(longest), needed, whose=whose)
    splits = _collect(documents, split_of | {key: "train" for key in free if key != longest})
    joined = {split: rows + parts.get(split, []) for split, rows in splits.items()}
    return SplitSections(joined, within_document=True)


def document_key(section: Section) -> str:
    """Return what tells a document from all others: two authors may both have written "Poems"."""
    return f"{section.author}/{section.document}"


def _draw_splits(sizes: Mapping[str, int], split_of: Mapping[str, str], *, seed: int) -> dict[str, str]:
    """Draw test, then val: of the shuffled free documents, each that brings the split nearer to its share."""
    free = [key for key in sizes if key not in split_of]
    random.Random(seed).shuffle(free)
    missing = [split for split in ("test", "val") if split not in split_of.values()]
    reserved = len(missing) + ("train" not in split_of.values())
    drawn: dict[str, str] = {}
    for split in missing:
        reserved -= 1
        target = SHARES[split] * sum(sizes.values())
        room = len(free) - reserved
        taken: list[str] = []
        for key in free:
            size = sum(sizes[k] for k in taken)
            if len(taken) < room and abs(size + sizes[key] - target) < abs(size - target):
                taken.append(key)
        taken = taken or [min(free, key=lambda key: sizes[key])]
        free = [key for key in free if key not in taken]
        drawn |= dict.fromkeys(taken, split)
    return drawn | dict.fromkeys(free, "train")


def _collect(documents: Mapping[str, list[Section]], split_of: Mapping[str, str]) -> dict[str, list[Section]]:
    splits: dict[str, list[Section]] = {split: [] for split in AUTHOR_SPLITS}
    for key, group in documents.items():
        splits[split_of[key]].extend(group)
    return splits


def _divide_document(sections: Sequence[Section], needed: Sequence[str], *, whose: str) -> dict[str, list[Section]]:
    """Divide one document at paragraph ends, in the order train, gap, val, gap, test."""
    total = _count_words(sections)
    if total < MIN_WORDS_WITHIN:
        raise DataError(
            f"{whose}: too short: {sections[0].document!r} has {total:,} words, and to be divided into "
            f"{', '.join(needed)} it needs {MIN_WORDS_WITHIN:,}; add text, or give at least 3 documents"
        )
    bounds = _compute_bounds(total, needed)
    parts: dict[str, list[Section]] = {split: [] for split in needed}
    position = 0
    for section in sections:
        paragraphs = section.text.split("\n\n")
        mine: dict[str, list[int]] = {split: [] for split in needed}
        for number, paragraph in enumerate(paragraphs):
            before, position = position, position + len(paragraph.split())
            for split, (low, high) in bounds.items():
                if low <= before and position <= high:
                    mine[split].append(number)
        for split, numbers in mine.items():
            if numbers:
                parts[split].append(_take_paragraphs(section, paragraphs, numbers))
    if empty := [split for split in needed if not parts[split]]:
        raise DataError(
            f"{whose}: {sections[0].document!r} has paragraphs too long to leave any for {', '.join(empty)}; "
            "add text, or give at least 3 documents"
        )
    return parts


def _compute_bounds(total: int, needed: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return each part's first word and the word after its last, with GAP_WORDS between the parts."""
    usable = total - GAP_WORDS * (len(needed) - 1)
    share = sum(SHARES[split] for split in needed)
    bounds: dict[str, tuple[int, int]] = {}
    start = 0
    for split in needed:
        end = total if split == needed[-1] else start + round(usable * SHARES[split] / share)
        bounds[split] = (start, end)
        start = end + GAP_WORDS
    return bounds


def _take_paragraphs(section: Section, paragraphs: Sequence[str], mine: Sequence[int]) -> Section:
    return replace(
        section,
        text="\n\n".join(paragraphs[i] for i in mine),
        starts_document=section.starts_document and mine[0] == 0,
        ends_document=section.ends_document and mine[-1] == len(paragraphs) - 1,
    )


def _count_words(sections: Sequence[Section]) -> int:
    return sum(len(section.text.split()) for section in sections)
