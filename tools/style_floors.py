"""Measure what real, unseen text scores by the style measures: the tables of docs/style.md.

    .venv/bin/python tools/style_floors.py    # a minute, on the sample texts

Each of Austen's novels is held out in turn; the other five are the training text.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ghostpen.data.ngrams import normalise, read_words
from ghostpen.data.sections import Section
from ghostpen.evaluation.delta import Distances, fit_delta, measure_delta
from ghostpen.evaluation.names import compute_name_leak, find_names
from ghostpen.evaluation.pools import cut_pools, cut_pools_by_author
from ghostpen.evaluation.spans import find_shared_spans

TEXTS = Path(__file__).parents[1] / "src/ghostpen/assets/texts"
AUTHOR = "austen"
SAMPLE_WORDS = 400
POOL_SIZES = (500, 1000, 2000, 5000)


def load_texts() -> tuple[dict[str, str], dict[str, list[Section]]]:
    """Return Austen's novels by name, and the other authors' sections by split."""
    with zipfile.ZipFile(TEXTS / "austen.zip") as opened:
        novels = {Path(name).stem: opened.read(name).decode() for name in opened.namelist() if name.endswith(".txt")}
    others: dict[str, list[Section]] = {}
    with zipfile.ZipFile(TEXTS / "contrast.zip") as opened:
        for name in opened.namelist():
            if name.count("/") == 2 and name.endswith(".txt"):
                split, author, _ = name.split("/")
                # An author's works as one document: some are chapters shorter than a pool.
                section = Section(opened.read(name).decode(), author, author, 0, True, True)
                others.setdefault(split, []).append(section)
    return novels, others


def read_words_and_marks(text: str) -> list[str]:
    """Read as `read_words` does, but punctuation marks are words, too."""
    return re.findall(r"[^\W_]+|[^\w\s]", normalise(text))


def measure_copying(novels: Mapping[str, str], read: Callable[[str], list[str]]) -> Iterator[str]:
    """Measure 400-word pieces of each novel against the other five."""
    for held_out, text in novels.items():
        words = read(text)
        pieces = [words[start : start + SAMPLE_WORDS] for start in range(0, len(words) - SAMPLE_WORDS, SAMPLE_WORDS)]
        spans = find_shared_spans(pieces, [read(other) for name, other in novels.items() if name != held_out])
        longest = np.array([found.longest for found in spans])
        total = sum(map(len, pieces))
        covered = [sum(int(found.find_covered(least).sum()) for found in spans) / total for least in (5, 8, 13)]
        yield (
            f"| {held_out} | {longest.mean():.1f} | {np.quantile(longest, 0.99):.0f} | {longest.max()} | "
            + " | ".join(f"{100 * share:.2f} %" for share in covered)
            + f" | {100 * (longest >= 13).mean():.1f} % |"
        )


def measure_names(novels: Mapping[str, str], others: Mapping[str, Sequence[Section]]) -> Iterator[str]:
    """Measure names of the other five novels in 80-word pieces of each, with and without other authors to compare."""
    for held_out, text in novels.items():
        words = text.split()
        real = [" ".join(words[start : start + 80]) for start in range(0, len(words) - 80, 80)]
        training = [other for name, other in novels.items() if name != held_out]
        floors = [
            compute_name_leak([("x", "")], find_names(training, others=contrast), real=real).floor
            for contrast in ([section.text for section in others["train"]], [])
        ]
        yield f"| {held_out} | " + " | ".join(f"{100 * floor:.0f} %" for floor in floors) + " |"


def measure_pools(novels: Mapping[str, str], others: Mapping[str, Sequence[Section]]) -> Iterator[str]:
    """Measure Delta of every novel's pools, fitted to the other five and the contrast authors, by pool size."""
    unseen = [*others["val"], *others["test"]]
    for size in POOL_SIZES:
        own: list[Distances] = []
        foreign: list[Distances] = []
        for held_out, text in novels.items():
            pools = dict(cut_pools_by_author(others["train"], words=size))
            pools[AUTHOR] = [
                p for name, other in novels.items() if name != held_out for p in cut_pools([other], words=size)
            ]
            model = fit_delta(pools, author=AUTHOR)
            own += [measure_delta(model, pool) for pool in cut_pools([text], words=size)]
            foreign += [
                measure_delta(model, pool)
                for found in cut_pools_by_author(unseen, words=size).values()
                for pool in found
            ]
        to_own = np.array([distances.own for distances in own])
        nearest = np.array([distances.nearest for distances in own])
        limit = np.quantile(to_own, 0.95)
        turned_away = [not distances.is_own for distances in foreign]
        too_far = [not (distances.is_own and distances.own <= limit) for distances in foreign]
        yield (
            f"| {size:,} | {np.mean(to_own < nearest):.3f} | {to_own.mean():.2f} | {limit:.2f} | "
            f"{nearest.mean():.2f} | {np.quantile(nearest, 0.05):.2f} | {np.mean(turned_away):.2f} | "
            f"{np.mean(too_far):.2f} |"
        )


def main() -> None:
    """Print the tables."""
    novels, others = load_texts()
    for title, rows in (
        ("copying, words", measure_copying(novels, read_words)),
        ("copying, words and punctuation marks", measure_copying(novels, read_words_and_marks)),
        ("names", measure_names(novels, others)),
        ("Delta", measure_pools(novels, others)),
    ):
        print(f"\n{title}", *rows, sep="\n")


if __name__ == "__main__":
    main()
