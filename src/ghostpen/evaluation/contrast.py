"""Can the adapter tell its author from others? The AUC of bits per byte saved, on pieces of 400 words.

Owns how held-out text is cut for it, and the AUC with its interval. Works on scores and must not know models.

    s(x) = bits per byte of x under the control - under the author's adapter

An AUC of 0.5 is guessing; 1 means that every piece by the author has a higher s than every piece by others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np

from ghostpen.data.sections import Section
from ghostpen.evaluation.report_shape import ContrastReport, IntervalJson
from ghostpen.evaluation.specificity import CONFIDENCE_LEVEL, MIN_SECTIONS, FloatArray, Interval, ModelLabel
from ghostpen.score import Score

PIECE_WORDS = 400
MAX_PIECES = 100
"""By the author, and as many by others: more would only take time."""
MIN_PIECES = 20
AUTHOR_TEXT, OTHERS_TEXT = "the author's text", "others' text"


@dataclass(frozen=True)
class Pieces:
    """Pieces as sections of their own, and the place of the section that each was cut from."""

    sections: list[Section]
    origins: list[int]


def cut_pieces(sections: Sequence[Section], *, words: int = PIECE_WORDS, limit: int = MAX_PIECES) -> Pieces:
    """Cut sections into whole pieces of `words` words, and keep `limit` of them, spread evenly.

    What is left over at a section's end is left out.
    """
    found: list[tuple[Section, int]] = []
    for origin, section in enumerate(sections):
        tokens = section.text.split(" ")  # line breaks stay within the pieces
        ends = _find_ends(tokens, words)
        for start, end in zip([0, *ends[:-1]], ends, strict=True) if ends else ():
            found.append((replace(section, text=" ".join(tokens[start:end])), origin))
    step = max(1.0, len(found) / limit)
    chosen = [found[int(place * step)] for place in range(min(limit, len(found)))]
    return Pieces([section for section, _ in chosen], [origin for _, origin in chosen])


def compute_auc(
    author: Sequence[float], others: Sequence[float], *, author_origins: Sequence[int], others_origins: Sequence[int],
    resamples: int = 2000, seed: int = 0,
) -> Interval | None:  # fmt: skip
    """Compute the AUC with its percentile bootstrap interval over sections; None with fewer than 20 pieces a side.

    Args:
        author, others: s of each piece. author_origins, others_origins: the section of each; sections are drawn, as
            pieces of one chapter are alike.

    Source:
        AUC = P(s_author > s_others) + P(s_author = s_others) / 2: Hanley and McNeil 1982, "The meaning and use of
        the area under a receiver operating characteristic (ROC) curve".
    """
    if min(len(author), len(others)) < MIN_PIECES:
        return None
    left, right = np.asarray(author)[:, None], np.asarray(others)[None, :]
    wins = (left > right) + (left == right) / 2
    rows, columns = _build_membership(author_origins), _build_membership(others_origins)
    by_section = rows @ wins @ columns.T  # (sections of the author, sections of others)
    pairs = np.outer(rows.sum(axis=1), columns.sum(axis=1))
    estimate = float(wins.mean())
    if min(len(rows), len(columns)) < MIN_SECTIONS:
        return Interval(estimate, None, None)
    streams = np.random.default_rng(seed).spawn(2)
    times = [
        stream.multinomial(len(group), np.full(len(group), 1 / len(group)), size=resamples).astype(np.float64)
        for stream, group in zip(streams, (rows, columns), strict=True)
    ]
    won, drawn = (np.einsum("rs,st,rt->r", times[0], table, times[1]) for table in (by_section, pairs))
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(won / drawn, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def compute_savings(control: Sequence[Score], author: Sequence[Score]) -> list[float]:
    """Compute s of each piece, in bits per byte."""
    return [
        (one.loss_nats - other.loss_nats) / (math.log(2) * one.size_bytes)
        for one, other in zip(control, author, strict=True)
    ]


def list_pieces(pieces: Mapping[str, Pieces]) -> dict[tuple[ModelLabel, str], list[Section]]:
    """List what control and author's adapter are to score; nothing where a text has no piece."""
    if not all(found.sections for found in pieces.values()):
        return {}
    adapters: tuple[ModelLabel, ...] = ("control", "author")
    return {(label, f"pieces of {name}"): found.sections for name, found in pieces.items() for label in adapters}


def measure_contrast(
    scores: Mapping[tuple[ModelLabel, str], Sequence[Score]], *, pieces: Mapping[str, Pieces]
) -> ContrastReport | None:
    """Measure how well bits per byte saved tell the author's pieces from others'; None where a text has no piece.

    Args:
        scores: of what `list_pieces` gave, at least.
    """
    if not list_pieces(pieces):
        return None
    author, others = (
        compute_savings(scores["control", f"pieces of {name}"], scores["author", f"pieces of {name}"])
        for name in (AUTHOR_TEXT, OTHERS_TEXT)
    )
    auc = compute_auc(
        author, others, author_origins=pieces[AUTHOR_TEXT].origins, others_origins=pieces[OTHERS_TEXT].origins
    )
    return {
        "piece_words": PIECE_WORDS,
        "author_pieces": len(author),
        "others_pieces": len(others),
        "auc": cast(IntervalJson, asdict(auc)) if auc else None,
    }


def _find_ends(tokens: Sequence[str], words: int) -> list[int]:
    ends, counted = [], 0
    for place, token in enumerate(tokens, start=1):
        counted += len(token.split())
        if counted >= words:
            ends.append(place)
            counted = 0
    return ends


def _build_membership(origins: Sequence[int]) -> FloatArray:
    """Build a matrix (sections, pieces): 1 where the piece is of the section."""
    sections = sorted(set(origins))
    return np.array([[float(origin == section) for origin in origins] for section in sections])
