"""Looking for copies: ghostpen beside Python's difflib and sets of n-grams, on 11 MB of text and 100,000 words.

    .venv/bin/python benchmarks/copying.py    # two minutes; prints a table and appends to results/copying.jsonl

What is looked for: of every 400-word sample the longest span that it shares with the text, and how much of it is in
spans of 5, 8 and 13 words. The samples are Emma's first 250 pieces; the text is all other sample texts, and the same
again with its words shuffled, because there is no more. All sides get the words, and the answers must be the same.
Seconds are of CPU time, so that what else the machine does counts for no side; each side uses one thread.
    ours     evaluation.spans: all suffixes sorted at once; every span of every length
    difflib  SequenceMatcher.find_longest_match, without its heuristic: the longest span alone. It takes minutes for
             all, so it gets the first few samples, and its time is that of as many words
    sets     a set of all n-grams of the text for n = 5, 8 and 13: how much is covered, no longest span
"""

from __future__ import annotations

import argparse
import datetime
import difflib
import os
import random
import statistics
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from materials import ROOT
from peers import read_cpu
from processes import append_line, summarise_ratios
from rich.console import Console
from rich.progress import track

from ghostpen.data.ngrams import read_words
from ghostpen.evaluation.spans import find_shared_spans

RESULTS = Path(__file__).parent / "results/copying.jsonl"
TEXTS = ROOT / "src/ghostpen/assets/texts"
SAMPLE_WORDS = 400
LENGTHS = (5, 8, 13)


def load_words(*, samples: int, seed: int = 0) -> tuple[list[list[str]], list[list[str]], int]:
    """Return samples and sources as words, and the sources' size in bytes."""
    texts = {}
    for archive in ("austen.zip", "contrast.zip"):
        with zipfile.ZipFile(TEXTS / archive) as opened:
            texts |= {name: opened.read(name).decode() for name in opened.namelist() if name.endswith(".txt")}
    emma = read_words(texts.pop("emma.txt"))
    rng = random.Random(seed)
    sources = [read_words(text) for text in texts.values()]
    sources += [rng.sample(words, len(words)) for words in sources]
    size_bytes = 2 * sum(len(text.encode()) for text in texts.values())
    return [emma[n * SAMPLE_WORDS : (n + 1) * SAMPLE_WORDS] for n in range(samples)], sources, size_bytes


def measure_ours(samples: Sequence[Sequence[str]], sources: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Find all spans."""
    start = time.process_time()
    found = find_shared_spans(samples, sources)
    longest = [spans.longest for spans in found]
    covered = [sum(int(spans.find_covered(least).sum()) for spans in found) for least in LENGTHS]
    return {"seconds": time.process_time() - start, "longest": longest, "covered": covered}


def measure_difflib(samples: Sequence[Sequence[str]], sources: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Find the longest span of each sample; the text's words are looked up once, as difflib's manual advises."""
    start = time.process_time()
    joined = [word for source in sources for word in [*source, "\n"]]  # no word is a line break
    matcher = difflib.SequenceMatcher(None, "", joined, autojunk=False)
    longest = []
    for sample in samples:
        matcher.set_seq1(sample)
        longest.append(matcher.find_longest_match().size)
    return {"seconds": time.process_time() - start, "longest": longest}


def measure_sets(samples: Sequence[Sequence[str]], sources: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Count the covered words."""
    start = time.process_time()
    covered = []
    for length in LENGTHS:
        known = {ngram for source in sources for ngram in zip(*(source[n:] for n in range(length)), strict=False)}
        total = 0
        for sample in samples:
            places: set[int] = set()
            for place, ngram in enumerate(zip(*(sample[n:] for n in range(length)), strict=False)):
                if ngram in known:
                    places.update(range(place, place + length))
            total += len(places)
        covered.append(total)
    return {"seconds": time.process_time() - start, "covered": covered}


def measure(*, samples: int, difflib_samples: int, repetitions: int) -> dict[str, Any]:
    """Measure all sides on the same words in turns, and make it a line of the results file.

    Raises:
        SystemExit: two sides do not agree.
    """
    texts, sources, size_bytes = load_words(samples=samples)
    seconds: dict[str, list[float]] = {side: [] for side in ("ours", "difflib", "sets")}
    for _ in track(range(repetitions), "looking for copies", console=Console(stderr=True)):
        ours = measure_ours(texts, sources)
        sets = measure_sets(texts, sources)
        slow = measure_difflib(texts[:difflib_samples], sources)
        if slow["longest"] != ours["longest"][:difflib_samples] or sets["covered"] != ours["covered"]:
            raise SystemExit(f"error: the sides do not agree: {ours}, {sets}, {slow}")
        seconds["ours"].append(ours["seconds"])
        seconds["sets"].append(sets["seconds"])
        seconds["difflib"].append(slow["seconds"] * samples / difflib_samples)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu_seconds": {side: round(statistics.median(each), 2) for side, each in seconds.items()},
        "speed_ours_over_peer": {
            peer: summarise_ratios([its / own for own, its in zip(seconds["ours"], seconds[peer], strict=True)])
            for peer in ("difflib", "sets")
        },
        "repetitions": repetitions,
        "text_bytes": size_bytes,
        "text_words": sum(map(len, sources)),
        "sample_words": sum(map(len, texts)),
        "difflib_samples": difflib_samples,
        "longest": max(ours["longest"]),
        "covered_share": [round(count / sum(map(len, texts)), 5) for count in ours["covered"]],
        "cpu": read_cpu(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def render_table(line: dict[str, Any]) -> str:
    """Render a line of the results file for a terminal."""
    rows = [f"{line['sample_words']:,} words against {line['text_bytes'] / 1e6:.1f} MB"]
    rows += [f"{side:8}{seconds:>9.1f} s" for side, seconds in line["cpu_seconds"].items()]
    rows += [
        f"{side} takes {ratio['median']} times as long as ours ({ratio['lowest']} to {ratio['highest']})"
        for side, ratio in line["speed_ours_over_peer"].items()
    ]
    return "\n".join(rows)


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=250, help="of 400 words")
    parser.add_argument("--difflib-samples", type=int, default=3, help="of these, for difflib")
    parser.add_argument("--repetitions", type=int, default=5, help="of every side")
    parser.add_argument("--no-record", action="store_true", help="print only; append nothing")
    options = parser.parse_args()
    if not 1 <= options.difflib_samples <= options.samples <= 396:
        parser.error("--samples: 1 to 396, which is all of Emma; --difflib-samples: of these")
    line = measure(samples=options.samples, difflib_samples=options.difflib_samples, repetitions=options.repetitions)
    print(render_table(line))
    if not options.no_record:
        append_line(line, RESULTS)


if __name__ == "__main__":
    main()
