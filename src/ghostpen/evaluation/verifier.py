"""Is a text the author's? A verifier that sees no topic, calibrated on authors that it does not know.

Owns when a text counts as accepted, and the proof on real unseen text; without that it reports nothing. Pure
functions over texts; must not know models or files.

    p    the chance that a text is the author's, were half of all texts the author's
    A    share of texts with p of 1/2 or more
    A*   (A of the samples - A of the base) / (A of real unseen text - A of the base)

The classifier's own log-odds are of authors that it was fitted to; another novelist of the same age is nearer. So
they are calibrated by leaving out one other author (and some of the author's works) after another: what the threshold
expects is a stranger. What that is worth: docs/style.md.

Source:
    c@1: Peñas and Rodrigo 2011, "A simple measure to assess non-response"; calibration: Platt 1999, "Probabilistic
    outputs for support vector machines".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostpen.errors import UnprovenError
from ghostpen.evaluation.arrays import FloatArray, IntArray
from ghostpen.evaluation.auc import compute_auc
from ghostpen.evaluation.masked import MaskedClassifier, calibrate, fit_masked, split_groups
from ghostpen.evaluation.masking import choose_kept_words, mask_tokens, read_tokens
from ghostpen.evaluation.pieces import Piece, count_words, cut_text

MIN_PIECES = 20
"""Of each kind of real text: with fewer, the shares move by more than 5 points a piece."""

MIN_AUC = 0.9
MIN_ADVANTAGE = 0.5
"""So much more often must it accept the author's real unseen text than other authors'."""

MIN_KEPT = 50
"""Of KEPT_WORDS so many must be there: authors of two languages are told apart by that, which is no style."""

FOLDS = 5
OPEN_BAND = 0.1
"""p this near to 1/2 is no answer, for c@1."""

MIN_ROOM = 0.2
"""Where real text is accepted so little more often than the base model's, A* is noise."""


ScoredPiece = tuple[Piece, float]
"""A piece, and its log-odds of being the author's."""


@dataclass(frozen=True)
class Verifier:
    """What tells an author's text from others', in pieces of `words` words.

    Args:
        kept: the words that it sees.
        slope, intercept: of the calibration: log-odds = slope * decision + intercept.
        intercept: see slope.
        training: calibrated log-odds of the training pieces, each by a classifier that did not know its work (the
            author's) or its author (others').
    """

    words: int
    kept: frozenset[str]
    classifier: MaskedClassifier
    slope: float
    intercept: float
    training: Sequence[ScoredPiece]

    def score(self, texts: Sequence[str]) -> FloatArray:
        """Return each text's log-odds of being the author's; above 0 it is accepted."""
        if not texts:
            return np.zeros(0)
        masked = [self.mask(text) for text in texts]
        return self.slope * self.classifier.decide(masked) + self.intercept

    def mask(self, text: str) -> list[str]:
        """Return what is seen of a text."""
        return mask_tokens(read_tokens(text), self.kept)


@dataclass(frozen=True)
class VerifierProof:
    """How well a verifier does on real unseen text: author_pieces of the author's, other_pieces of others'.

    Args:
        author_pieces: how many.
        other_pieces: how many.
        auc: how often a piece of the author's scores above one of others'.
        accepted: share of the author's that is accepted.
        false_accepts: share of others' that is.
        c_at_1: accuracy where an answer may be left open, which counts as the mean of the others.
        unanswered: share left open for it.
        brier: mean squared error of p, both sides weighing the same; 0.25 is a coin's.
    """

    author_pieces: int
    other_pieces: int
    auc: float
    accepted: float
    false_accepts: float
    c_at_1: float
    unanswered: float
    brier: float


@dataclass(frozen=True)
class ProvedVerifier:
    """A verifier, its proof, and the pieces of real unseen text that it was proved on."""

    verifier: Verifier
    proof: VerifierProof
    real: Sequence[ScoredPiece]
    others: Sequence[ScoredPiece]


@dataclass(frozen=True)
class Accepted:
    """How many texts are accepted: the share with its 95 % interval; too_short were left out."""

    texts: int
    too_short: int
    accepted: float
    low: float
    high: float


def fit_verifier(own: Sequence[Piece], foreign: Sequence[Piece], *, words: int) -> Verifier:
    """Fit to training text of the author and of others, in pieces of so many words.

    Raises:
        UnprovenError: there is too little text of either.
    """
    _check_count(len(own), whose="the author's training text", words=words)
    _check_count(len(foreign), whose="the other authors' training text", words=words)
    author, pieces = own[0].author, [*own, *foreign]
    tokens = [read_tokens(piece.text) for piece in pieces]
    by_author: dict[str, list[list[str]]] = {}
    for piece, found in zip(pieces, tokens, strict=True):
        by_author.setdefault(piece.author, []).append(found)
    if len(by_author) < 2 or any(piece.author == author for piece in foreign):
        raise UnprovenError(f"the other authors' training text must be by others than {author}")
    kept = choose_kept_words(by_author, author=author)
    if len(kept) < MIN_KEPT:
        raise UnprovenError(
            f"the author's and the other authors' training texts share {len(kept)} frequent words, and without "
            f"{MIN_KEPT} there is only topic to tell them apart; are they in one language?"
        )
    masked = [mask_tokens(found, kept) for found in tokens]
    labels = np.array([1] * len(own) + [0] * len(foreign), dtype=np.intp)
    classifier, decided = fit_masked(masked, labels, folds=_choose_folds(own, foreign))
    slope, intercept = calibrate(decided, labels)
    scores = slope * decided + intercept
    return Verifier(
        words=words,
        kept=kept,
        classifier=classifier,
        slope=slope,
        intercept=intercept,
        training=[(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)],
    )


def prove_verifier(verifier: Verifier, *, real: Sequence[Piece], others: Sequence[Piece]) -> ProvedVerifier:
    """Prove a verifier on real text that it was not fitted to, in pieces as long as those that it was.

    Raises:
        UnprovenError: there is too little of it, or the verifier can't tell the two apart.
    """
    own, foreign = (verifier.score([piece.text for piece in pieces]) for pieces in (real, others))
    _check_count(len(own), whose="the author's held-out text", words=verifier.words)
    _check_count(len(foreign), whose="the other authors' held-out text", words=verifier.words)
    proof = compute_proof(own, foreign)
    if proof.auc < MIN_AUC or proof.accepted - proof.false_accepts < MIN_ADVANTAGE:
        raise UnprovenError(
            f"in pieces of {verifier.words} words the verifier can't tell these authors apart: on real unseen text "
            f"its AUC is {proof.auc:.3f} (it must be {MIN_AUC:.3f}), and it accepts {proof.accepted:.0%} of the "
            f"author's and {proof.false_accepts:.0%} of others'"
        )
    scored = [
        [(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)]
        for pieces, scores in ((real, own), (others, foreign))
    ]
    return ProvedVerifier(verifier, proof, *scored)


def compute_proof(own: FloatArray, foreign: FloatArray) -> VerifierProof:
    """Compute the figures of merit from log-odds of the author's pieces and of others'; neither may be empty."""
    p_own, p_foreign = 1 / (1 + np.exp(-own)), 1 / (1 + np.exp(-foreign))
    chances = np.concatenate([p_own, p_foreign])
    right = np.concatenate([p_own >= 0.5, p_foreign < 0.5])
    answered = np.abs(chances - 0.5) >= OPEN_BAND
    found, unanswered = int((right & answered).sum()), int((~answered).sum())
    return VerifierProof(
        author_pieces=len(own),
        other_pieces=len(foreign),
        auc=compute_auc(own, foreign),
        accepted=float((own >= 0).mean()),
        false_accepts=float((foreign >= 0).mean()),
        c_at_1=(found + unanswered * found / len(chances)) / len(chances),
        unanswered=unanswered / len(chances),
        brier=float((((1 - p_own) ** 2).mean() + (p_foreign**2).mean()) / 2),
    )


def compute_accepted(verifier: Verifier, texts: Sequence[str]) -> Accepted | None:
    """Compute the share of texts that are accepted; None where none is long enough.

    A text is cut to the verifier's length; one of less than half of it is left out.
    """
    usable = [text for text in texts if count_words(text) * 2 >= verifier.words]
    if not usable:
        return None
    scores = verifier.score([cut_text(text, words=verifier.words) for text in usable])
    share = float((scores >= 0).mean())
    low, high = compute_wilson(share, len(usable))
    return Accepted(len(usable), len(texts) - len(usable), share, low, high)


def compute_normalised(accepted: float, *, base: float, real: float) -> float | None:
    """Compute A*: 0 is the base model's share, 1 real unseen text's; None where these are too near to each other."""
    return (accepted - base) / (real - base) if real - base >= MIN_ROOM else None


def compute_wilson(share: float, count: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Compute the 95 % interval of a share of `count` texts.

    It holds for texts that are drawn independently: several from one chapter make it too narrow.

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    centre = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def _check_count(count: int, *, whose: str, words: int) -> None:
    if count < MIN_PIECES:
        raise UnprovenError(f"{whose} makes {count} pieces of {words} words; the verifier needs {MIN_PIECES}")


def _choose_folds(own: Sequence[Piece], foreign: Sequence[Piece]) -> IntArray:
    """Choose folds that no work of the author's and no other author is in two of, as far as there are several."""
    works, strangers = _choose_groups(own), _choose_groups(foreign)
    folds = min(FOLDS, len(set(works)), len(set(strangers)))
    if folds < 2:
        raise UnprovenError("the verifier needs two sections of the author's, and of others', to be calibrated")
    return np.concatenate([split_groups(groups, folds=folds) for groups in (works, strangers)])


def _choose_groups(pieces: Sequence[Piece]) -> list[str]:
    """Return each piece's author, if there are two; else its document, if there are two; else its section."""
    authors = [piece.author for piece in pieces]
    documents = [f"{piece.author}/{piece.document}" for piece in pieces]
    for groups in (authors, documents):
        if len(set(groups)) > 1:
            return groups
    return [piece.place for piece in pieces]
