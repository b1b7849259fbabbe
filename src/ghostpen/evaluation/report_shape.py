"""The shape of report.json."""

from typing import Literal, TypedDict

from ghostpen.evaluation.copying_report import CopyingReport
from ghostpen.evaluation.specificity import ModelLabel
from ghostpen.evaluation.style_shape import StyleReport
from ghostpen.evaluation.written_report import WrittenReport

Finding = Literal["specific", "unclear", "others_got_worse", "less_than_others", "too_little_text"]


class IntervalJson(TypedDict):
    """An estimate and its 95 % interval, whose bounds are null where there were too few sections."""

    estimate: float
    low: float | None
    high: float | None


class ModelReport(TypedDict):
    """One model on one text; the gain is in bits per byte saved against the base, paired by section.

    word_perplexity = exp(loss / words), by words between blanks: comparable between tokenizers, as bits per byte are.
    """

    perplexity: float
    word_perplexity: float
    bits_per_byte: float
    bits_per_byte_bounds: IntervalJson
    gain_over_base: IntervalJson


class PartReport(TypedDict):
    """One document, or one author, of a text; gain is that of the author's adapter over the control."""

    name: str
    sections: int
    tokens: int
    size_bytes: int
    perplexity: dict[ModelLabel, float]
    bits_per_byte: dict[ModelLabel, float]
    gain: float


class TextReport(TypedDict):
    """One held-out text: the whole, then its parts."""

    sections: int
    tokens: int
    words: int
    size_bytes: int
    models: dict[ModelLabel, ModelReport]
    parts: list[PartReport]


class SpecificityReport(TypedDict):
    """G_A, G_O and S = G_A - G_O in bits per byte, and how their intervals were made."""

    g_a: IntervalJson
    g_o: IntervalJson
    s: IntervalJson
    confidence_level: float
    resamples: int
    seed: int


class GenerationProtocol(TypedDict):
    """How the texts were written; tasks_sha256 is of all prompts, lengths, seeds and temperatures."""

    tasks: int
    tasks_sha256: str
    top_p: float
    min_p: float
    extraction_windows: int


class Protocol(TypedDict):
    """What must be the same for two reports to be compared."""

    window: int
    stride: int
    training_seed: int
    data_sha256: str
    adapters_sha256: dict[str, str]
    base: dict[str, str | None]
    precision: str
    load_in_4bit: bool
    contrast_sha256: str
    generation: GenerationProtocol


class ContrastReport(TypedDict):
    """How well bits per byte saved against the control tell the author's pieces of text from others'.

    auc is null where there are fewer than 20 pieces of either.
    """

    piece_words: int
    author_pieces: int
    others_pieces: int
    auc: IntervalJson | None


class PromptReport(TypedDict):
    """What the prompted base was shown before each window, on top of its tokens."""

    passages: int
    tokens: int


class Report(TypedDict):
    """The whole of report.json."""

    format_version: int
    author: str
    finding: Finding
    verdict: str
    specificity: SpecificityReport
    contrast: ContrastReport | None
    prompt: PromptReport | None
    author_test: TextReport
    others_test: TextReport
    copying: CopyingReport | None
    written: WrittenReport | None
    style: StyleReport | None
    protocol: Protocol
    tokenizer_sha256: str | None
