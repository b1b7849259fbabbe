"""Divide an author's documents into train, val and test, about 80/10/10 by bytes, whole documents only.

A document's place is its own: a number that the seed and its name make, so that documents that come later move none
that was there before, as far as the shares allow it (`_fill_split`). Where there are fewer documents than splits, the
longest is divided inside, with a gap. Pure functions.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Generic

from ghostpen.data.sections import AUTHOR_SPLITS, PARAGRAPH_END, AnySection, S, document_key
from ghostpen.errors import DataError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
GAP_WORDS = 1_000  # between the parts of a divided document, so that no scene runs on from one into the next
MIN_WORDS_WITHIN = 5_000  # 2,000 of them go into the gaps; val and test get 300 each
LEAST_OF_SHARE, MOST_OF_SHARE = 0.5, 2.0  # of its share that a split may be off before documents are moved for it
LEAST_DATED = 0.9  # of the documents, for the newest to become the test

_REGIONS = {"test": (0.0, SHARES["test"]), "val": (SHARES["test"], SHARES["test"] + SHARES["val"])}


@dataclass(frozen=True)
class Traits:
    """What decides over a document's split beside the seed.

    Args:
        identities: what stays the same when other documents come or go, by `document_key`; the key, if left out.
        dates: by `document_key`, as far as documents have one. Where nearly all have, the newest are the test.
    """

    identities: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, date] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitSections(Generic[S]):
    """Sections by split, in reading order, whether one document was divided, and whether the newest are the test."""

    splits: dict[str, list[S]]
    within_document: bool
    newest_in_test: bool = False


def split_sections(
    sections: Sequence[S], *, fixed: Mapping[str, str], seed: int, whose: str, traits: Traits | None = None
) -> SplitSections[S]:
    """Give every section to a split.

    Args:
        sections: in reading order, each document's together.
        fixed: the split of a document, by `document_key`, where a person decided it.
        seed: the same seed and documents give the same splits.
        whose: for messages, such as "the author's texts".
        traits: of the documents.

    Raises:
        DataError: too few documents for the splits, or a text too short to be divided.
    """
    traits = traits or Traits()
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
        free_dates = {key: traits.dates[key] for key in free if key in traits.dates}
        by_date = (
            "test" in needed and len(free_dates) >= LEAST_DATED * len(free) and len(set(free_dates.values())) > 1
        )
        places = {key: _compute_place(traits.identities.get(key, key), seed) for key in free}
        split_of |= _assign_splits(sizes, split_of, places=places, dates=free_dates if by_date else {})
        return SplitSections(_collect(documents, split_of), within_document=False, newest_in_test=by_date)
    longest = max(free, key=lambda key: _count_words(documents[key]))
    parts = _divide_document(documents.pop(longest), needed, whose=whose)
    splits = _collect(documents, split_of | {key: "train" for key in free if key != longest})
    joined = {split: rows + parts.get(split, []) for split, rows in splits.items()}
    return SplitSections(joined, within_document=True)


def _compute_place(identity: str, seed: int) -> float:
    """Return a document's number from 0 to 1: below 0.1 it is test, below 0.2 val."""
    digest = hashlib.sha256(f"{seed} {identity}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def _assign_splits(
    sizes: Mapping[str, int], split_of: Mapping[str, str], *, places: Mapping[str, float], dates: Mapping[str, date]
) -> dict[str, str]:
    """Return the splits of the documents in `places`, test before val; what neither gets is train."""
    free = sorted(places, key=lambda key: (places[key], key))
    missing = [split for split in ("test", "val") if split not in split_of.values()]
    reserved = len(missing) + ("train" not in split_of.values())
    assigned: dict[str, str] = {}
    for split in missing:
        reserved -= 1
        target, room = SHARES[split] * sum(sizes.values()), len(free) - reserved
        if split == "test" and dates:
            newest = sorted(dates, key=lambda key: (dates[key], places[key], key), reverse=True)
            taken = _take_newest(newest, sizes, target, room)
        else:
            taken = _fill_split(free, sizes, places, _REGIONS[split], target, room)
        assigned |= dict.fromkeys(taken, split)
        free = [key for key in free if key not in assigned]
    return assigned | dict.fromkeys(free, "train")


def _take_newest(newest: Sequence[str], sizes: Mapping[str, int], target: float, room: int) -> list[str]:
    """Return the newest documents, as long as each brings the split nearer to its share; at least one."""
    total = 0
    for count, key in enumerate(newest[:room]):
        if count and abs(total + sizes[key] - target) >= abs(total - target):
            return list(newest[:count])
        total += sizes[key]
    return list(newest[:room])


def _fill_split(
    free: Sequence[str],
    sizes: Mapping[str, int],
    places: Mapping[str, float],
    region: tuple[float, float],
    target: float,
    room: int,
) -> list[str]:
    """Return the documents whose places lie in the region, and make up for what is far from the share.

    Documents that would bring the split above twice its share stay out. Where less than half of the share comes
    together, those with the next places are added. Only these two steps depend on other documents.
    """
    low, high = region
    taken: list[str] = []
    total = 0
    for key in sorted(free, key=lambda key: ((places[key] - low) % 1.0, key)):
        is_own = low <= places[key] < high
        if len(taken) == room or (total >= LEAST_OF_SHARE * target and not is_own):
            break
        if total + sizes[key] <= MOST_OF_SHARE * target:
            taken.append(key)
            total += sizes[key]
    return taken or [min(free, key=lambda key: (sizes[key], places[key], key))]


def _collect(documents: Mapping[str, list[S]], split_of: Mapping[str, str]) -> dict[str, list[S]]:
    splits: dict[str, list[S]] = {split: [] for split in AUTHOR_SPLITS}
    for key, group in documents.items():
        splits[split_of[key]].extend(group)
    return splits


def _divide_document(sections: Sequence[S], needed: Sequence[str], *, whose: str) -> dict[str, list[S]]:
    """Divide one document at paragraph ends, in the order train, gap, val, gap, test."""
    total = _count_words(sections)
    if total < MIN_WORDS_WITHIN:
        raise DataError(
            f"{whose}: too short: {sections[0].document!r} has {total:,} words, and to be divided into "
            f"{', '.join(needed)} it needs {MIN_WORDS_WITHIN:,}; add text, or give at least 3 documents"
        )
    bounds = _compute_bounds(total, needed)
    parts: dict[str, list[S]] = {split: [] for split in needed}
    position = 0
    for section in sections:
        paragraphs = section.text.split(PARAGRAPH_END)
        mine: dict[str, list[int]] = {split: [] for split in needed}
        for number, paragraph in enumerate(paragraphs):
            before, position = position, position + len(paragraph.split())
            for split, (low, high) in bounds.items():
                if low <= before and position <= high:
                    mine[split].append(number)
        for split, numbers in mine.items():
            if numbers:
                parts[split].append(section.take_paragraphs(numbers))
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


def _count_words(sections: Sequence[AnySection]) -> int:
    return sum(section.words for section in sections)
