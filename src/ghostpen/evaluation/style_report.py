"""The report's part about style: what each model wrote, beside what the author and others wrote.

Owns that part's shape in report.json and its table. Every metric is proved on real text first; where that, or the
written text, is too little, there is one sentence instead of numbers. Must not know models or files.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, final

from ghostpen.data.sections import Section
from ghostpen.evaluation.specificity import ModelLabel
from ghostpen.evaluation.written import Written

Losses = Mapping[ModelLabel | Literal["real"], Sequence[float]]
"""Bits per byte of each continuation under the control, by who wrote it; "real" is the author's text for the same
prompts. Lists of continuations alone, in the order of `written`."""


@final
class Refusal(TypedDict):
    """Why there are no numbers, in one sentence."""

    refusal: str


class TextsJson(TypedDict):
    """What one model wrote."""

    continuations: int
    topics: int
    words: int


class VerifierProofJson(TypedDict):
    """The verifier on real text that it was not fitted to, in pieces as long as the samples.

    author_pieces, other_pieces: how many; accepted: share of the author's that it takes for the author's;
    false_accepts: share of other authors' that it does; unanswered: share that it leaves open for c_at_1.
    """

    author_pieces: int
    other_pieces: int
    auc: float
    accepted: float
    false_accepts: float
    c_at_1: float
    unanswered: float
    brier: float


class AcceptedJson(TypedDict):
    """How many of a model's texts the verifier takes for the author's: a share and its 95 % interval (Wilson).

    normalised: 0 is the base model's share, 1 that of real unseen text; null for the base itself, and where those two
    are too near to each other. too_short: texts left out because they are less than half of a piece.
    """

    texts: int
    too_short: int
    accepted: float
    low: float
    high: float
    normalised: float | None


class AcceptedByKindJson(TypedDict):
    """Of continuations and of texts on new topics; null where there is none long enough."""

    continuations: AcceptedJson | None
    topics: AcceptedJson | None


class VerifierJson(TypedDict):
    """Masked words: only the kept_words most frequent ones that all authors use, and punctuation, are seen."""

    piece_words: int
    kept_words: int
    real: VerifierProofJson
    models: dict[ModelLabel, AcceptedByKindJson]


class AucJson(TypedDict):
    """An AUC with its 95 % interval over sections."""

    auc: float
    low: float
    high: float


class C2stModelJson(AucJson):
    """AUC of a classifier that is to tell continuations from what the author wrote there; 0.5 is: it can't."""

    texts: int


class C2stJson(TypedDict):
    """The same classifier on real text gives the scale, each with its 95 % interval over sections.

    floor: the author's text against other pieces of the same works; other_work: against the author's training works;
    others: against other authors.
    """

    piece_words: int
    floor: AucJson
    other_work: AucJson
    others: AucJson
    models: dict[ModelLabel, C2stModelJson | Refusal]


class DeltaProofJson(TypedDict):
    """As `delta.DeltaCeiling`, of real unseen pools."""

    own_pools: int
    other_pools: int
    recognised: float
    rejected: float
    own_95: float


class DeltaModelJson(TypedDict):
    """As `delta.DeltaReport`: mean distance of a model's pools to the author, and to the nearest other author."""

    pools: int
    own: float
    nearest: float
    recognised: float


class DeltaJson(TypedDict):
    """Cosine Delta of pools of pool_words words."""

    pool_words: int
    real: DeltaProofJson
    models: dict[ModelLabel, DeltaModelJson | Refusal]


class MeasuredJson(TypedDict):
    """A value, and how far it is from the author's mean in the author's standard deviations."""

    value: float
    z: float


class RhythmMeasureJson(TypedDict):
    """One measure: `label` is for people; mean and deviation are of blocks of the author's training text.

    held_out and others are real text that the band does not know: the author's (should be within 2) and others'.
    """

    name: str
    label: str
    mean: float
    deviation: float
    held_out: MeasuredJson
    others: MeasuredJson
    models: dict[ModelLabel, MeasuredJson]


class RhythmJson(TypedDict):
    """Diversity and sentence rhythm of blocks of block_words words, made of pieces as long as the samples."""

    block_words: int
    real_blocks: int
    blocks: dict[ModelLabel, int]
    measures: list[RhythmMeasureJson]


class RegularityModelJson(TypedDict):
    """Bits per byte under the control: mean and deviation over texts, and z of their difference to real text's."""

    texts: int
    mean: float
    deviation: float
    z_mean: float
    z_deviation: float


class RegularityJson(TypedDict):
    """Machine text is too even: its deviation is smaller than real text's (z_deviation below -2)."""

    texts: int
    mean: float
    deviation: float
    models: dict[ModelLabel, RegularityModelJson | Refusal]


class MapPoint(TypedDict):
    """A pool of text in the style map: a work of the author's or another's, or what a model wrote."""

    who: Literal["author", "base", "control", "real", "other"]
    name: str
    x: float
    y: float


class MapJson(TypedDict):
    """Two axes with names in plain words, each naming its two ends' direction, such as "sounds like Austen"."""

    x_axis: str
    y_axis: str
    pool_words: int
    points: list[MapPoint]


class StyleReport(TypedDict):
    """By metric either numbers or why there are none."""

    author: str
    seed: int
    texts: dict[ModelLabel, TextsJson]
    verifier: VerifierJson | Refusal
    c2st: C2stJson | Refusal
    delta: DeltaJson | Refusal
    rhythm: RhythmJson | Refusal
    regularity: RegularityJson | Refusal
    map: MapJson | Refusal


def build_style_report(
    written: Sequence[Written],
    *,
    author: str,
    training: Sequence[Section],
    validation: Sequence[Section],
    test: Sequence[Section],
    others_training: Sequence[Section],
    others_test: Sequence[Section],
    losses: Losses | None = None,
    seed: int = 0,
) -> StyleReport:
    """Build the report; the same texts and seed give the same numbers.

    Args:
        written: by all models.
        author: the author's name, as it is to be printed.
        training: the author's sections that the adapter was trained on.
        validation: the author's held-out sections.
        test: the author's other held-out sections.
        others_training: other authors' sections, such as the control was trained on.
        others_test: sections of yet other authors.
        losses: see `Losses`; without them there is no regularity.
        seed: of everything that is drawn.
    """
    refusal: Refusal = {"refusal": "not measured yet"}
    return {
        "author": author,
        "seed": seed,
        "texts": {},
        "verifier": refusal,
        "c2st": refusal,
        "delta": refusal,
        "rhythm": refusal,
        "regularity": refusal,
        "map": refusal,
    }
