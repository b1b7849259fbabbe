"""The style map: pools of real text and of what models wrote, as points that a person can compare at a glance.

Owns what a point is, and which two axes are taken. To the right is what the verifier takes for the author's; upwards
is the one measure of rhythm and diversity by which others' real text differs most from the author's. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from ghostpen.errors import UnprovenError
from ghostpen.evaluation.auc import compute_auc
from ghostpen.evaluation.pieces import Piece, count_words, spread
from ghostpen.evaluation.rhythm import LABELS, Block, Measure, cut_blocks, measure_block
from ghostpen.evaluation.specificity import ModelLabel
from ghostpen.evaluation.style_shape import MapJson, MapPoint
from ghostpen.evaluation.verifier import ProvedVerifier, Verifier

POOL_WORDS = 2_000
MIN_POOLS, MIN_POOL_WORDS = 3, 400
"""With fewer points a cloud has no shape: then points are smaller pools, but not smaller than that if it can be."""

MIN_AUC = 0.95
"""So often must a pool of the author's real unseen text be to the right of one of others'."""

MAX_POINTS = 12
"""Of one name: a map of thousands of points shows none."""

PROOF_POOLS = 60
"""Of the author's unseen text, and of others': as many are looked at before a map is drawn."""

FALLBACK_MEASURE = "distinct_1"

Who = ModelLabel | Literal["real", "other"]


def build_map(
    proved: ProvedVerifier,
    *,
    author: str,
    written: Mapping[tuple[ModelLabel, str], Sequence[Piece]],
    measures: Sequence[Measure],
    abbreviations: frozenset[str],
    seed: int,
) -> MapJson:
    """Build the map of real text, known and unseen, and of what each model wrote.

    What the verifier was fitted to is placed by the classifiers that did not know it.

    Args:
        proved: the verifier, and the unseen pieces that it was proved on.
        author: the author's name, as it is to be printed.
        written: what each model wrote, by model and kind.
        measures: those that hold on real text; the y axis is chosen from them.
        abbreviations: those that the measures were proved with.
        seed: of how pieces are put together.

    Raises:
        UnprovenError: too little was written for pools that are told apart.
    """
    verifier = proved.verifier
    scored = [*verifier.training, *proved.real, *proved.others]
    known = {piece.text: score for piece, score in scored}
    own = scored[0][0].author
    groups: dict[tuple[Who, str], list[Piece]] = {}
    for piece, _ in scored:
        whose: tuple[Who, str] = ("real", piece.document) if piece.author == own else ("other", piece.author)
        groups.setdefault(whose, []).append(piece)
    groups |= {(model, kind): list(pieces) for (model, kind), pieces in written.items()}
    pool_words = _choose_pool_words(written.values(), shortest=verifier.words)
    _check_pools(proved, known, words=pool_words, seed=seed)
    measure = max(measures, key=lambda one: abs(one.others.z)).name if measures else FALLBACK_MEASURE
    points: list[MapPoint] = []
    for (who, name), pieces in groups.items():
        judged = known if who in ("real", "other") else {}
        for block in spread(cut_blocks(pieces, words=pool_words, seed=seed), MAX_POINTS):
            x, y = _score(block, verifier, judged), measure_block(block, abbreviations=abbreviations)[measure]
            points.append({"who": who, "name": name, "x": x, "y": y})
    return {
        "x_axis": f"sounds like {author}",
        "y_axis": LABELS[measure],
        "y_measure": measure,
        "pool_words": pool_words,
        "points": points,
    }


def _choose_pool_words(written: Iterable[Sequence[Piece]], *, shortest: int) -> int:
    """Choose how many words a pool has: whole pieces, so that those of real text are found again."""
    totals = [sum(count_words(piece.text) for piece in pieces) for pieces in written]
    fewest = min((total for total in totals if total >= shortest), default=shortest)
    words = min(POOL_WORDS, max(fewest // MIN_POOLS, min(fewest, MIN_POOL_WORDS)))
    return shortest * max(1, words // shortest)


def _check_pools(proved: ProvedVerifier, known: Mapping[str, float], *, words: int, seed: int) -> None:
    own, foreign = (
        np.array([_score(block, proved.verifier, known) for block in spread(blocks, PROOF_POOLS)])
        for scored in (proved.real, proved.others)
        for blocks in [cut_blocks([piece for piece, _ in scored], words=words, seed=seed)]
    )
    auc = compute_auc(own, foreign) if len(own) and len(foreign) else 0.0
    if auc < MIN_AUC:
        raise UnprovenError(
            f"in pools of {words} words, for which enough was written, a map would mix up the author and others: on "
            f"real unseen text its AUC is {auc:.2f}, and must be {MIN_AUC}"
        )


def _score(block: Block, verifier: Verifier, known: Mapping[str, float]) -> float:
    """Return the mean log-odds of a pool's texts; what a pool's end has cut short does not count if there is more."""
    texts = [text for text in block if 2 * count_words(text) >= verifier.words] or block
    new = [text for text in texts if text not in known]
    scores = [*(known[text] for text in texts if text in known), *verifier.score(new)]
    return float(np.mean(scores))
