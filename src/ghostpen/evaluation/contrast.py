"""Can the adapter tell its author from others? The AUC of bits per byte saved, on pieces of 400 words.

Owns which pieces of held-out text are scored, and the AUC with its interval. Works on scores, must not know models.

    s(x) = bits per byte of x under the control - under the author's adapter

An AUC of 0.5 is guessing; 1 means that every piece by the author has a higher s than every piece by others.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import cast

import numpy as np

from ghostpen.data.sections import Section
from ghostpen.evaluation.auc import compute_auc, resample_sides
from ghostpen.evaluation.pieces import Piece, cut_sections, spread
from ghostpen.evaluation.report_shape import ContrastReport, IntervalJson
from ghostpen.evaluation.specificity import Interval, ModelLabel, build_interval
from ghostpen.score import Score

PIECE_WORDS = 400
MAX_PIECES = 100
"""By the author, and as many by others: more would only take time."""
MIN_PIECES = 20
"""Of either side; with fewer, none is scored."""

RESAMPLES = 2000
AUTHOR_TEXT, OTHERS_TEXT = "the author's text", "others' text"

Sides = tuple[Sequence[str], Sequence[str]]


def choose_pieces(sections: Iterable[Section]) -> list[Piece]:
    """Cut sections into pieces, and choose those that are scored."""
    return spread(cut_sections(sections, words=PIECE_WORDS), MAX_PIECES)


def compute_interval(author: Sequence[float], others: Sequence[float], *, sections: Sides, seed: int = 0) -> Interval:
    """Compute the AUC with its percentile bootstrap interval over sections. Neither side may be empty.

    Args:
        author: s of each of the author's pieces.
        others: s of each of the others'.
        sections: that of each of the author's pieces, and that of each of the others'.
    """
    sides = np.asarray(author, dtype=np.float64), np.asarray(others, dtype=np.float64)
    draws = resample_sides(*sides, sections=sections, resamples=RESAMPLES, seed=seed)
    return build_interval(compute_auc(*sides), draws=draws, sections=min(len(set(names)) for names in sections))


def compute_savings(control: Sequence[Score], author: Sequence[Score]) -> list[float]:
    """Compute s of each piece, in bits per byte."""
    return [
        (one.loss_nats - other.loss_nats) / (math.log(2) * one.size_bytes)
        for one, other in zip(control, author, strict=True)
    ]


def list_pieces(pieces: Mapping[str, Sequence[Piece]]) -> dict[tuple[ModelLabel, str], list[Section]]:
    """List what control and author's adapter are to score; nothing where that is too little for an AUC."""
    if min(map(len, pieces.values())) < MIN_PIECES:
        return {}
    adapters: tuple[ModelLabel, ...] = ("control", "author")
    return {
        (label, f"pieces of {name}"): [
            Section(piece.text, piece.author, piece.document, piece.section, False, False) for piece in found
        ]
        for name, found in pieces.items()
        for label in adapters
    }


def measure_contrast(
    scores: Mapping[tuple[ModelLabel, str], Sequence[Score]], *, pieces: Mapping[str, Sequence[Piece]]
) -> ContrastReport:
    """Measure how well bits per byte saved tell the author's pieces from others'.

    Args:
        scores: of what `list_pieces` gave, at least.
        pieces: as `choose_pieces` chooses them, of the author's text and of others'.
    """
    return {
        "piece_words": PIECE_WORDS,
        "author_pieces": len(pieces[AUTHOR_TEXT]),
        "others_pieces": len(pieces[OTHERS_TEXT]),
        "auc": cast(IntervalJson, asdict(_measure_auc(scores, pieces=pieces))) if list_pieces(pieces) else None,
    }


def _measure_auc(
    scores: Mapping[tuple[ModelLabel, str], Sequence[Score]], *, pieces: Mapping[str, Sequence[Piece]]
) -> Interval:
    author, others = (
        compute_savings(scores["control", f"pieces of {name}"], scores["author", f"pieces of {name}"])
        for name in (AUTHOR_TEXT, OTHERS_TEXT)
    )
    own, foreign = ([piece.place for piece in pieces[name]] for name in (AUTHOR_TEXT, OTHERS_TEXT))
    return compute_interval(author, others, sections=(own, foreign))
