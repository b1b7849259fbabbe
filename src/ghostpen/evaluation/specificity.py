"""Is an adapter's gain about its author, or about prose in general?

Owns the difference in differences between the author's adapter, its control and two held-out texts, with
bootstrap intervals. Works on lists of `Score` and must not know models, files or pictures.

    G_A = bits per byte of the control - of the author's adapter, on the author's held-out text
    G_O = the same on other authors' held-out text
    S   = G_A - G_O, the specificity

A fall in perplexity alone proves nothing: any adapter trained on novels predicts novels better. The control
has the same steps, tokens and rank, so G_A leaves that out; G_O leaves out what one training run happened to
learn better than the other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ghostpen.errors import DataError, NothingCountedError
from ghostpen.evaluation.arrays import FloatArray
from ghostpen.score import Score

ModelLabel = Literal["base", "prompted", "control", "author"]
"""The base model, the base with passages of the author before each window, and the two adapters."""
MODEL_LABELS: tuple[ModelLabel, ...] = ("base", "control", "author")
SCORED_LABELS: tuple[ModelLabel, ...] = ("base", "prompted", "control", "author")
MODEL_NAMES: Mapping[str, str] = {"base": "base model", "author": "adapter"}
SectionScores = Mapping[ModelLabel, Sequence[Score]]
"""One list of scores for each model, all aligned: place i is section i of the same text."""

CONFIDENCE_LEVEL = 0.95
MIN_SECTIONS = 5
"""Below this no interval is given: a bootstrap of so few units is far too narrow to be believed."""


def name_model(label: str, *, brief: bool = False) -> str:
    """Name a model for people; in brief where it is plain that models are meant."""
    name = MODEL_NAMES.get(label, label)
    return name.removesuffix(" model") if brief else name


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; the bounds are None where there were too few sections for one."""

    estimate: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Specificity:
    """G_A, G_O and S = G_A - G_O in bits per byte; positive G means that the author's adapter is better."""

    g_a: Interval
    g_o: Interval
    s: Interval
    resamples: int
    seed: int


def compute_specificity(
    author: SectionScores, others: SectionScores, *, resamples: int = 2000, seed: int = 0
) -> Specificity:
    """Compute G_A, G_O and S, with percentile bootstrap intervals over sections.

    Sections are drawn within each of the two groups, and one draw serves both models: the interval is that
    of a paired difference, so easy and hard chapters cancel out. It tells how S would move with other
    chapters of these documents; not with another training seed, nor with other authors in the contrast.

    Args:
        author: scores on the author's held-out sections; needs "control" and "author".
        others: the same models' scores on the other authors' held-out sections.
        resamples: bootstrap draws.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        DataError: a model's scores are missing, or are not of the same sections as another's.
        NothingCountedError: there is no section, or one without a counted token.

    Source:
        Percentile bootstrap: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    check_aligned(author, text="the author's test split", models=("control", "author"))
    check_aligned(others, text="the other authors' test split", models=("control", "author"))
    author_stream, others_stream = np.random.default_rng(seed).spawn(2)
    gains_a = _resample_gains(author["control"], author["author"], resamples=resamples, rng=author_stream)
    gains_o = _resample_gains(others["control"], others["author"], resamples=resamples, rng=others_stream)
    gain_a = _compute_pooled_gain(author["control"], author["author"])
    gain_o = _compute_pooled_gain(others["control"], others["author"])
    sections = min(len(author["author"]), len(others["author"]))
    return Specificity(
        g_a=build_interval(gain_a, draws=gains_a, sections=len(author["author"])),
        g_o=build_interval(gain_o, draws=gains_o, sections=len(others["author"])),
        s=build_interval(gain_a - gain_o, draws=gains_a - gains_o, sections=sections),
        resamples=resamples,
        seed=seed,
    )


def compute_gain(
    scores: SectionScores, *, reference: ModelLabel, model: ModelLabel, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Compute the bits per byte that `model` saves against `reference` on one text, paired by section.

    Raises:
        DataError: a model's scores are missing, or are not of the same sections as the other's.
        NothingCountedError: there is no section, or one without a counted token.
    """
    check_aligned(scores, text="the test split", models=(reference, model))
    draws = _resample_gains(scores[reference], scores[model], resamples=resamples, rng=np.random.default_rng(seed))
    estimate = _compute_pooled_gain(scores[reference], scores[model])
    return build_interval(estimate, draws=draws, sections=len(scores[model]))


def compute_bits(scores: Sequence[Score], *, resamples: int = 2000, seed: int = 0) -> Interval:
    """Compute a model's bits per byte on one text, with the percentile bootstrap interval over sections.

    Raises:
        NothingCountedError: there is no section, or one without a counted token.
    """
    nothing = [Score(0.0, score.tokens, score.size_bytes) for score in scores]
    check_aligned({"base": scores}, text="the test split", models=("base",))
    draws = _resample_gains(scores, nothing, resamples=resamples, rng=np.random.default_rng(seed))
    return build_interval(_compute_pooled_gain(scores, nothing), draws=draws, sections=len(scores))


def check_aligned(scores: SectionScores, *, text: str, models: Sequence[ModelLabel] = MODEL_LABELS) -> None:
    """Refuse scores that are missing, empty, or not of the same sections for each of the models.

    Args:
        scores: of each model, one per section.
        text: what the sections are, for the message.
        models: those whose scores are needed.

    Raises:
        DataError: a model's scores are missing, or two models counted different tokens or bytes.
        NothingCountedError: there is no section, or one without a counted token.
    """
    missing = [model for model in models if model not in scores]
    if missing:
        raise DataError(f"{text}: no scores of the {missing[0]} model; score {', '.join(models)} on it")
    first, *rest = models
    if not scores[first]:
        raise NothingCountedError(f"{text} has no section; prepare the data with more text")
    for index, score in enumerate(scores[first]):
        if score.tokens == 0 or score.size_bytes == 0:
            raise NothingCountedError(f"{text}: section {index} has no counted token; leave it out")
    for model in rest:
        _check_same_sections(scores[first], scores[model], text=text, names=(first, model))


def _check_same_sections(left: Sequence[Score], right: Sequence[Score], *, text: str, names: tuple[str, str]) -> None:
    if len(left) != len(right):
        raise DataError(
            f"{text}: {len(left)} sections were scored with {names[0]} and {len(right)} with {names[1]}; "
            "score every model on the same sections"
        )
    for index, (one, other) in enumerate(zip(left, right, strict=True)):
        if (one.tokens, one.size_bytes) != (other.tokens, other.size_bytes):
            raise DataError(
                f"{text}: section {index} has {one.tokens} tokens and {one.size_bytes} bytes with {names[0]} "
                f"but {other.tokens} and {other.size_bytes} with {names[1]}; score every model on the same "
                "sections with the same tokenizer"
            )


def _compute_pooled_gain(reference: Sequence[Score], model: Sequence[Score]) -> float:
    saved_nats = math.fsum(one.loss_nats - two.loss_nats for one, two in zip(reference, model, strict=True))
    return saved_nats / (math.log(2) * sum(score.size_bytes for score in model))


def _resample_gains(
    reference: Sequence[Score], model: Sequence[Score], *, resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Return the pooled gain of each bootstrap draw of sections, shape (resamples,).

    Drawing n sections with replacement is drawing how often each occurs: a multinomial, and one matrix
    product instead of a loop.
    """
    saved_nats = np.array([one.loss_nats - two.loss_nats for one, two in zip(reference, model, strict=True)])
    size_bytes = np.array([score.size_bytes for score in model], dtype=np.float64)
    sections = len(size_bytes)
    times_drawn = rng.multinomial(sections, np.full(sections, 1 / sections), size=resamples).astype(np.float64)
    gains: FloatArray = (times_drawn @ saved_nats) / (math.log(2) * (times_drawn @ size_bytes))
    return gains


def build_interval(estimate: float, *, draws: FloatArray, sections: int) -> Interval:
    """Build the percentile interval of bootstrap draws; with fewer than MIN_SECTIONS sections there is none."""
    if sections < MIN_SECTIONS:
        return Interval(estimate=estimate, low=None, high=None)
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(estimate=estimate, low=float(low), high=float(high))
