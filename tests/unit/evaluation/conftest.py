import copy
import math
import zipfile
from pathlib import Path

import pytest
from tests.reports import PROTOCOL

from ghostpen.data.sections import Section
from ghostpen.evaluation.pools import cut_pools
from ghostpen.evaluation.report import build_report
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.specificity import ModelLabel, SectionScores
from ghostpen.score import Score

TEXTS = Path(__file__).parents[3] / "src/ghostpen/assets/texts"
AUSTEN = "Jane Austen"

# Bits per byte of each model; six sections of 100 to 600 bytes, 2,100 in all, 25 tokens in each 100 bytes.
AUTHOR_BITS: dict[ModelLabel, float] = {"base": 2.0, "prompted": 1.95, "control": 1.9, "author": 1.8}
OTHERS_BITS: dict[ModelLabel, float] = {"base": 2.0, "prompted": 2.05, "control": 1.9, "author": 1.88}


def build_text(bits_per_byte: dict[ModelLabel, float], *, sections: int = 6) -> SectionScores:
    return {
        label: [
            Score(loss_nats=bits * math.log(2) * 100 * n, tokens=25 * n, size_bytes=100 * n)
            for n in range(1, sections + 1)
        ]
        for label, bits in bits_per_byte.items()
    }


@pytest.fixture
def report() -> Report:
    """G_A = 1.9 - 1.8 = 0.1, G_O = 1.9 - 1.88 = 0.02, S = 0.08, the same in every section."""
    return build_report(
        build_text(AUTHOR_BITS),
        others_scores=build_text(OTHERS_BITS),
        author="Jane Austen",
        author_parts=["emma"] * 6,
        others_parts=["irving", "irving", "irving", "bronte", "bronte", "bronte"],
        author_words=[20 * n for n in range(1, 7)],  # a word of 5 bytes
        others_words=[20 * n for n in range(1, 7)],
        protocol=copy.deepcopy(PROTOCOL),
        resamples=100,
        seed=3,
    )


@pytest.fixture(scope="session")
def real_texts() -> dict[str, list[Section]]:
    """The sample texts as sections of 3,000 words: four of Austen's novels to train on, two held out; others'."""
    with zipfile.ZipFile(TEXTS / "austen.zip") as opened:
        novels = {
            name.removesuffix(".txt"): opened.read(name).decode()
            for name in opened.namelist()
            if name.endswith(".txt")
        }
    others: dict[str, list[Section]] = {}
    works: dict[tuple[str, str, str], list[str]] = {}
    with zipfile.ZipFile(TEXTS / "contrast.zip") as opened:
        for name in opened.namelist():
            if name.count("/") == 2:
                split, author, document = name.split("/")
                work = document.partition("-ch0")[0].removesuffix(".txt")  # some are chapters of one
                works.setdefault((split, author, work), []).append(opened.read(name).decode())
    for (split, author, work), chapters in works.items():
        others.setdefault(split, []).extend(cut_chapters("\n\n".join(chapters), author, work))
    held_out = {name: cut_chapters(novels.pop(name), AUSTEN, name) for name in ("persuasion", "emma")}
    return {
        "training": [section for name, text in novels.items() for section in cut_chapters(text, AUSTEN, name)],
        "validation": held_out["persuasion"],
        "test": held_out["emma"],
        "others_training": others["train"],
        "others_test": others["test"],
    }


def cut_chapters(text: str, author: str, document: str) -> list[Section]:
    pools = cut_pools([text], words=3_000)
    return [Section(pool, author, document, place, False, False) for place, pool in enumerate(pools)]
