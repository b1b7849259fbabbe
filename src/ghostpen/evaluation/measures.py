"""What is measured of a test's texts where no model is needed: which texts each measure is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ghostpen.config import RunConfig
from ghostpen.data.sections import Section
from ghostpen.evaluation.copying import Sample
from ghostpen.evaluation.copying_report import CopyingReport, build_copying_report
from ghostpen.evaluation.specificity import MODEL_LABELS, ModelLabel
from ghostpen.evaluation.style_report import build_style_report
from ghostpen.evaluation.style_shape import Losses, StyleReport
from ghostpen.evaluation.texts import Texts
from ghostpen.evaluation.written import Written
from ghostpen.score import Score
from ghostpen.training.samples_file import read_continuations

SAMPLES = "samples/after.txt"
Writer = ModelLabel | Literal["real"]
WRITERS: tuple[Writer, ...] = (*MODEL_LABELS, "real")


def measure_copying(config: RunConfig, *, texts: Texts, written: Sequence[Written]) -> CopyingReport | None:
    """Measure what the author's adapter copies: in its written set, else in the samples after its training.

    None where there is neither.
    """
    samples = [Sample(one.text, prompt=one.prompt) for one in written if one.model == "author"]
    continued, other = texts.test, texts.validation
    if not samples:
        continued, other = other, continued
        samples = [
            Sample(after, prompt=beginning) for beginning, after in read_continuations(config.run_dir / SAMPLES)
        ]
    if not samples:
        return None
    return build_copying_report(
        samples, training=texts.training, continued=continued, held_out=other, others=texts.others_training
    )


def measure_style(
    written: Sequence[Written],
    *,
    texts: Texts,
    author: str,
    scores: Mapping[tuple[ModelLabel, str], Sequence[Score]],
) -> StyleReport | None:
    """Measure the style of what was written; None where that is nothing.

    Args:
        scores: with the control's of the texts that `list_continuations` gives.
    """
    if not written:
        return None
    losses: Losses = {
        who: [score.bits_per_byte for score in scores["control", who]]
        for who in WRITERS
        if ("control", who) in scores
    }
    return build_style_report(
        written,
        author=author,
        training=texts.training,
        validation=texts.validation,
        test=texts.test,
        others_training=texts.others_training,
        others_test=texts.others_test,
        losses=losses,
    )


def list_continuations(written: Sequence[Written]) -> dict[Writer, list[Section]]:
    """List what stands where the author's text was held out, by who wrote it: a model, or the author ("real").

    In the form of sections, to be scored; a text without a word is left out, and so is who wrote none.
    """
    continuations = [one for one in written if one.kind == "continuation"]
    found: dict[Writer, list[str]] = {
        label: [one.text for one in continuations if one.model == label] for label in MODEL_LABELS
    }
    found["real"] = [one.real or "" for one in continuations if one.model == MODEL_LABELS[0]]
    sections = {
        who: [Section(text, who, who, 0, False, False) for text in texts if text.strip()]
        for who, texts in found.items()
    }
    return {who: listed for who, listed in sections.items() if listed}
