"""Measure what real, unseen text scores by the style measures: the tables of docs/style.md.

    .venv/bin/python tools/style_floors.py               # ten minutes, on the sample texts
    .venv/bin/python tools/style_floors.py delta rhythm  # some of the tables

Each of Austen's novels is held out in turn; the other five are the training text.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ghostpen.data.ngrams import normalise, read_words
from ghostpen.data.sections import Section
from ghostpen.evaluation.c2st import Auc, prove_c2st
from ghostpen.evaluation.delta import Distances, fit_delta, measure_delta
from ghostpen.evaluation.names import compute_name_leak, find_names
from ghostpen.evaluation.pieces import Piece, cut_sections
from ghostpen.evaluation.pools import POOL_WORDS, cut_pools, cut_pools_by_author
from ghostpen.evaluation.rhythm import LABELS, cut_blocks, find_abbreviations, measure_block
from ghostpen.evaluation.spans import find_shared_spans
from ghostpen.evaluation.verifier import Verifier, VerifierProof, compute_proof, fit_verifier

TEXTS = Path(__file__).parents[1] / "src/ghostpen/assets/texts"
AUTHOR = "austen"
SAMPLE_WORDS = 400
POOL_SIZES = (500, 1000, 2000, 5000)
PIECE_WORDS = (100, 200, 400, 1000)
CHAPTER_WORDS = 3_000


def load_texts() -> tuple[dict[str, str], dict[str, list[Section]]]:
    """Return Austen's novels by name, and the other authors' works by split, whole, each as one section."""
    with zipfile.ZipFile(TEXTS / "austen.zip") as opened:
        novels = {Path(name).stem: opened.read(name).decode() for name in opened.namelist() if name.endswith(".txt")}
    works: dict[tuple[str, str, str], list[str]] = {}
    with zipfile.ZipFile(TEXTS / "contrast.zip") as opened:
        for name in opened.namelist():
            if name.count("/") == 2 and name.endswith(".txt"):
                split, author, document = name.removesuffix(".txt").split("/")
                work = document.partition("-ch0")[0]  # some files are chapters of one
                works.setdefault((split, author, work), []).append(opened.read(name).decode())
    others: dict[str, list[Section]] = {}
    for (split, author, work), chapters in works.items():
        others.setdefault(split, []).append(Section("\n\n".join(chapters), author, work, 0, True, True))
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
        whole = Section(text, AUTHOR, held_out, 0, True, True)
        real = [piece.text for piece in cut_sections([whole], words=80)]
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


def cut_chapters(text: str, author: str, document: str) -> list[Section]:
    """Cut a work into sections of equal length; the sample texts are not all in chapters."""
    pools = cut_pools([text], words=CHAPTER_WORDS)
    return [Section(pool, author, document, place, False, False) for place, pool in enumerate(pools)]


def cut_others(others: Mapping[str, Sequence[Section]], *splits: str) -> list[Section]:
    """Cut other authors' works into sections, each by itself."""
    return [
        chapter
        for split in splits
        for work in others[split]
        for chapter in cut_chapters(work.text, work.author, work.document)
    ]


def fit(own: Sequence[Section], others: Sequence[Section], *, words: int) -> Verifier:
    """Fit a verifier to sections."""
    return fit_verifier(cut_sections(own, words=words), cut_sections(others, words=words), words=words)


def measure_verifier(novels: Mapping[str, str], others: Mapping[str, Sequence[Section]]) -> Iterator[str]:
    """Measure the verifier on every novel in turn, and on authors that it does not know, by the pieces' length."""
    chapters = {name: cut_chapters(text, AUTHOR, name) for name, text in novels.items()}
    known, strangers = cut_others(others, "train"), cut_others(others, "val", "test")
    for words in PIECE_WORDS:
        proofs: dict[str, VerifierProof] = {}
        raw: list[VerifierProof] = []
        anne: list[float] = []
        for held_out in novels:
            training = [section for name, found in chapters.items() if name != held_out for section in found]
            verifier = fit(training, known, words=words)
            pieces = cut_sections(strangers, words=words)
            own = verifier.score([piece.text for piece in cut_sections(chapters[held_out], words=words)])
            foreign = verifier.score([piece.text for piece in pieces])
            proofs[held_out] = compute_proof(own, foreign)
            raw.append(compute_proof(own - verifier.intercept, foreign - verifier.intercept))
            anne.append(float(np.mean([f >= 0 for f, p in zip(foreign, pieces, strict=True) if "anne" in p.author])))
        found = list(proofs.values())
        worst = min(proofs, key=lambda name: proofs[name].accepted)
        yield (
            f"| {words:,} | {np.mean([p.auc for p in found]):.3f} ({min(p.auc for p in found):.3f}) | "
            f"{100 * np.mean([p.accepted for p in found]):.0f} % ({100 * proofs[worst].accepted:.0f} %: {worst}) | "
            f"{100 * np.mean([p.false_accepts for p in found]):.1f} % | {100 * np.mean(anne):.0f} % | "
            f"{np.mean([p.c_at_1 for p in found]):.2f} | {np.mean([p.brier for p in found]):.3f} | "
            f"{100 * np.mean([p.accepted for p in raw]):.0f} % / "
            f"{100 * np.mean([p.false_accepts for p in raw]):.0f} % |"
        )


def measure_c2st(novels: Mapping[str, str], others: Mapping[str, Sequence[Section]]) -> Iterator[str]:
    """Measure the two-sample test's scale, Persuasion and Emma held out, by the pieces' length and number."""
    chapters = {name: cut_chapters(text, AUTHOR, name) for name, text in novels.items()}
    held_out = [section for name in ("persuasion", "emma") for section in chapters.pop(name)]
    training = [section for found in chapters.values() for section in found]
    kept = fit(training, cut_others(others, "train"), words=SAMPLE_WORDS).kept

    def render(auc: Auc) -> str:
        return f"{auc.auc:.2f} [{auc.low:.2f}, {auc.high:.2f}]"

    for words in PIECE_WORDS[:3]:
        for texts in (50, 100, 200):
            scale = prove_c2st(
                cut_sections(held_out, words=words),
                training=cut_sections(training, words=words),
                others=cut_sections(cut_others(others, "test"), words=words),
                texts=texts,
                kept=kept,
                seed=0,
            )
            row = (render(auc) for auc in (scale.floor, scale.other_work, scale.others))
            yield f"| {words} | {scale.texts} | " + " | ".join(row) + " |"


def measure_rhythm(novels: Mapping[str, str], others: Mapping[str, Sequence[Section]]) -> Iterator[str]:
    """Measure the band of running text and of 400-word pieces, and how far off novels and strangers are."""
    abbreviations = find_abbreviations(list(novels.values()))

    def measure(pieces: Sequence[Piece]) -> list[dict[str, float]]:
        return [
            measure_block(block, abbreviations=abbreviations)
            for block in cut_blocks(pieces, words=POOL_WORDS, seed=0)
        ]

    scattered = {
        name: measure(cut_sections(cut_chapters(text, AUTHOR, name), words=SAMPLE_WORDS))
        for name, text in novels.items()
    }
    running = {
        name: [measure_block([pool], abbreviations=abbreviations) for pool in cut_pools([text])]
        for name, text in novels.items()
    }
    foreign = measure(cut_sections(cut_others(others, "val", "test"), words=SAMPLE_WORDS))
    for name, label in LABELS.items():
        off = {}
        for held_out in novels:
            band = [found[name] for novel, blocks in scattered.items() if novel != held_out for found in blocks]
            mean = np.mean([found[name] for found in scattered[held_out]])
            off[held_out] = (mean - np.mean(band)) / np.std(band, ddof=1)
        furthest = max(off, key=lambda novel: abs(off[novel]))
        bands = [
            np.array([found[name] for blocks in kind.values() for found in blocks]) for kind in (running, scattered)
        ]
        z = (np.array([found[name] for found in foreign]) - bands[1].mean()) / bands[1].std(ddof=1)
        yield (
            f"| {label} | "
            + " | ".join(f"{band.mean():.3f} ± {band.std(ddof=1):.3f}" for band in bands)
            + f" | {off[furthest]:+.1f} ({furthest}) | {z.mean():+.1f} | {100 * (abs(z) > 2).mean():.0f} % |"
        )


def main() -> None:
    """Print the tables."""
    novels, others = load_texts()
    for title, rows in (
        ("copying, words", measure_copying(novels, read_words)),
        ("copying, words and punctuation marks", measure_copying(novels, read_words_and_marks)),
        ("names", measure_names(novels, others)),
        ("delta", measure_pools(novels, others)),
        ("verifier", measure_verifier(novels, others)),
        ("c2st", measure_c2st(novels, others)),
        ("rhythm", measure_rhythm(novels, others)),
    ):
        if title.split(",")[0] in (sys.argv[1:] or [title.split(",")[0]]):
            print(f"\n{title}", *rows, sep="\n", flush=True)


if __name__ == "__main__":
    main()
