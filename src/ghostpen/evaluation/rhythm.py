"""Sentence rhythm and diversity of words, against the band in which the author's own text lies.

Owns the measures, their plain names, and the band. What a block of text scores depends on how long it is and on how
many places it is from, so all blocks have the same number of words and are made of pieces as long as the samples.
Pure.

A measure whose band does not even hold the author's held-out text is not reported.

Source:
    distinct-n: Li et al. 2016, "A diversity-promoting objective function for neural conversation models"; MATTR:
    Covington and McFall 2010, "Cutting the Gordian knot: the moving-average type-token ratio".
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ghostpen.data.ngrams import read_words
from ghostpen.data.typography import unify_typography
from ghostpen.errors import UnprovenError
from ghostpen.evaluation.pieces import Piece, count_words, cut_text

LABELS: Mapping[str, str] = {
    "distinct_1": "different words",
    "distinct_2": "different pairs of words",
    "distinct_3": "different runs of 3 words",
    "distinct_4": "different runs of 4 words",
    "mattr_100": "different words in 100 running words",
    "sentence_words": "words in a sentence",
    "sentence_deviation": "unevenness of sentences (deviation)",
    "sentence_step": "change of length between sentences",
    "commas": "commas in 100 words",
    "semicolons": "semicolons in 100 words",
}

BLOCK_WORDS = (5_000, 2_000, 1_000)
"""The longest of which there are enough blocks is taken."""

MIN_BAND_BLOCKS = 8
MIN_HELD_OUT_BLOCKS = 2
MAX_HELD_OUT_Z = 2.0
"""A band that the author's held-out text is farther off from is the training works', not the author's."""

MATTR_WORDS = 100
MIN_ABBREVIATED = 5
MAX_ABBREVIATION_LETTERS = 5
ABBREVIATED_SHARE = 0.9
_ENDS = ".!?…"
_CLOSERS = "\"')]_*"

Block = list[str]
"""Texts that are measured together."""


@dataclass(frozen=True)
class Measured:
    """The mean of some blocks, and how many of the band's standard deviations it is off the band's mean."""

    value: float
    z: float


@dataclass(frozen=True)
class Measure:
    """One measure: the author's band from training text; the author's held-out and others' text; each model's."""

    name: str
    label: str
    mean: float
    deviation: float
    held_out: Measured
    others: Measured
    models: dict[str, Measured]


@dataclass(frozen=True)
class Rhythm:
    """All measures that hold on real text, and the labels of those that don't."""

    block_words: int
    band_blocks: int
    blocks: dict[str, int]
    measures: list[Measure]
    unreliable: list[str]


def compute_rhythm(
    models: Mapping[str, Sequence[Piece]],
    *,
    training: Sequence[Piece],
    held_out: Sequence[Piece],
    others: Sequence[Piece],
    abbreviations: frozenset[str],
    seed: int,
) -> Rhythm:
    """Compute every measure for each model that has written a block.

    Args:
        models: what each has written, as pieces of the works that it goes on with.
        training: pieces of the author's training text, as long as what was written.
        held_out: likewise of the author's held-out text.
        others: likewise of other authors' held-out text.
        abbreviations: as `find_abbreviations` finds them in the author's training text.
        seed: of how pieces are put together.

    Raises:
        UnprovenError: there is too little of something, or no measure holds on real text.
    """
    for enough, words in itertools.product((all, any), BLOCK_WORDS):  # rather shorter blocks than a model less
        band = cut_blocks(training, words=words, seed=seed)
        own, foreign = (cut_blocks(pieces, words=words, seed=seed) for pieces in (held_out, others))
        written = {name: cut_blocks(pieces, words=words, seed=seed) for name, pieces in models.items()}
        proved = len(band) >= MIN_BAND_BLOCKS and min(len(own), len(foreign)) >= MIN_HELD_OUT_BLOCKS
        if proved and models and enough(map(bool, written.values())):
            written = {name: blocks for name, blocks in written.items() if blocks}
            return _measure(band, own=own, foreign=foreign, models=written, abbreviations=abbreviations, words=words)
    raise UnprovenError(
        f"rhythm needs {BLOCK_WORDS[-1]:,} words of continuations, {MIN_BAND_BLOCKS} times that of the author's "
        f"training text, and {MIN_HELD_OUT_BLOCKS} times of held-out text by the author and by others; there is less"
    )


def cut_blocks(pieces: Sequence[Piece], *, words: int, seed: int) -> list[Block]:
    """Put pieces together to blocks of exactly so many words, in a seeded order; what is left over is left out.

    A block is of one work, but where one work's pieces end and the next one's begin: a band of mixed works would be
    narrower than works differ.
    """
    order = np.random.default_rng(seed).permutation(len(pieces))
    works = sorted((pieces[place] for place in order), key=lambda piece: (piece.author, piece.document))
    blocks: list[Block] = []
    block: Block = []
    missing = words
    for piece in works:
        length = min(count_words(piece.text), missing)
        if length:
            block.append(cut_text(piece.text, words=length))
            missing -= length
        if not missing:
            blocks.append(block)
            block, missing = [], words
    return blocks


def measure_block(block: Block, *, abbreviations: frozenset[str] = frozenset()) -> dict[str, float]:
    """Compute every measure of LABELS. The first and the last sentence of each text may be cut, and don't count."""
    texts = [unify_typography(text).text for text in block]
    words = [word for text in texts for word in read_words(text)]
    lengths = [read_sentence_lengths(text, abbreviations=abbreviations)[1:-1] for text in texts]
    sentences = [length for found in lengths for length in found] or [len(words)]
    steps = [abs(left - right) for found in lengths for left, right in itertools.pairwise(found)]
    mean = float(np.mean(sentences))
    marks = Counter(mark for text in texts for mark in text if mark in ",;")
    return {
        **{f"distinct_{length}": _compute_distinct(words, length) for length in range(1, 5)},
        "mattr_100": compute_mattr(words),
        "sentence_words": mean,
        "sentence_deviation": float(np.std(sentences)),
        "sentence_step": float(np.mean(steps)) / mean if steps else 0.0,
        "commas": 100 * marks[","] / max(len(words), 1),
        "semicolons": 100 * marks[";"] / max(len(words), 1),
    }


def read_sentence_lengths(text: str, *, abbreviations: frozenset[str] = frozenset()) -> list[int]:
    """Return how many words each sentence has; one ends with its paragraph, too."""
    lengths = []
    for paragraph in text.split("\n\n"):
        length = 0
        for token in paragraph.split():
            length += 1
            bare = token.rstrip(_CLOSERS)
            if bare and bare[-1] in _ENDS and bare.strip(_CLOSERS).casefold() not in abbreviations:
                lengths.append(length)
                length = 0
        if length:
            lengths.append(length)
    return lengths


def find_abbreviations(texts: Iterable[str]) -> frozenset[str]:
    """Find the short words that hardly ever stand without a full stop, such as "mr."; no dictionary."""
    tokens = Counter(token.strip(_CLOSERS + ",;:!?—").casefold() for text in texts for token in text.split())
    return frozenset(
        token
        for token, times in tokens.items()
        if token.endswith(".")
        and token[:-1].isalpha()
        and len(token) <= MAX_ABBREVIATION_LETTERS + 1
        and times >= MIN_ABBREVIATED
        and times >= ABBREVIATED_SHARE * (times + tokens[token[:-1]])
    )


def compute_mattr(words: Sequence[str], *, window: int = MATTR_WORDS) -> float:
    """Compute the mean share of different words over all windows of so many running words; of fewer, over all."""
    window = min(window, len(words))
    if not window:
        return 0.0
    counts = Counter(words[:window])
    total, windows = len(counts), 1
    for gone, come in zip(words, words[window:], strict=False):
        counts[come] += 1
        counts[gone] -= 1
        if not counts[gone]:
            del counts[gone]
        total += len(counts)
        windows += 1
    return total / windows / window


def _compute_distinct(words: Sequence[str], length: int) -> float:
    grams = list(zip(*(words[start:] for start in range(length)), strict=False))
    return len(set(grams)) / len(grams) if grams else 0.0


def _measure(
    band: Sequence[Block],
    *,
    own: Sequence[Block],
    foreign: Sequence[Block],
    models: Mapping[str, Sequence[Block]],
    abbreviations: frozenset[str],
    words: int,
) -> Rhythm:
    found = {
        name: [measure_block(block, abbreviations=abbreviations) for block in blocks]
        for name, blocks in {"band": band, "own": own, "foreign": foreign}.items()
    }
    written = {
        name: [measure_block(block, abbreviations=abbreviations) for block in blocks]
        for name, blocks in models.items()
    }
    measures = [_compare(name, found=found, written=written) for name in LABELS]
    reliable = [
        measure for measure in measures if measure.deviation > 0 and abs(measure.held_out.z) <= MAX_HELD_OUT_Z
    ]
    if not reliable:
        raise UnprovenError(
            "the author's held-out text is outside the band of the training text in every measure of rhythm"
        )
    return Rhythm(
        block_words=words,
        band_blocks=len(band),
        blocks={name: len(blocks) for name, blocks in models.items()},
        measures=reliable,
        unreliable=[measure.label for measure in measures if measure not in reliable],
    )


def _compare(
    name: str,
    *,
    found: Mapping[str, Sequence[dict[str, float]]],
    written: Mapping[str, Sequence[dict[str, float]]],
) -> Measure:
    band = [values[name] for values in found["band"]]
    mean, deviation = float(np.mean(band)), float(np.std(band, ddof=1))

    def compare(blocks: Sequence[dict[str, float]]) -> Measured:
        value = float(np.mean([values[name] for values in blocks]))
        return Measured(value, (value - mean) / deviation if deviation else 0.0)

    return Measure(
        name=name,
        label=LABELS[name],
        mean=mean,
        deviation=deviation,
        held_out=compare(found["own"]),
        others=compare(found["foreign"]),
        models={model: compare(blocks) for model, blocks in written.items()},
    )
