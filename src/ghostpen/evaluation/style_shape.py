"""The shape of report.json's part about style: by metric either numbers, or why there are none.

Owns names and meanings, and computes nothing. Every metric's numbers of real text stand beside those of the models.
What may be a refusal instead is final: `"refusal" in part` tells them apart, for mypy, too.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, final

from ghostpen.evaluation.specificity import ModelLabel

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

    normalised: 0 is the base model's share, 1 that of real unseen text; null for the base itself, of fewer than 20
    texts, and where those two are too near to each other. too_short: texts left out because they are less than half
    of a piece.
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


@final
class VerifierJson(TypedDict):
    """Masked words: only the kept_words most frequent ones that all authors use, and punctuation, are seen."""

    piece_words: int
    kept_words: int
    real: VerifierProofJson
    models: dict[ModelLabel, AcceptedByKindJson]


@final
class AucJson(TypedDict):
    """An AUC with its 95 % interval over sections, of so many texts a side; 0.5 is: can't be told apart."""

    texts: int
    auc: float
    low: float
    high: float


@final
class C2stJson(TypedDict):
    """A classifier that is to tell continuations from what the author wrote there; on real text it gives the scale.

    floor: the author's text against other pieces of the same works; other_work: against the author's training works;
    others: against other authors.
    """

    piece_words: int
    floor: AucJson
    other_work: AucJson
    others: AucJson
    models: dict[ModelLabel, AucJson | Refusal]


class DeltaProofJson(TypedDict):
    """As `delta.DeltaCeiling`, of real unseen pools."""

    own_pools: int
    other_pools: int
    recognised: float
    rejected: float
    own_95: float


@final
class DeltaModelJson(TypedDict):
    """As `delta.DeltaReport`: mean distance of a model's pools to the author, and to the nearest other author."""

    pools: int
    own: float
    nearest: float
    recognised: float


@final
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


@final
class RhythmJson(TypedDict):
    """Diversity and sentence rhythm of blocks of block_words words, made of pieces as long as the continuations.

    band_blocks: of real text, that mean and deviation are of; blocks: how many each model's continuations make, no
    model with none; unreliable: labels of measures left out because the author's held-out text is outside the band.
    """

    block_words: int
    band_blocks: int
    blocks: dict[ModelLabel, int]
    measures: list[RhythmMeasureJson]
    unreliable: list[str]


@final
class RegularityModelJson(TypedDict):
    """As `regularity.Regularity`, of bits per byte under the control; z is of the difference to real text's."""

    texts: int
    mean: float
    deviation: float
    z_mean: float
    z_deviation: float


@final
class RegularityJson(TypedDict):
    """Machine text is too even: its deviation is smaller than real text's (z_deviation below -2)."""

    texts: int
    mean: float
    deviation: float
    models: dict[ModelLabel, RegularityModelJson | Refusal]


class MapPoint(TypedDict):
    """A pool of text in the style map, of real text or a model's.

    name: of the author's real text the work, of others' the writer, of a model's what it was to write.
    """

    who: ModelLabel | Literal["real", "other"]
    name: str
    x: float
    y: float


@final
class MapJson(TypedDict):
    """Pools of pool_words words on two axes with names in plain words; both grow with what they name.

    x: the verifier's mean log-odds, above 0 is taken for the author's; y: the reliable measure of rhythm and
    diversity by which others' real text differs most from the author's.
    """

    x_axis: str
    y_axis: str
    y_measure: str
    pool_words: int
    points: list[MapPoint]


class StyleParts(TypedDict):
    """By metric either numbers or why there are none."""

    verifier: VerifierJson | Refusal
    c2st: C2stJson | Refusal
    delta: DeltaJson | Refusal
    rhythm: RhythmJson | Refusal
    regularity: RegularityJson | Refusal
    map: MapJson | Refusal


class StyleReport(StyleParts):
    """What each model wrote, and what was measured of it."""

    author: str
    seed: int
    texts: dict[ModelLabel, TextsJson]
