"""The report's part about style: what each model wrote, beside what the author and others wrote.

Owns which texts each metric is given. Every metric is proved on real text first; where that, or the written text, is
too little, there is one sentence instead of numbers. Must not know models or files.
"""

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

from ghostpen.data.sections import Section
from ghostpen.errors import NothingCountedError, UnprovenError
from ghostpen.evaluation.c2st import Pair, compute_c2st, cut_pairs, prove_c2st
from ghostpen.evaluation.delta import compute_ceiling, compute_delta, fit_delta
from ghostpen.evaluation.pieces import Piece, count_words, cut_sections, spread
from ghostpen.evaluation.pools import POOL_WORDS, cut_pools, cut_pools_by_author
from ghostpen.evaluation.regularity import compute_real_spread, compute_regularity
from ghostpen.evaluation.rhythm import Rhythm, compute_rhythm, find_abbreviations
from ghostpen.evaluation.specificity import MODEL_LABELS, ModelLabel
from ghostpen.evaluation.style_map import build_map
from ghostpen.evaluation.style_shape import (
    AcceptedJson,
    AucJson,
    C2stJson,
    DeltaJson,
    DeltaProofJson,
    Losses,
    MapJson,
    Refusal,
    RegularityJson,
    RhythmJson,
    StyleParts,
    StyleReport,
    VerifierJson,
    VerifierProofJson,
)
from ghostpen.evaluation.verifier import (
    MIN_PIECES,
    ProvedVerifier,
    Verifier,
    compute_accepted,
    compute_normalised,
    fit_verifier,
    prove_verifier,
)
from ghostpen.evaluation.written import Written, WrittenKind

KIND_NAMES: Mapping[WrittenKind, str] = {"continuation": "continuations", "topic": "new topics"}

NOTHING = cast(StyleParts, dict.fromkeys(StyleParts.__annotations__, {"refusal": "nothing was written"}))

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class _Texts:
    """Everything that is compared; `words` is the length of a piece: the median of what was written."""

    author: str
    written: Mapping[ModelLabel, Sequence[Written]]
    training: Sequence[Section]
    held_out: Sequence[Section]
    others_training: Sequence[Section]
    others_test: Sequence[Section]
    words: int
    seed: int

    def choose(self, model: ModelLabel, kind: WrittenKind) -> list[Written]:
        """Return what a model wrote of one kind."""
        return [text for text in self.written[model] if text.kind == kind]


@dataclass(frozen=True)
class _Pieces:
    """Real text in pieces as long as what was written; `continued` are those of the works that models go on with."""

    training: list[Piece]
    held_out: list[Piece]
    continued: list[Piece]
    others_training: list[Piece]
    others_test: list[Piece]


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
    by_model = {label: [text for text in written if text.model == label] for label in MODEL_LABELS}
    counts = [count for text in written if (count := count_words(text.text))]
    texts = _Texts(
        author=author,
        written={label: found for label, found in by_model.items() if found},
        training=training,
        held_out=[*validation, *test],
        others_training=others_training,
        others_test=others_test,
        words=round(statistics.median(counts)) if counts else 0,
        seed=seed,
    )
    parts = _measure(texts, losses) if texts.words else NOTHING
    return {
        "author": author,
        "seed": seed,
        "texts": {
            label: {
                "continuations": len(texts.choose(label, "continuation")),
                "topics": len(texts.choose(label, "topic")),
                "words": sum(count_words(text.text) for text in found),
            }
            for label, found in texts.written.items()
        },
        **parts,
    }


def _measure(texts: _Texts, losses: Losses | None) -> StyleParts:
    pieces = _cut(texts)
    abbreviations = find_abbreviations(piece.text for piece in pieces.training)
    verifier = _attempt(lambda: fit_verifier(pieces.training, pieces.others_training, words=texts.words))
    proved = _after(verifier, lambda found: prove_verifier(found, real=pieces.held_out, others=pieces.others_test))
    rhythm = _attempt(
        lambda: compute_rhythm(
            {label: _build_pieces(texts.choose(label, "continuation")) for label in texts.written},
            training=pieces.training,
            held_out=pieces.continued,
            others=pieces.others_test,
            abbreviations=abbreviations,
            seed=texts.seed,
        )
    )
    return {
        "verifier": _after(proved, lambda found: _build_verifier(found, texts)),
        "c2st": _after(verifier, lambda found: _build_c2st(found.kept, texts, pieces)),
        "delta": _attempt(lambda: _build_delta(texts)),
        "rhythm": _after(rhythm, lambda found: cast(RhythmJson, asdict(found))),
        "regularity": _attempt(lambda: _build_regularity(texts, losses)),
        "map": _after(proved, lambda found: _build_map(found, texts, rhythm, abbreviations)),
    }


def _cut(texts: _Texts) -> _Pieces:
    training, held_out, others_training, others_test = (
        cut_sections(sections, words=texts.words)
        for sections in (texts.training, texts.held_out, texts.others_training, texts.others_test)
    )
    works = {text.document for found in texts.written.values() for text in found}
    continued = [piece for piece in held_out if piece.document in works]
    return _Pieces(training, held_out, continued or held_out, others_training, others_test)


def _attempt(build: Callable[[], T]) -> T | Refusal:
    """Return what is built, or why it would mean nothing."""
    try:
        return build()
    except (UnprovenError, NothingCountedError) as error:
        return {"refusal": error.message}


def _attempt_each(given: Mapping[ModelLabel, S], compute: Callable[[S], Any]) -> dict[ModelLabel, Any]:
    """Return what is computed for each model, a dataclass, as JSON, or why it would mean nothing."""

    def build(one: S) -> dict[str, Any]:
        return asdict(compute(one))

    return {label: _attempt(functools.partial(build, one)) for label, one in given.items()}


def _after(found: S | Refusal, build: Callable[[S], T]) -> T | Refusal:
    """Build from what was found, or hand on why it was not."""
    if isinstance(found, dict) and "refusal" in found:
        return cast(Refusal, found)
    proved = cast(S, found)  # type: ignore[redundant-cast]  # it is not: mypy 2.4 narrows S to all that is no dict
    return _attempt(lambda: build(proved))


def _build_verifier(proved: ProvedVerifier, texts: _Texts) -> VerifierJson:
    verifier, real = proved.verifier, proved.proof.accepted
    continuations, topics = (
        _build_accepted(verifier, {label: texts.choose(label, kind) for label in texts.written}, real=real)
        for kind in KIND_NAMES
    )
    return {
        "piece_words": verifier.words,
        "kept_words": len(verifier.kept),
        "real": cast(VerifierProofJson, asdict(proved.proof)),
        "models": {
            label: {"continuations": continuations[label], "topics": topics[label]} for label in texts.written
        },
    }


def _build_accepted(
    verifier: Verifier, written: Mapping[ModelLabel, Sequence[Written]], *, real: float
) -> dict[ModelLabel, AcceptedJson | None]:
    found = {label: compute_accepted(verifier, [text.text for text in texts]) for label, texts in written.items()}
    base = found.get("base")
    accepted: dict[ModelLabel, AcceptedJson | None] = {}
    for label, one in found.items():
        normalised = (
            compute_normalised(one.accepted, base=base.accepted, real=real)
            if one and base and label != "base" and min(one.texts, base.texts) >= MIN_PIECES
            else None
        )
        accepted[label] = cast(AcceptedJson, {**asdict(one), "normalised": normalised}) if one else None
    return accepted


def _build_c2st(kept: frozenset[str], texts: _Texts, pieces: _Pieces) -> C2stJson:
    pairs = {
        label: cut_pairs(_build_pairs(texts.choose(label, "continuation")), words=texts.words)
        for label in texts.written
    }
    scale = prove_c2st(
        pieces.continued,
        training=pieces.training,
        others=pieces.others_test,
        texts=max(map(len, pairs.values())),
        kept=kept,
        seed=texts.seed,
    )
    pairs = {label: spread(found, scale.texts) for label, found in pairs.items()}
    return {
        "piece_words": texts.words,
        "floor": cast(AucJson, asdict(scale.floor)),
        "other_work": cast(AucJson, asdict(scale.other_work)),
        "others": cast(AucJson, asdict(scale.others)),
        "models": _attempt_each(pairs, functools.partial(compute_c2st, kept=kept, seed=texts.seed)),
    }


def _build_pairs(continuations: Iterable[Written]) -> list[Pair]:
    return [Pair(text.text, text.real, f"{text.document}/{text.section}") for text in continuations if text.real]


def _build_delta(texts: _Texts) -> DeltaJson:
    training = cut_pools_by_author([*texts.training, *texts.others_training])
    model = fit_delta(training, author=texts.training[0].author if texts.training else texts.author)
    real, others = (
        [pool for pools in cut_pools_by_author(sections).values() for pool in pools]
        for sections in (texts.held_out, texts.others_test)
    )
    ceiling = compute_ceiling(model, real=real, others=others)
    pools = {label: cut_pools(text.text for text in found) for label, found in texts.written.items()}
    models = _attempt_each(pools, functools.partial(compute_delta, model, ceiling=ceiling))
    if all("refusal" in one for one in models.values()):
        raise UnprovenError(next(one["refusal"] for one in models.values()))
    return {"pool_words": POOL_WORDS, "real": cast(DeltaProofJson, asdict(ceiling)), "models": models}


def _build_pieces(written: Iterable[Written]) -> list[Piece]:
    return [Piece(text.text, text.model, text.document or "", text.section or 0) for text in written]


def _build_regularity(texts: _Texts, losses: Losses | None) -> RegularityJson:
    if losses is None or "real" not in losses:
        raise UnprovenError("how predictable each text is under the control adapter is not known")
    real = losses["real"]
    given = {label: losses[label] for label in texts.written if label in losses}
    models = _attempt_each(given, functools.partial(compute_regularity, real=real, seed=texts.seed))
    return cast(RegularityJson, {**asdict(compute_real_spread(real)), "models": models})


def _build_map(
    proved: ProvedVerifier, texts: _Texts, rhythm: Rhythm | Refusal, abbreviations: frozenset[str]
) -> MapJson:
    return build_map(
        proved,
        author=texts.author,
        written={
            (label, name): pieces
            for label in texts.written
            for kind, name in KIND_NAMES.items()
            if (pieces := _build_pieces(texts.choose(label, kind)))
        },
        measures=rhythm.measures if isinstance(rhythm, Rhythm) else [],
        abbreviations=abbreviations,
        seed=texts.seed,
    )
