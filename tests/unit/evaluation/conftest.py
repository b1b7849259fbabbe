import copy
import math
import runpy
from pathlib import Path

import pytest
from tests.reports import PROTOCOL

from ghostpen.data.sections import Section
from ghostpen.evaluation.report import build_report
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.specificity import ModelLabel, SectionScores
from ghostpen.score import Score

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
        prompt={"passages": 3, "tokens": 120},
        tokenizer_sha256="4" * 64,
        resamples=100,
        seed=3,
    )


@pytest.fixture(scope="session")
def real_texts() -> dict[str, list[Section]]:
    """The sample texts as docs/style.md's tables have them: four of Austen's novels to train on, two held out."""
    floors = runpy.run_path(str(Path(__file__).parents[3] / "tools/style_floors.py"))
    novels, others = floors["load_texts"]()
    own = {name: floors["cut_chapters"](text, AUSTEN, name) for name, text in novels.items()}
    validation, test = own.pop("persuasion"), own.pop("emma")
    return {
        "training": [section for sections in own.values() for section in sections],
        "validation": validation,
        "test": test,
        "others_training": floors["cut_others"](others, "train"),
        "others_test": floors["cut_others"](others, "test"),
    }
